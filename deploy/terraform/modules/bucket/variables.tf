variable "project_id" {
  description = "Project that the bucket is in."
  type        = string
}

variable "location" {
  description = "Region, or two regions such as EUR4, of the bucket."
  type        = string
}

variable "name" {
  description = "Name of the bucket, which nobody else in the world may have."
  type        = string
}

variable "versions_days" {
  description = "How many days an object is kept after it was overwritten or removed."
  type        = number
  default     = 30
}

variable "retention" {
  description = "How many days nobody can change or remove an object, and whether that itself can never be undone; null: at once."
  type        = object({ days = number, locked = bool })
  default     = null

  validation {
    condition     = var.retention == null ? true : var.retention.days >= 1
    error_message = "Give at least one day, or null for a bucket without a retention policy."
  }
}

variable "writers" {
  description = "Who may read, write and remove objects."
  type        = map(string)
  default     = {}
}

variable "readers" {
  description = "Who may read objects."
  type        = map(string)
  default     = {}
}
