# Firebreak in an organization, by the templates in stacksets/ and nothing else.
#
# The default provider is the hub account, which is the delegated administrator of
# GuardDuty, Security Hub and StackSets, in Security Hub's home Region;
# `aws.management` is the management account.
# `firebreak org enable` comes first, `firebreak policy push` after: see
# docs/deploy.md.

data "aws_caller_identity" "hub" {}

data "aws_region" "home" {}

locals {
  templates  = coalesce(var.templates, "${path.module}/../../stacksets")
  aggregator = var.aggregated ? data.aws_region.home.region : ""
}

resource "aws_cloudformation_stack" "hub" {
  name          = "firebreak-hub"
  template_body = file("${local.templates}/hub.yaml")
  capabilities  = ["CAPABILITY_NAMED_IAM"]

  parameters = merge({
    OrganizationId      = var.organization_id
    ManagementAccountId = var.management_account_id
    ExternalId          = var.external_id
    AggregatorRegion    = local.aggregator
    CodeBucket          = var.code_bucket
    CodeKey             = var.code_key
    CodeVersion         = var.code_version
  }, var.hub_parameters)
}

resource "aws_cloudformation_stack" "monitoring" {
  name          = "firebreak-monitoring"
  template_body = file("${local.templates}/monitoring.yaml")

  parameters = {
    AlarmEmail = var.alarm_email
  }

  depends_on = [aws_cloudformation_stack.hub]
}

resource "aws_cloudformation_stack" "region" {
  for_each = var.regions

  region        = each.value
  name          = "firebreak-region"
  template_body = file("${local.templates}/region.yaml")

  parameters = {
    HubBusArn        = aws_cloudformation_stack.hub.outputs["BusArn"]
    AggregatorRegion = local.aggregator
    AlarmEmail       = var.alarm_email
  }
}

resource "aws_cloudformation_stack" "management" {
  provider = aws.management

  region        = var.organization_events_region
  name          = "firebreak-management"
  template_body = file("${local.templates}/management.yaml")
  capabilities  = ["CAPABILITY_NAMED_IAM"]

  parameters = {
    HubBusArn  = aws_cloudformation_stack.hub.outputs["BusArn"]
    AlarmEmail = var.alarm_email
  }
}

# Terraform wants every parameter of a StackSet, those with a default too. One that
# is NoEcho, as ExternalId is, AWS shows as `****`: each plan therefore shows it as
# changed, and each apply updates the StackSet with the same values. It is not in
# ignore_changes, because then the next update would send `****`, which the template
# refuses.
resource "aws_cloudformation_stack_set" "spoke" {
  name             = "firebreak-spoke"
  description      = "Firebreak: the role through which the hub contains threats"
  template_body    = file("${local.templates}/spoke.yaml")
  capabilities     = ["CAPABILITY_NAMED_IAM"]
  permission_model = "SERVICE_MANAGED"
  call_as          = "DELEGATED_ADMIN"

  parameters = merge({
    HubAccountId           = data.aws_caller_identity.hub.account_id
    HubRoleName            = "FirebreakHub"
    OrganizationId         = var.organization_id
    ExternalId             = var.external_id
    OperatorRole           = var.operator_role
    PermissionsBoundaryArn = ""
    ForensicProfile        = "false"
    EvidenceBucket         = ""
    EvidenceBuckets        = "firebreak-evidence-*"
  }, var.spoke_parameters)

  # An account that is moved out of the OUs, to a quarantine say, keeps its role.
  auto_deployment {
    enabled                          = true
    retain_stacks_on_account_removal = true
  }

  managed_execution {
    active = true
  }

  operation_preferences {
    failure_tolerance_percentage = 100
    max_concurrent_percentage    = 100
  }

  # AWS fills it in, and some versions of the provider would take it out again each
  # time (hashicorp/terraform-provider-aws issue 23464).
  lifecycle {
    ignore_changes = [administration_role_arn]
  }
}

# One Region only: IAM roles are global.
resource "aws_cloudformation_stack_set_instance" "spoke" {
  stack_set_instance_region = data.aws_region.home.region
  stack_set_name            = aws_cloudformation_stack_set.spoke.name
  call_as                   = "DELEGATED_ADMIN"

  deployment_targets {
    organizational_unit_ids = var.organizational_units
  }

  operation_preferences {
    failure_tolerance_percentage = 100
    max_concurrent_percentage    = 100
  }
}
