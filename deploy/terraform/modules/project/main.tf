locals {
  services = [
    "artifactregistry", "billingbudgets", "cloudresourcemanager", "compute", "iam", "iamcredentials", "iap", "logging",
    "monitoring", "run", "secretmanager", "servicenetworking", "sqladmin", "storage", "storagetransfer", "sts",
  ]
}

resource "google_project_service" "service" {
  for_each = toset(local.services)

  project = var.project_id
  service = "${each.key}.googleapis.com"

  # Others may use it in the same project, and what it keeps is gone when it is disabled.
  disable_on_destroy = false
}

# Who read a secret, and who changed one, is what an investigation asks first.
resource "google_project_iam_audit_config" "secrets" {
  project = var.project_id
  service = "secretmanager.googleapis.com"

  audit_log_config { log_type = "DATA_READ" }
  audit_log_config { log_type = "DATA_WRITE" }

  depends_on = [google_project_service.service]
}

# Who changed or removed an object. Reads are many, and what is read is in the services' own access logs.
resource "google_project_iam_audit_config" "storage" {
  project = var.project_id
  service = "storage.googleapis.com"

  audit_log_config { log_type = "DATA_WRITE" }

  depends_on = [google_project_service.service]
}

data "google_project" "this" {
  project_id = var.project_id

  depends_on = [google_project_service.service]
}
