locals {
  volumes = { for file, secret in var.job.secrets : lower(replace(file, "_", "-")) => { file = file, secret = var.secret_ids[secret] } }

  # A job ends when all of its containers have, so the one that has done its work ends the proxy beside it.
  ends_proxy = "import urllib.request as u; u.urlopen(u.Request('http://127.0.0.1:9091/quitquitquit', method='POST'))"
  args = var.database == null ? var.job.args : concat(
    ["sh", "-c", "\"$@\"; code=$?; python -c \"$0\"; exit $code", local.ends_proxy], var.job.args,
  )
}

resource "google_cloud_run_v2_job" "this" {
  project             = var.project_id
  location            = var.region
  name                = var.name
  deletion_protection = var.deletion_protection

  template {
    task_count = 1

    template {
      service_account       = var.service_account
      execution_environment = "EXECUTION_ENVIRONMENT_GEN2"
      max_retries           = 0 # whoever started it sees why it failed
      timeout               = "7200s"

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
        args       = local.args
        depends_on = var.database == null ? [] : ["cloud-sql-proxy"]

        resources {
          limits = { cpu = "1", memory = var.job.memory }
        }

        dynamic "env" {
          for_each = var.job.env
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
      }

      dynamic "containers" {
        for_each = var.database == null ? [] : [var.database]
        content {
          name  = "cloud-sql-proxy"
          image = containers.value.image
          args = [
            "--private-ip", "--auto-iam-authn", "--structured-logs", "--exit-zero-on-sigterm", "--quitquitquit", "--admin-port=9091",
            "--health-check", "--http-address=0.0.0.0", "--http-port=9801", "--port=5432", containers.value.connection_name,
          ]

          startup_probe {
            period_seconds    = 2
            timeout_seconds   = 2
            failure_threshold = 60
            http_get {
              path = "/startup"
              port = 9801
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
    }
  }

  lifecycle {
    ignore_changes = [client, client_version]
  }
}
