variable "project_id" {
  description = "Project that everything runs in, and nothing else should."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "Give the project's id, such as bank-credit-risk-prod, not its name or number."
  }
}

variable "region" {
  description = "Region that everything runs in, and no data leave."
  type        = string
}

variable "images" {
  description = "The stack's own images by digest; none yet: only what images and secrets need is made, and nothing runs."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for image in values(var.images) : can(regex("^[a-z0-9.-]+/.+@sha256:[0-9a-f]{64}$", image))])
    error_message = "Name each image by its digest, REGISTRY/NAME@sha256:...: a tag may name another image tomorrow."
  }

  validation {
    condition = length(var.images) == 0 || length(setsubtract([
      "evidently-exporter", "mlflow", "prefect-server", "reporting-worker", "risk-o-meter", "scoring-worker", "training-worker",
    ], keys(var.images))) == 0
    error_message = "Name all images that run, or none: evidently-exporter, mlflow, prefect-server, reporting-worker, risk-o-meter, scoring-worker, training-worker."
  }
}

variable "foreign_images" {
  description = "Images of others by digest, which run beside ours."
  type        = object({ cloud-sql-proxy = string, otel-collector = string, grafana = string, gmp-frontend = string })

  validation {
    condition     = alltrue([for image in values(var.foreign_images) : can(regex("^[a-z0-9.-]+/.+@sha256:[0-9a-f]{64}$", image))])
    error_message = "Name each image by its digest, REGISTRY/NAME@sha256:...: `docker buildx imagetools inspect IMAGE` shows it."
  }
}

variable "registry_readers" {
  description = "Who else may pull images, such as another environment's Cloud Run, by any name."
  type        = map(string)
  default     = {}
}

variable "people" {
  description = "Who may sign in to each service that has a page, such as group:clerks@bank.example. What each may do is in the roles."
  type = object({
    risk-o-meter       = set(string)
    approvals          = set(string)
    evidently-exporter = set(string)
    grafana            = set(string)
  })

  validation {
    condition     = alltrue([for names in values(var.people) : length(names) > 0])
    error_message = "Name somebody for each page, best a group: group:clerks@bank.example. A group may be empty."
  }
}

variable "administrator" {
  description = "Who runs Terraform: user:ada@bank.example or serviceAccount:NAME@PROJECT.iam.gserviceaccount.com."
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
  description = "Repository whose workflows deploy here, its number, and the GitHub environment that may; null: none."
  type = object({
    repository    = string
    repository_id = string
    environment   = string
    state_bucket  = string
  })
  default = null
}

variable "size" {
  description = "How much of it there is: Cloud SQL's machine and whether it has a second one, least instances, workers that score books."
  type = object({
    database_tier             = string
    database_highly_available = bool
    risk_o_meters             = number
    scoring_workers           = number
  })

  validation {
    condition     = var.size.risk_o_meters >= 1
    error_message = "Keep one Risk-O-Meter at least: without one the alert RiskOMeterDown fires, and it would be right."
  }
}

variable "anchors" {
  description = "How many days the decision log's anchors cannot be removed by anybody, and whether that can never be undone."
  type        = object({ days = number, locked = bool })
}

variable "mongodb_attachments" {
  description = "Service attachments of MongoDB Atlas for this region; none: the URIs reach it otherwise."
  type        = list(string)
  default     = []
}

variable "internet" {
  description = "Whether services reach the internet; without private endpoint of MongoDB they must."
  type        = bool
  default     = false
}

variable "settings" {
  description = "Further settings of our services, workers and jobs, as docs/settings.md has them; none that is a secret."
  type        = map(string)
  default     = {}
}

variable "deletion_protection" {
  description = "Whether Google and Terraform refuse to remove databases and services; false before it is torn down."
  type        = bool
  default     = true
}
