variable "project_id" {
  description = "Project that the workers run in."
  type        = string
}

variable "region" {
  description = "Region that the workers run in."
  type        = string
}

variable "name" {
  description = "Name of the pool."
  type        = string
}

variable "service_account" {
  description = "Address of the service account that they run as."
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

variable "worker" {
  description = "What each needs, as in the catalog."
  type = object({
    args    = list(string)
    cpu     = number
    memory  = string
    env     = map(string)
    secrets = map(string)
  })
}

variable "secret_ids" {
  description = "Id of each secret by its name."
  type        = map(string)
}

variable "instances" {
  description = "How many workers there are; 0 costs nothing, and their runs wait."
  type        = number
}

variable "network" {
  description = "Network and subnet that their connections go out by."
  type        = object({ network = string, subnet = string })
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to remove the pool."
  type        = bool
  default     = true
}
