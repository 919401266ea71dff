# What runs, once there are images.

locals {
  runs    = length(var.images) > 0
  network = { network = module.network.network, subnet = module.network.subnet }

  # Beside who has a database: logs in there with the service account, over TLS.
  proxies = { for name in keys(module.catalog.databases) : name => {
    cloud-sql-proxy = {
      image = var.foreign_images["cloud-sql-proxy"]
      args = [
        "--private-ip", "--auto-iam-authn", "--structured-logs", "--health-check", "--http-address=0.0.0.0", "--http-port=9801",
        "--port=5432", module.database.connection_name,
      ]
      env    = {}
      cpu    = "1"
      memory = "512Mi"
      probe  = { path = "/startup", port = 9801 }
      mounts = []
    }
  } if local.runs }

  # Beside who has figures: reads them where nobody else does, and hands them to Managed Service for Prometheus.
  collectors = { for name, service in module.catalog.services : name => {
    otel-collector = {
      image  = var.foreign_images["otel-collector"]
      args   = ["--config=env:OTELCOL_CONFIG"]
      env    = { OTELCOL_CONFIG = yamlencode(local.scraping[name]) }
      cpu    = "1"
      memory = "512Mi"
      probe  = null
      mounts = ["scrape-key"]
    }
  } if local.runs && service.metrics != "" }

  scraping = { for name, service in module.catalog.services : name => {
    receivers = { prometheus = { config = { scrape_configs = [{
      job_name        = service.metrics
      scrape_interval = "30s"
      authorization   = { credentials_file = "/run/secrets/scrape-key/scrape-key" }
      static_configs  = [{ targets = ["127.0.0.1:${service.port}"] }]
    }] } } }
    processors = {
      batch             = {}
      resourcedetection = { detectors = ["gcp"] }
      # Replicas all read 127.0.0.1: each is known by its instance of Cloud Run.
      resource = { attributes = [
        { key = "service.instance.id", from_attribute = "faas.instance", action = "upsert" },
        { key = "location", value = var.region, action = "upsert" },
        { key = "cluster", value = "cloud-run", action = "upsert" },
        { key = "namespace", value = local.prefix, action = "upsert" },
      ] }
    }
    exporters = { googlemanagedprometheus = {} }
    service = { pipelines = { metrics = {
      receivers  = ["prometheus"]
      processors = ["resourcedetection", "resource", "batch"]
      exporters  = ["googlemanagedprometheus"]
    } } }
  } if service.metrics != "" }

  sidecars = { for name in keys(module.catalog.services) : name => merge([
    for group in [local.proxies, local.collectors] : group[name] if contains(keys(group), name)
  ]...) }
}

module "service" {
  source   = "../run-service"
  for_each = { for name, service in module.catalog.services : name => service if local.runs }

  project_id      = module.project.id
  project_number  = module.project.number
  region          = var.region
  name            = each.key
  service_account = google_service_account.service[each.key].email
  image           = var.images[each.value.target]
  service         = each.value
  secret_ids      = module.secrets.ids
  sidecars        = local.sidecars[each.key]
  minimum         = each.key == "risk-o-meter" ? var.size.risk_o_meters : each.value.always ? 1 : 0
  network         = local.network
  people = setunion(
    try(var.people[each.key], []), each.key == "risk-o-meter" ? [for account in module.github[*].smoke_account : "serviceAccount:${account}"] : [],
  )
  deletion_protection = var.deletion_protection

  depends_on = [module.data_bucket, module.mlflow_bucket]
}

module "worker_pool" {
  source   = "../worker-pool"
  for_each = { for name, worker in module.catalog.pools : name => worker if local.runs }

  project_id          = module.project.id
  region              = var.region
  name                = each.key
  service_account     = google_service_account.service[each.key].email
  image               = var.images[each.value.target]
  worker              = each.value
  secret_ids          = module.secrets.ids
  instances           = each.key == "scoring-worker" ? var.size.scoring_workers : 1
  network             = local.network
  deletion_protection = var.deletion_protection

  depends_on = [module.data_bucket, module.service]
}

module "job" {
  source   = "../run-job"
  for_each = { for name, job in module.catalog.jobs : name => job if local.runs }

  project_id          = module.project.id
  region              = var.region
  name                = each.key
  service_account     = google_service_account.service[each.value.account].email
  image               = var.images[each.value.target]
  job                 = each.value
  secret_ids          = module.secrets.ids
  database            = each.value.database == "" ? null : { image = var.foreign_images["cloud-sql-proxy"], connection_name = module.database.connection_name }
  network             = local.network
  deletion_protection = var.deletion_protection

  depends_on = [module.data_bucket]
}
