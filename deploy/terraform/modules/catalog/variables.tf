variable "project_id" {
  description = "Project that everything runs in."
  type        = string
}

variable "project_number" {
  description = "Number of that project, which is in the services' addresses and in IAP's audiences."
  type        = string
}

variable "region" {
  description = "Region that everything runs in."
  type        = string
}

variable "buckets" {
  description = "Names of the buckets: `data` for the decision log and reports, `mlflow` for MLflow's artifacts."
  type        = object({ data = string, mlflow = string })
}

variable "settings" {
  description = "Further settings of our services, workers and jobs, as docs/settings.md has them; none that is a secret."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.settings) : can(regex("^[A-Z][A-Z0-9_]*$", name)) && !can(regex("PASSWORD|SECRET|TOKEN|AUTH_STRING|API_KEYS|DECISION_LOG$", name))])
    error_message = "Give settings by their names in capitals; what is secret belongs into Secret Manager, as deploy/README.md says."
  }
}
