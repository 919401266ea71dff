locals {
  volumes = { for file, secret in var.worker.secrets : lower(replace(file, "_", "-")) => { file = file, secret = var.secret_ids[secret] } }
}

resource "google_cloud_run_v2_worker_pool" "this" {
  project             = var.project_id
  location            = var.region
  name                = var.name
  deletion_protection = var.deletion_protection

  scaling {
    manual_instance_count = var.instances
  }

  template {
    service_account = var.service_account

    vpc_access {
      egress = "ALL_TRAFFIC"
      network_interfaces {
        network    = var.network.network
        subnetwork = var.network.subnet
      }
    }

    containers {
      name  = var.name
      image = var.image
      args  = var.worker.args

      resources {
        limits = { cpu = tostring(var.worker.cpu), memory = var.worker.memory }
      }

      dynamic "env" {
        for_each = var.worker.env
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "volume_mounts" {
        for_each = local.volumes
        content {
          name       = volume_mounts.key
          mount_path = "/run/secrets/${volume_mounts.value.file}"
        }
      }

      # Says no when the worker has stopped asking its server for work.
      startup_probe {
        period_seconds    = 5
        timeout_seconds   = 4
        failure_threshold = 36
        http_get {
          path = "/health"
          port = 8080
        }
      }

      liveness_probe {
        period_seconds    = 30
        timeout_seconds   = 10
        failure_threshold = 3
        http_get {
          path = "/health"
          port = 8080
        }
      }
    }

    dynamic "volumes" {
      for_each = local.volumes
      content {
        name = volumes.key
        secret {
          secret       = volumes.value.secret
          default_mode = 292 # 0444: in the container nobody else is there
          items {
            path    = volumes.value.file
            version = "latest"
          }
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [client, client_version]
  }
}
