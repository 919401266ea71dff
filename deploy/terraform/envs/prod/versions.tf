terraform {
  required_version = ">= 1.5.7, < 2.0.0"

  required_providers {
    google = {
      source = "hashicorp/google"
      # As in the modules; `terraform init` notes the exact one, with its hashes, in .terraform.lock.hcl: commit that.
      version = ">= 7.24.0, < 8.0.0"
    }
  }

  # The bucket is given to `terraform init`, as deploy/README.md says.
  backend "gcs" {
    prefix = "credit-risk"
  }
}

provider "google" {
  project = var.project_id
  region  = var.region

  # Budgets are asked for in the name of this project.
  billing_project       = var.project_id
  user_project_override = true

  default_labels = {
    application = "credit-risk"
    environment = "prod"
  }
}
