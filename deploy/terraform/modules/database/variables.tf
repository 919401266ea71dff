variable "project_id" {
  description = "Project that the databases are in."
  type        = string
}

variable "region" {
  description = "Region of the instance."
  type        = string
}

variable "name" {
  description = "Name of the instance; after it was removed, the name is taken for a week."
  type        = string
}

variable "network" {
  description = "Network in which it has its address, and nowhere else."
  type        = string
}

variable "tier" {
  description = "Machine type, such as db-g1-small, or db-custom-1-3840 for one processor and 3,840 MB."
  type        = string
}

variable "highly_available" {
  description = "Whether a second instance in another zone takes over."
  type        = bool
}

variable "deletion_protection" {
  description = "Whether Google and Terraform refuse to remove it."
  type        = bool
  default     = true
}

variable "databases" {
  description = "Database of each service account, by its short name: the account owns what it makes there, and sees no other."
  type        = map(string)
}

variable "service_accounts" {
  description = "Address of each of these service accounts."
  type        = map(string)
}

variable "administrator" {
  description = "Who grants the rights, as Terraform is run: user:ada@bank.example or serviceAccount:NAME@PROJECT.iam.gserviceaccount.com."
  type        = string

  validation {
    condition     = can(regex("^(user|serviceAccount):[^@]+@[^@]+$", var.administrator))
    error_message = "Say who runs Terraform, as user:ADDRESS or serviceAccount:ADDRESS; `gcloud config get account` shows the address."
  }
}
