variable "project_id" {
  description = "Project of this environment."
  type        = string
}

variable "region" {
  description = "Region that everything runs in, and no data leave."
  type        = string
  default     = "europe-west1"
}

variable "images" {
  description = "The stack's own images by digest, from images.auto.tfvars.json; none yet: nothing runs."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for image in values(var.images) : can(regex("@sha256:[0-9a-f]{64}$", image))])
    error_message = "Name each image by its digest, REGISTRY/NAME@sha256:...: a tag may name another image tomorrow."
  }
}

variable "foreign_images" {
  description = "Images of others by digest, which run beside ours."
  type        = object({ cloud-sql-proxy = string, otel-collector = string, grafana = string, gmp-frontend = string })

  validation {
    condition     = alltrue([for image in values(var.foreign_images) : can(regex("@sha256:[0-9a-f]{64}$", image))])
    error_message = "Name each image by its digest: `docker buildx imagetools inspect IMAGE` shows it."
  }
}

variable "registry_readers" {
  description = "Who else may pull images, such as another environment's Cloud Run, by any name."
  type        = map(string)
  default     = {}
}

variable "people" {
  description = "Who may sign in to each service that has a page. What each may do there is in the roles."
  type = object({
    risk-o-meter       = set(string)
    approvals          = set(string)
    evidently-exporter = set(string)
    grafana            = set(string)
  })
}

variable "administrator" {
  description = "Who runs Terraform: user:ADDRESS or serviceAccount:ADDRESS."
  type        = string
}

variable "email" {
  description = "Where alerts, and news of costs, go to."
  type        = string
}

variable "budget" {
  description = "Billing account, and what a month may cost in its currency; null: nobody is told."
  type        = object({ billing_account = string, amount = number })
  default     = null
}

variable "github" {
  description = "Repository whose workflows deploy here, and its number; null: none."
  type        = object({ repository = string, repository_id = string })
  default     = null
}

variable "state_bucket" {
  description = "Bucket that this state is kept in, the same that is given to `terraform init`."
  type        = string
}

variable "mongodb_attachments" {
  description = "Service attachments of MongoDB Atlas for this region; none: the URIs reach it by the internet."
  type        = list(string)
  default     = []
}

variable "scoring_workers" {
  description = "Workers that score whole books; none costs nothing, and books wait."
  type        = number
  default     = 0
}

variable "settings" {
  description = "Further settings of our services, workers and jobs, as docs/settings.md has them; none that is a secret."
  type        = map(string)
  default     = {}
}

variable "deletion_protection" {
  description = "Whether Google and Terraform refuse to remove databases and services; false before it is torn down."
  type        = bool
  default     = false
}
