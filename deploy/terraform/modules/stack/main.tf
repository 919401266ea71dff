# What is there before anything runs: network, registry, buckets, databases, places for secrets, and who may what.

locals {
  prefix  = "credit-risk"
  entries = merge(module.catalog.services, module.catalog.pools, module.catalog.jobs)

  # One service account a service; a job has its own too, unless it does a service's work on that service's database.
  accounts = setunion(
    keys(module.catalog.services), keys(module.catalog.pools), [for job in module.catalog.jobs : job.account], ["grafana"],
  )
  account_of = merge(
    { for name in keys(module.catalog.services) : name => name },
    { for name in keys(module.catalog.pools) : name => name },
    { for name, job in module.catalog.jobs : name => job.account },
  )

  members  = { for name, account in google_service_account.service : name => account.member }
  of_data  = { for kind in ["write", "read"] : kind => toset([for name, entry in local.entries : local.account_of[name] if entry.bucket == kind]) }
  measured = toset([for name, service in module.catalog.services : name if service.metrics != ""])
}

module "project" {
  source     = "../project"
  project_id = var.project_id
}

module "catalog" {
  source         = "../catalog"
  project_id     = var.project_id
  project_number = module.project.number
  region         = var.region
  settings       = var.settings
  buckets = {
    data   = "${var.project_id}-${local.prefix}"
    mlflow = "${var.project_id}-${local.prefix}-mlflow"
  }
}

resource "google_service_account" "service" {
  for_each = local.accounts

  project      = module.project.id
  account_id   = each.key
  display_name = "credit-risk: ${each.key}"
}

module "network" {
  source              = "../network"
  project_id          = module.project.id
  region              = var.region
  name                = local.prefix
  internet            = var.internet
  mongodb_attachments = var.mongodb_attachments
}

module "registry" {
  source     = "../registry"
  project_id = module.project.id
  region     = var.region
  name       = local.prefix
  writers    = { for accounts in module.github[*].service_accounts : "images" => "serviceAccount:${accounts["images"]}" }
  readers    = var.registry_readers
}

module "data_bucket" {
  source     = "../bucket"
  project_id = module.project.id
  location   = var.region
  name       = "${var.project_id}-${local.prefix}"
  writers    = { for name in local.of_data["write"] : name => local.members[name] }
  readers    = { for name in local.of_data["read"] : name => local.members[name] }
}

# MLflow's own: whoever may write a model's files there may not write to the log's, and the other way round.
module "mlflow_bucket" {
  source     = "../bucket"
  project_id = module.project.id
  location   = var.region
  name       = "${var.project_id}-${local.prefix}-mlflow"
  writers    = { mlflow = local.members["mlflow"] }
}

module "database" {
  source              = "../database"
  project_id          = module.project.id
  region              = var.region
  name                = local.prefix
  network             = module.network.network
  tier                = var.size.database_tier
  highly_available    = var.size.database_highly_available
  deletion_protection = var.deletion_protection
  databases           = module.catalog.databases
  service_accounts    = { for name in keys(module.catalog.databases) : name => google_service_account.service[name].email }
  administrator       = var.administrator
}

module "secrets" {
  source     = "../secrets"
  project_id = module.project.id
  region     = var.region
  prefix     = local.prefix
  names      = keys(module.catalog.secrets)
  readers = {
    for name, entry in local.entries : name => {
      account = google_service_account.service[local.account_of[name]].email
      secrets = values(entry.secrets)
    }
  }
}

resource "google_project_iam_member" "writes_figures" {
  for_each = local.measured

  project = module.project.id
  role    = "roles/monitoring.metricWriter"
  member  = local.members[each.key]
}

resource "google_project_iam_member" "reads_figures" {
  project = module.project.id
  role    = "roles/monitoring.viewer"
  member  = local.members["grafana"]
}

module "github" {
  source = "../github"
  count  = var.github == null ? 0 : 1

  project_id       = module.project.id
  repository       = var.github.repository
  repository_id    = var.github.repository_id
  environment      = var.github.environment
  state_bucket     = var.github.state_bucket
  service_accounts = { for name, account in google_service_account.service : name => account.name }
}
