output "hub" {
  description = "hub.yaml's outputs: TableName, WriteBackQueueUrl, NoticesTopicArn and NoticesBusArn are what the command line needs"
  value       = aws_cloudformation_stack.hub.outputs
}

output "spokes" {
  description = "The accounts that have a stack of the StackSet"
  value       = [for one in aws_cloudformation_stack_set_instance.spoke.stack_instance_summaries : one.account_id]
}
