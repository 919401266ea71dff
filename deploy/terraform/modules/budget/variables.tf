variable "project_number" {
  description = "Number of the project whose costs are watched."
  type        = string
}

variable "billing_account" {
  description = "Billing account that pays: `gcloud billing projects describe PROJECT` shows it."
  type        = string

  validation {
    condition     = can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "Give it as 000000-000000-000000, without billingAccounts/."
  }
}

variable "amount" {
  description = "What a month may cost, in whole units of the account's currency."
  type        = number

  validation {
    condition     = var.amount >= 1 && floor(var.amount) == var.amount
    error_message = "Give a whole number of at least 1; deploy/README.md has what an idle and a busy month cost."
  }
}

variable "channel" {
  description = "Notification channel that hears of it."
  type        = string
}
