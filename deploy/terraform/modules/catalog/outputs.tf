output "services" {
  description = "What each service needs."
  value       = { for name, service in local.services : name => merge(service, { env = merge(service.env, var.settings) }) }
}

output "pools" {
  description = "What each worker needs."
  value       = { for name, worker in local.pools : name => merge(worker, { env = merge(worker.env, var.settings) }) }
}

output "jobs" {
  description = "What each job needs."
  value       = local.jobs
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
