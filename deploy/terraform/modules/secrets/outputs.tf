output "ids" {
  description = "Id of each secret by its name less the prefix, once whoever reads it may."
  value       = { for name, secret in google_secret_manager_secret.this : name => secret.secret_id }
  depends_on  = [google_secret_manager_secret_iam_member.reader]
}
