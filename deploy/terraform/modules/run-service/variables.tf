variable "project_id" {
  description = "Project that the service runs in."
  type        = string
}

variable "project_number" {
  description = "Number of that project."
  type        = string
}

variable "region" {
  description = "Region that the service runs in."
  type        = string
}

variable "name" {
  description = "Name of the service, which its address starts with."
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

variable "service" {
  description = "What it needs, as in the catalog."
  type = object({
    args        = list(string)
    port        = number
    cpu         = number
    memory      = string
    probe       = string
    iap         = bool
    always      = bool
    maximum     = number
    concurrency = number
    env         = map(string)
    secrets     = map(string)
    metrics     = string
  })
}

variable "secret_ids" {
  description = "Id of each secret by its name."
  type        = map(string)
}

variable "folders" {
  description = "Folders of buckets that it reads as files: where they are in the container, and where in which bucket."
  type        = map(object({ bucket = string, folder = string }))
  default     = {}
}

variable "minimum" {
  description = "How many instances are there without a request."
  type        = number
  default     = 1

  validation {
    condition     = var.minimum >= 0
    error_message = "Give 0 or more; 0 lets the first request wait for a start."
  }
}

variable "network" {
  description = "Network and subnet that its connections go out by."
  type        = object({ network = string, subnet = string })
}

variable "sidecars" {
  description = "Further containers by digest, which reach it and are reached at 127.0.0.1."
  type = map(object({
    image  = string
    args   = list(string)
    env    = map(string)
    cpu    = string
    memory = string
    probe  = optional(object({ path = string, port = number }))
    mounts = list(string)
  }))
  default = {}

  validation {
    condition     = alltrue([for sidecar in var.sidecars : can(regex("^[a-z0-9.-]+/.+@sha256:[0-9a-f]{64}$", sidecar.image))])
    error_message = "Name each image by its digest, REGISTRY/NAME@sha256:...: a tag may name another image tomorrow."
  }
}

variable "people" {
  description = "Who may sign in, such as group:clerks@bank.example. What each may do there is in ROLES_FILE."
  type        = set(string)
  default     = []
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to remove it."
  type        = bool
  default     = true
}
