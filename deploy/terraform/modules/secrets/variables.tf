variable "project_id" {
  description = "Project that the secrets are in."
  type        = string
}

variable "region" {
  description = "Region that they are kept in."
  type        = string
}

variable "prefix" {
  description = "What their ids start with."
  type        = string
}

variable "names" {
  description = "Ids of the secrets, less the prefix."
  type        = set(string)
}

variable "readers" {
  description = "Which service account reads which secrets: its address, and their ids less the prefix, by any name."
  type        = map(object({ account = string, secrets = set(string) }))
}
