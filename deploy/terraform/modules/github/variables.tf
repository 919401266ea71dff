variable "project_id" {
  description = "Project that workflows of GitHub deploy to."
  type        = string
}

variable "repository" {
  description = "The repository, OWNER/NAME."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.repository))
    error_message = "Give OWNER/NAME as GitHub spells it, without https://github.com/."
  }
}

variable "repository_id" {
  description = "Its number, which nobody gets who takes over the name: `gh api repos/OWNER/NAME --jq .id`."
  type        = string

  validation {
    condition     = can(regex("^[0-9]+$", var.repository_id))
    error_message = "Give the repository's number: `gh api repos/OWNER/NAME --jq .id` prints it."
  }
}

variable "environment" {
  description = "GitHub environment that the deploying job runs in, with its reviewers."
  type        = string
}

variable "state_bucket" {
  description = "Bucket of Terraform's state, which a plan reads and a deployment writes."
  type        = string
}

variable "service_accounts" {
  description = "Service accounts that a deployment has services run as."
  type        = map(string)
}
