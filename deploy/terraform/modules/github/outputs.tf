output "providers" {
  description = "Full name of the provider for each purpose: `workload_identity_provider` of google-github-actions/auth."
  value       = { for name, provider in google_iam_workload_identity_pool_provider.github : name => provider.name }
}

output "service_accounts" {
  description = "Address of the service account for each purpose: `service_account` of google-github-actions/auth."
  value       = { for name, account in google_service_account.github : name => account.email }
}

output "smoke_account" {
  description = "Address of the service account that the smoke test asks as."
  value       = google_service_account.smoke.email
}
