variable "project_id" {
  description = "Project whose figures are watched."
  type        = string
}

variable "email" {
  description = "Where alerts go to."
  type        = string

  validation {
    condition     = can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.email))
    error_message = "Give the address of people who look at once, such as oncall@bank.example: an alert that nobody gets is none."
  }
}

variable "runbook" {
  description = "Address of the runbook, which alerts lead to."
  type        = string
}

variable "enabled" {
  description = "Whether alerts are evaluated; not before there are services, for each would be missed."
  type        = bool
  default     = true
}
