locals {
  # Settings that some take and others must not have: with which variable beside them they are handed on. FOUR_EYES is refused
  # by who is not told how people are known; the image of training-worker could not use a Dask cluster.
  beside = { FOUR_EYES = "IAP_AUDIENCE", DASK_SCHEDULER = "PORTFOLIO_FOLDER" }
  given = { for name, entry in merge(local.services, local.pools, local.jobs) : name => {
    for setting, value in var.settings : setting => value if contains(keys(entry.env), lookup(local.beside, setting, setting)) || !contains(keys(local.beside), setting)
  } }
}

output "services" {
  description = "What each service needs."
  value       = { for name, service in local.services : name => merge(service, { env = merge(service.env, local.given[name]) }) }
}

output "pools" {
  description = "What each worker needs."
  value       = { for name, worker in local.pools : name => merge(worker, { env = merge(worker.env, local.given[name]) }) }
}

output "jobs" {
  description = "What each job needs."
  value       = { for name, job in local.jobs : name => merge(job, { env = merge(job.env, local.given[name]) }) }
}

output "urls" {
  description = "Address of each service."
  value       = local.urls
}

output "secrets" {
  description = "Every secret, and whether a person decides what is in it."
  value       = local.secrets
}

output "databases" {
  description = "Name of the database that a service has."
  value       = local.databases
}

output "images" {
  description = "Targets of the Dockerfile whose images run."
  value = sort(distinct(concat(
    [for entry in local.services : entry.target], [for entry in local.pools : entry.target], [for entry in local.jobs : entry.target],
  )))
}
