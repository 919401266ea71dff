output "name" {
  description = "Name of the job, for `gcloud run jobs execute`."
  value       = google_cloud_run_v2_job.this.name
}
