# Places for secrets, and who may read each. What is in them comes from a person, by `gcloud secrets versions add`: Terraform
# never sees it, and so neither plan nor state has it.

locals {
  grants = merge([
    for name, reader in var.readers : { for secret in reader.secrets : "${name} ${secret}" => { account = reader.account, secret = secret } }
  ]...)
}

resource "google_secret_manager_secret" "this" {
  for_each = var.names

  project             = var.project_id
  secret_id           = "${var.prefix}-${each.key}"
  version_destroy_ttl = "604800s" # a version that is destroyed by mistake can be had back for a week

  replication {
    user_managed {
      replicas { location = var.region }
    }
  }
}

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each = local.grants

  project   = var.project_id
  secret_id = google_secret_manager_secret.this[each.value.secret].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = "serviceAccount:${each.value.account}"
}
