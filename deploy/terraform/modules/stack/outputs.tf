output "urls" {
  description = "Address of each service. Those that people sign in to are open by IAP, the others within the network alone."
  value       = merge(module.catalog.urls, { grafana = local.grafana_url })
}

output "registry" {
  description = "What the names of images in the registry start with."
  value       = module.registry.address
}

output "buckets" {
  description = "Names of the buckets."
  value = {
    data    = module.data_bucket.name
    mlflow  = module.mlflow_bucket.name
    anchors = module.anchors_bucket.name
    grafana = module.grafana_bucket.name
  }
}

output "secrets" {
  description = "Ids of the secrets, by who decides what is in them: a person, or anything random will do."
  value = {
    person = sort([for name, decided in module.catalog.secrets : module.secrets.ids[name] if decided])
    random = sort([for name, decided in module.catalog.secrets : module.secrets.ids[name] if !decided])
  }
}

output "jobs" {
  description = "Names of the jobs, for `gcloud run jobs execute`."
  value       = sort([for job in module.job : job.name])
}

output "database" {
  description = "Name of the Cloud SQL instance."
  value       = module.database.instance
}

output "mongodb_endpoints" {
  description = "Name and address of each endpoint, which MongoDB Atlas asks for."
  value       = module.network.mongodb_endpoints
}

output "github" {
  description = "Providers and service accounts for google-github-actions/auth, by purpose; null where no repository deploys."
  value = try({
    providers        = module.github[0].providers
    service_accounts = module.github[0].service_accounts
    smoke_account    = module.github[0].smoke_account
  }, null)
}
