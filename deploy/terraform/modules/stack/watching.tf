module "monitoring" {
  source     = "../monitoring"
  project_id = module.project.id
  email      = var.email
  runbook    = "${module.catalog.urls["evidently-exporter"]}/runbook"
  enabled    = local.runs
}

module "budget" {
  source = "../budget"
  count  = var.budget == null ? 0 : 1

  project_number  = module.project.number
  billing_account = var.budget.billing_account
  amount          = var.budget.amount
  channel         = module.monitoring.channel
}
