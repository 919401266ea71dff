# PostgreSQL for MLflow and Prefect. Nobody has a password: services log in with their service accounts, by the Cloud SQL
# proxy beside them.

locals {
  is_service    = startswith(var.administrator, "serviceAccount:")
  administrator = trimsuffix(split(":", var.administrator)[1], ".gserviceaccount.com")
}

resource "google_sql_database_instance" "this" {
  project             = var.project_id
  region              = var.region
  name                = var.name
  database_version    = "POSTGRES_17"
  deletion_protection = var.deletion_protection

  settings {
    edition                     = "ENTERPRISE"
    tier                        = var.tier
    availability_type           = var.highly_available ? "REGIONAL" : "ZONAL"
    deletion_protection_enabled = var.deletion_protection
    connector_enforcement       = "REQUIRED"       # by the proxy alone, so encrypted and with an identity
    data_api_access             = "ALLOW_DATA_API" # by which the rights below are granted; it asks who one is, too
    retain_backups_on_delete    = true

    disk_type             = "PD_SSD"
    disk_size             = 10
    disk_autoresize       = true
    disk_autoresize_limit = 100

    ip_configuration {
      ipv4_enabled    = false
      private_network = var.network
      ssl_mode        = "TRUSTED_CLIENT_CERTIFICATE_REQUIRED" # the proxy has one
    }

    backup_configuration {
      enabled                        = true
      start_time                     = "01:00"
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = 7
      backup_retention_settings {
        retained_backups = 30
        retention_unit   = "COUNT"
      }
    }

    final_backup_config {
      enabled        = true
      retention_days = 30
    }

    maintenance_window {
      day          = 7
      hour         = 3
      update_track = "stable"
    }

    insights_config {
      query_insights_enabled  = true
      record_application_tags = false
      record_client_address   = false
    }

    database_flags {
      name  = "cloudsql.iam_authentication"
      value = "on"
    }

    database_flags {
      name  = "log_checkpoints"
      value = "on"
    }

    database_flags {
      name  = "log_connections"
      value = "on"
    }

    database_flags {
      name  = "log_disconnections"
      value = "on"
    }

    database_flags {
      name  = "log_hostname"
      value = "on"
    }

    database_flags {
      name  = "log_lock_waits"
      value = "on"
    }

    database_flags {
      name  = "log_min_error_statement"
      value = "error"
    }

    database_flags {
      name  = "log_min_messages"
      value = "error"
    }

    database_flags {
      name  = "log_statement"
      value = "ddl"
    }

    database_flags {
      name  = "log_temp_files"
      value = "0"
    }
  }

  lifecycle {
    ignore_changes = [settings[0].disk_size] # it grows by itself
  }
}

resource "google_sql_database" "this" {
  for_each = var.databases

  project         = var.project_id
  instance        = google_sql_database_instance.this.name
  name            = each.value
  deletion_policy = "ABANDON" # it goes with its instance; alone, its owner's tables would keep it
}

resource "google_sql_user" "service" {
  for_each = var.databases

  project         = var.project_id
  instance        = google_sql_database_instance.this.name
  type            = "CLOUD_IAM_SERVICE_ACCOUNT"
  name            = trimsuffix(var.service_accounts[each.key], ".gserviceaccount.com")
  deletion_policy = "ABANDON"
}

resource "google_sql_user" "administrator" {
  project        = var.project_id
  instance       = google_sql_database_instance.this.name
  type           = local.is_service ? "CLOUD_IAM_SERVICE_ACCOUNT" : "CLOUD_IAM_USER"
  name           = local.administrator
  database_roles = ["cloudsqlsuperuser"]
}

# What tools/postgres-roles.sh does in docker compose: each into its own database, and nobody into another one.
resource "google_sql_provision_script" "rights" {
  for_each = var.databases

  project     = var.project_id
  instance    = google_sql_database_instance.this.name
  database    = google_sql_database.this[each.key].name
  description = "Rights of ${each.key}"
  script = templatefile("${path.module}/rights.sql.tftpl", {
    database = each.value
    user     = google_sql_user.service[each.key].name
  })

  depends_on = [google_sql_user.administrator]
}

resource "google_project_iam_member" "client" {
  for_each = merge([
    for name in keys(var.databases) : { for role in ["client", "instanceUser"] : "${name} ${role}" => { name = name, role = role } }
  ]...)

  project = var.project_id
  role    = "roles/cloudsql.${each.value.role}"
  member  = "serviceAccount:${var.service_accounts[each.value.name]}"

  condition {
    title      = "this instance alone"
    expression = "resource.name == 'projects/${var.project_id}/instances/${google_sql_database_instance.this.name}' && resource.service == 'sqladmin.googleapis.com'"
  }
}
