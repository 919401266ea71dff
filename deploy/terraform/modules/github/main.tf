# Workflows prove who they are by GitHub's token, which is good for minutes: there is no key to lose. Each purpose has its
# own identity: building images pushes them, a plan reads, a deployment changes what runs. None is given a secret, nor an
# object of a bucket but the state's and Grafana's, nor changes who may do what: such a change is applied by a person. But
# `deploy` runs images as every service, and what runs as a service reads that service's secrets and data: before it stand
# the check of who built the images, and the reviewers of GitHub's environment.

locals {
  ours         = "assertion.repository_id == '${var.repository_id}' && assertion.repository == '${var.repository}'"
  main         = "assertion.ref == 'refs/heads/main'"
  pull_request = "assertion.event_name == 'pull_request'"

  # Each token becomes one subject, which says what it may be used for.
  providers = {
    images = "${local.ours} && (${local.main} || assertion.ref.startsWith('refs/tags/v')) && !(${local.pull_request})"
    plan   = "${local.ours} && (${local.main} || ${local.pull_request})"
    deploy = "${local.ours} && ${local.main} && !(${local.pull_request}) && assertion.environment == '${var.environment}'"
  }

  # Not roles/viewer: with it come the objects of buckets that give it to viewers of the project. serviceUsageConsumer and not
  # its Viewer: the provider asks in the name of this project (user_project_override), and only that role may.
  reads = [
    "roles/artifactregistry.reader", "roles/cloudsql.viewer", "roles/compute.networkViewer", "roles/iam.securityReviewer",
    "roles/iam.serviceAccountViewer", "roles/iam.workloadIdentityPoolViewer", "roles/monitoring.viewer", "roles/run.viewer",
    "roles/secretmanager.viewer", "roles/serviceusage.serviceUsageConsumer", "roles/storage.bucketViewer",
    "roles/storagetransfer.viewer",
  ]
  changes = ["roles/run.developer", "roles/monitoring.editor"]

  grants = merge(
    { for role in local.reads : "plan ${role}" => { account = "plan", role = role } },
    { for role in concat(local.reads, local.changes) : "deploy ${role}" => { account = "deploy", role = role } },
  )
}

resource "google_iam_workload_identity_pool" "github" {
  project                   = var.project_id
  workload_identity_pool_id = "github"
  display_name              = "GitHub Actions"
}

resource "google_iam_workload_identity_pool_provider" "github" {
  for_each = local.providers

  project                            = var.project_id
  workload_identity_pool_id          = google_iam_workload_identity_pool.github.workload_identity_pool_id
  workload_identity_pool_provider_id = each.key
  description                        = "Jobs of ${var.repository} for: ${each.key}"
  attribute_condition                = each.value

  attribute_mapping = {
    "google.subject"       = "'${each.key}'"
    "attribute.repository" = "assertion.repository"
    "attribute.ref"        = "assertion.ref"
    "attribute.actor"      = "assertion.actor"
  }

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account" "github" {
  for_each = local.providers

  project      = var.project_id
  account_id   = "github-${each.key}"
  display_name = "GitHub: ${each.key}"
}

resource "google_service_account_iam_member" "github" {
  for_each = local.providers

  service_account_id = google_service_account.github[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/${google_iam_workload_identity_pool.github.name}/subject/${each.key}"
}

resource "google_project_iam_member" "github" {
  for_each = local.grants

  project = var.project_id
  role    = each.value.role
  member  = google_service_account.github[each.value.account].member
}

resource "google_service_account_iam_member" "deploys" {
  for_each = var.service_accounts

  service_account_id = each.value
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.github["deploy"].member
}

resource "google_storage_bucket_iam_member" "state" {
  for_each = { plan = "roles/storage.objectViewer", deploy = "roles/storage.objectUser" }

  bucket = var.state_bucket
  role   = each.value
  member = google_service_account.github[each.key].member
}

# Whom the smoke test asks the Risk-O-Meter as, by tokens that the deployment signs.
resource "google_service_account" "smoke" {
  project      = var.project_id
  account_id   = "smoke-test"
  display_name = "Smoke test after a deployment"
}

resource "google_service_account_iam_member" "smoke" {
  service_account_id = google_service_account.smoke.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = google_service_account.github["deploy"].member
}
