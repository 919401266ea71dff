output "name" {
  description = "Name of the bucket, once whoever uses it may."
  value       = google_storage_bucket.this.name
  depends_on  = [google_storage_bucket_iam_member.writer, google_storage_bucket_iam_member.reader]
}
