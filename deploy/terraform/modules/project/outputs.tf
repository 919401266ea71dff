output "id" {
  description = "The project's id, known once its services are enabled."
  value       = data.google_project.this.project_id
}

output "number" {
  description = "The project's number."
  value       = data.google_project.this.number
}
