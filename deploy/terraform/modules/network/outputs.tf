output "network" {
  description = "The network, once Cloud SQL can be reached in it."
  value       = google_compute_network.this.id
  depends_on  = [google_service_networking_connection.services]
}

output "subnet" {
  description = "The subnet that Cloud Run's instances get their addresses from."
  value       = google_compute_subnetwork.this.id
}

output "mongodb_endpoints" {
  description = "Name and address of each endpoint, which Atlas asks for."
  value = {
    for index, rule in google_compute_forwarding_rule.mongodb : rule.name => google_compute_address.mongodb[index].address
  }
}
