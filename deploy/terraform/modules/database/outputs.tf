output "instance" {
  description = "Name of the instance."
  value       = google_sql_database_instance.this.name
}

output "connection_name" {
  description = "By which the Cloud SQL proxy knows the instance, once services have their rights."
  value       = google_sql_database_instance.this.connection_name
  depends_on  = [google_sql_provision_script.rights, google_project_iam_member.client]
}
