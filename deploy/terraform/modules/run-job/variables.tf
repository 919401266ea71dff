variable "project_id" {
  description = "Project that the job runs in."
  type        = string
}

variable "region" {
  description = "Region that the job runs in."
  type        = string
}

variable "name" {
  description = "Name of the job."
  type        = string
}

variable "service_account" {
  description = "Address of the service account that it runs as."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]+@[a-z0-9-]+\\.iam\\.gserviceaccount\\.com$", var.service_account))
    error_message = "Give a service account of its own, NAME@PROJECT.iam.gserviceaccount.com: default ones may do too much."
  }
}

variable "image" {
  description = "Image by digest."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9.-]+/.+@sha256:[0-9a-f]{64}$", var.image))
    error_message = "Name the image by its digest, REGISTRY/NAME@sha256:...: a tag may name another image tomorrow."
  }
}

variable "job" {
  description = "What it needs, as in the catalog."
  type = object({
    args    = list(string)
    memory  = string
    env     = map(string)
    secrets = map(string)
  })
}

variable "secret_ids" {
  description = "Id of each secret by its name."
  type        = map(string)
}

variable "database" {
  description = "Image of the Cloud SQL proxy by digest, and the connection name of the instance that it reaches; null: none."
  type        = object({ image = string, connection_name = string })
  default     = null

  validation {
    condition     = var.database == null ? true : can(regex("^[a-z0-9.-]+/.+@sha256:[0-9a-f]{64}$", var.database.image))
    error_message = "Name the image by its digest, REGISTRY/NAME@sha256:...: a tag may name another image tomorrow."
  }
}

variable "network" {
  description = "Network and subnet that its connections go out by."
  type        = object({ network = string, subnet = string })
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to remove it."
  type        = bool
  default     = true
}
