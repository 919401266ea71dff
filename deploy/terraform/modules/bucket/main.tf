resource "google_storage_bucket" "this" {
  project       = var.project_id
  name          = var.name
  location      = var.location
  storage_class = "STANDARD"
  force_destroy = false

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  # One or the other: Google refuses versions where a retention policy keeps every object as it is.
  versioning { enabled = var.retention == null }
  soft_delete_policy { retention_duration_seconds = 604800 }

  dynamic "retention_policy" {
    for_each = var.retention == null ? [] : [var.retention]
    content {
      retention_period = retention_policy.value.days * 86400
      is_locked        = retention_policy.value.locked
    }
  }

  lifecycle_rule {
    action { type = "Delete" }
    condition { days_since_noncurrent_time = var.versions_days }
  }

  lifecycle_rule {
    action { type = "AbortIncompleteMultipartUpload" }
    condition { age = 7 }
  }
}

resource "google_storage_bucket_iam_member" "writer" {
  for_each = var.writers

  bucket = google_storage_bucket.this.name
  role   = "roles/storage.objectUser"
  member = each.value
}

resource "google_storage_bucket_iam_member" "reader" {
  for_each = var.readers

  bucket = google_storage_bucket.this.name
  role   = "roles/storage.objectViewer"
  member = each.value
}
