variable "organization_id" {
  description = "The organization's id, o-…"
  type        = string
}

variable "management_account_id" {
  description = "The management account"
  type        = string
}

variable "aggregated" {
  description = "Whether Security Hub gathers the findings of all Regions in the provider's Region, as `firebreak org enable` sets it up"
  type        = bool
  default     = true
}

variable "regions" {
  description = "Every Region that is watched, the provider's own included"
  type        = set(string)
}

variable "organization_events_region" {
  description = "Where AWS Organizations records its events: us-gov-west-1 in aws-us-gov, cn-northwest-1 in aws-cn"
  type        = string
  default     = "us-east-1"
}

variable "organizational_units" {
  description = "The OUs, or the root, whose accounts get the spoke role: no OU below another of them"
  type        = set(string)
}

variable "external_id" {
  description = "The text that hub and spokes share, at least 8 letters. Terraform keeps it in its state"
  type        = string
  sensitive   = true
}

variable "code_bucket" {
  description = "The bucket, in the provider's Region, that holds the function's zip"
  type        = string
}

variable "code_key" {
  description = "The zip's key"
  type        = string
  default     = "firebreak.zip"
}

variable "code_version" {
  description = "The zip's object version: without it CloudFormation does not see a new zip"
  type        = string
}

variable "operator_role" {
  description = "The hub account's role of the people who approve and undo, with its path; empty: only the function"
  type        = string
  default     = ""
}

variable "alarm_email" {
  description = "Who is notified of alarms; empty where the alarms' topics are subscribed otherwise"
  type        = string
  default     = ""
}

variable "hub_parameters" {
  description = "Other parameters of hub.yaml, such as { Architecture = \"x86_64\", EvidenceObjectLock = \"true\" }"
  type        = map(string)
  default     = {}
}

variable "spoke_parameters" {
  description = "Other parameters of spoke.yaml, such as { ForensicProfile = \"true\" }"
  type        = map(string)
  default     = {}
}

variable "templates" {
  description = "The folder with the templates; another one for a spoke.yaml of your own (`firebreak stacksets render`)"
  type        = string
  default     = null
}
