locals {
  # A volume for each secret, as Cloud Run puts one into a folder of its own.
  volumes = { for file, secret in var.service.secrets : lower(replace(file, "_", "-")) => { file = file, secret = var.secret_ids[secret] } }
  folders = { for index, path in sort(keys(var.folders)) : "folder-${index}" => merge(var.folders[path], { path = path }) }
  first   = sort([for name, sidecar in var.sidecars : name if sidecar.probe != null])
}

resource "google_cloud_run_v2_service" "this" {
  project             = var.project_id
  location            = var.region
  name                = var.name
  deletion_protection = var.deletion_protection

  # Open to the internet only behind Google's sign-in. What is not answers within the project's network alone, and has a
  # login of its own: its clients send that as `Authorization`, where Cloud Run would look for a token of Google's.
  ingress              = var.service.iap ? "INGRESS_TRAFFIC_ALL" : "INGRESS_TRAFFIC_INTERNAL_ONLY"
  iap_enabled          = var.service.iap
  invoker_iam_disabled = !var.service.iap

  template {
    service_account                  = var.service_account
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"
    max_instance_request_concurrency = var.service.concurrency
    timeout                          = "3600s" # of a request; workers keep a connection open to be told at once

    scaling {
      min_instance_count = var.minimum
      max_instance_count = max(var.minimum, var.service.maximum)
    }

    vpc_access {
      egress = "ALL_TRAFFIC"
      network_interfaces {
        network    = var.network.network
        subnetwork = var.network.subnet
      }
    }

    containers {
      name       = var.name
      image      = var.image
      args       = var.service.args
      depends_on = local.first

      ports { container_port = var.service.port }

      resources {
        limits            = { cpu = tostring(var.service.cpu), memory = var.service.memory }
        cpu_idle          = !var.service.always
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = var.service.env
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

      dynamic "volume_mounts" {
        for_each = local.folders
        content {
          name       = volume_mounts.key
          mount_path = volume_mounts.value.path
        }
      }

      startup_probe {
        period_seconds    = 5
        timeout_seconds   = 4
        failure_threshold = 36 # three minutes
        http_get {
          path = var.service.probe
          port = var.service.port
          http_headers {
            name  = "Host"
            value = "localhost" # services answer to their own names alone, which a readiness probe could not send
          }
        }
      }

      liveness_probe {
        period_seconds    = 30
        timeout_seconds   = 10
        failure_threshold = 3
        http_get {
          path = var.service.probe
          port = var.service.port
          http_headers {
            name  = "Host"
            value = "localhost"
          }
        }
      }
    }

    dynamic "containers" {
      for_each = var.sidecars
      content {
        name  = containers.key
        image = containers.value.image
        args  = containers.value.args

        resources {
          limits   = { cpu = containers.value.cpu, memory = containers.value.memory }
          cpu_idle = !var.service.always
        }

        dynamic "env" {
          for_each = containers.value.env
          content {
            name  = env.key
            value = env.value
          }
        }

        dynamic "volume_mounts" {
          for_each = { for name, volume in local.volumes : name => volume if contains(containers.value.mounts, volume.file) }
          content {
            name       = volume_mounts.key
            mount_path = "/run/secrets/${volume_mounts.value.file}"
          }
        }

        dynamic "startup_probe" {
          for_each = containers.value.probe == null ? [] : [containers.value.probe]
          content {
            period_seconds    = 2
            timeout_seconds   = 2
            failure_threshold = 60
            http_get {
              path = startup_probe.value.path
              port = startup_probe.value.port
            }
          }
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

    dynamic "volumes" {
      for_each = local.folders
      content {
        name = volumes.key
        gcs {
          bucket        = volumes.value.bucket
          read_only     = true
          mount_options = ["only-dir=${volumes.value.folder}"]
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [client, client_version]
  }
}

# IAP passes on what it has let in, and nobody else may call the service.
resource "google_cloud_run_v2_service_iam_member" "iap" {
  count = var.service.iap ? 1 : 0

  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_service.this.name
  role     = "roles/run.invoker"
  member   = "serviceAccount:service-${var.project_number}@gcp-sa-iap.iam.gserviceaccount.com"
}

resource "google_iap_web_cloud_run_service_iam_binding" "people" {
  count = var.service.iap ? 1 : 0

  project                = var.project_id
  location               = var.region
  cloud_run_service_name = google_cloud_run_v2_service.this.name
  role                   = "roles/iap.httpsResourceAccessor"
  members                = var.people
}
