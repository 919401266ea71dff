# The decision log's anchors, copied every day to where nobody can change or remove them, whoever owns the database and the
# bucket that they are written to. SECURITY.md says what that proves.

data "google_storage_transfer_project_service_account" "this" {
  project = module.project.id

  depends_on = [module.project] # its API has to be there
}

locals {
  copier = "serviceAccount:${data.google_storage_transfer_project_service_account.this.email}"
}

module "anchors_bucket" {
  source     = "../bucket"
  project_id = module.project.id
  location   = var.region
  name       = "${var.project_id}-${local.prefix}-anchors"
  retention  = var.anchors
}

resource "google_storage_bucket_iam_member" "copier" {
  for_each = {
    reads  = { bucket = module.data_bucket.name, role = "roles/storage.objectViewer" }
    looks  = { bucket = module.data_bucket.name, role = "roles/storage.legacyBucketReader" }
    writes = { bucket = module.anchors_bucket.name, role = "roles/storage.legacyBucketWriter" }
  }

  bucket = each.value.bucket
  role   = each.value.role
  member = local.copier
}

resource "google_storage_transfer_job" "anchors" {
  project     = module.project.id
  description = "Copies the decision log's anchors to where they cannot be removed"

  transfer_spec {
    gcs_data_source { bucket_name = module.data_bucket.name }
    gcs_data_sink { bucket_name = module.anchors_bucket.name }
    object_conditions { include_prefixes = ["anchors/"] }

    # What is there stays, also when somebody has removed or rewritten it at its source.
    transfer_options {
      overwrite_objects_already_existing_in_sink = false
      delete_objects_unique_in_sink              = false
    }
  }

  # After the nightly verification, which writes them at two.
  schedule {
    schedule_start_date {
      year  = 2026
      month = 1
      day   = 1
    }
    start_time_of_day {
      hours   = 4
      minutes = 0
      seconds = 0
      nanos   = 0
    }
  }

  depends_on = [google_storage_bucket_iam_member.copier]
}
