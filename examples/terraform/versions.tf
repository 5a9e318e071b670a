terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # The first in which a resource can name its own Region.
      version               = ">= 6.0"
      configuration_aliases = [aws.management]
    }
  }
}
