variable "project_id" {
  description = "Project that the network is in."
  type        = string
}

variable "region" {
  description = "Region of the subnet."
  type        = string
}

variable "name" {
  description = "Name of the network, and what the names of its parts start with."
  type        = string
}

variable "subnet_cidr" {
  description = "Addresses of the subnet. An instance of Cloud Run takes one, and a new revision takes its own beside the old one's."
  type        = string
  default     = "10.20.0.0/24"

  validation {
    condition     = can(cidrhost(var.subnet_cidr, 0)) && try(tonumber(split("/", var.subnet_cidr)[1]) <= 26, false)
    error_message = "Give a network of at least 64 addresses, such as 10.20.0.0/24: Cloud Run takes no subnet smaller than /26."
  }
}

variable "internet" {
  description = "Whether services reach the internet, by Cloud NAT; if not, they reach Google's APIs and this network alone."
  type        = bool
  default     = false
}

variable "mongodb_attachments" {
  description = "Service attachments of MongoDB Atlas for this region, as its private endpoint names them; none: reached otherwise."
  type        = list(string)
  default     = []

  validation {
    condition = alltrue([
      for attachment in var.mongodb_attachments : can(regex("^projects/[^/]+/regions/[^/]+/serviceAttachments/[^/]+$", attachment))
    ])
    error_message = "Each is projects/PROJECT/regions/REGION/serviceAttachments/NAME, as Atlas shows under Network Access, Private Endpoint."
  }
}
