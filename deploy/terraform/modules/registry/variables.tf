variable "project_id" {
  description = "Project that the registry is in."
  type        = string
}

variable "region" {
  description = "Region of the registry."
  type        = string
}

variable "name" {
  description = "Name of the repository."
  type        = string
}

variable "writers" {
  description = "Who may push images, such as serviceAccount:github@PROJECT.iam.gserviceaccount.com."
  type        = map(string)
  default     = {}
}

variable "readers" {
  description = "Who may pull images, beside this project's own Cloud Run: that of another environment's project."
  type        = map(string)
  default     = {}
}
