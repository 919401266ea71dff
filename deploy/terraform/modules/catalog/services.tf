# Services have an address. `iap`: people reach it, and only through Google's sign-in; all others answer within the network
# alone. `target`: of the Dockerfile. `secrets`: the file's name, and whose content it has. Memory and processors: as measured
# for docker-compose.yml.

locals {
  services = {
    risk-o-meter = {
      target  = "risk-o-meter"
      args    = ["python", "-m", "model_deployment.server"]
      port    = 9696
      cpu     = 2
      memory  = "4Gi"
      probe   = "/healthz"
      iap     = true
      always  = true # it looks for a new version, and for its log, between requests too
      maximum = 10
      # Both processes answer with 8 threads, and as many more score; the rest waits in the server, not in a thread.
      concurrency = 64
      env = merge(local.bucket, local.state, local.mlflow, local.serving, local.identity, local.scraped, {
        BIND_ADDRESS  = "0.0.0.0"
        ALLOWED_HOSTS = "localhost,127.0.0.1,${local.hosts["risk-o-meter"]}"
        IAP_AUDIENCE  = local.audiences["risk-o-meter"]
        MAX_UPLOAD_MB = "30" # Cloud Run takes no request of more than 32 MiB; a larger book is a portfolio in the bucket
      })
      secrets = merge(local.mlflow_logins["serving"], {
        DECISION_LOG = "decision-log-risk-o-meter"
        API_KEYS     = "api-keys"
        roles        = "roles"
        scrape-key   = "scrape-key"
      })
      bucket  = "write"
      metrics = "risk-o-meter"
    }

    approvals = {
      target      = "risk-o-meter"
      args        = ["python", "-m", "model_deployment.approvals"]
      port        = 9697
      cpu         = 1
      memory      = "1Gi"
      probe       = "/healthz"
      iap         = true
      always      = false # figures are read while it runs, which is while somebody asks
      maximum     = 2
      concurrency = 16
      env = merge(local.bucket, local.state, local.mlflow, local.prefect, local.identity, local.scraped, {
        BIND_ADDRESS             = "0.0.0.0"
        ALLOWED_HOSTS            = "localhost,127.0.0.1,${local.hosts["approvals"]}"
        IAP_AUDIENCE             = local.audiences["approvals"]
        MLFLOW_TRACKING_USERNAME = "approver"
      })
      secrets = merge(local.mlflow_logins["approver"], {
        DECISION_LOG            = "decision-log-approver"
        PREFECT_API_AUTH_STRING = "prefect-login"
        API_KEYS                = "api-keys"
        roles                   = "roles"
        scrape-key              = "scrape-key"
      })
      bucket  = "none"
      metrics = "approvals"
    }

    mlflow = {
      target      = "mlflow"
      args        = concat(local.mlflow_server_args, ["--host=0.0.0.0", "--artifacts-destination=gs://${var.buckets.mlflow}/mlflow"])
      port        = 5051
      cpu         = 1
      memory      = "1Gi"
      probe       = "/health"
      iap         = false
      always      = false
      maximum     = 1 # it keeps who has logged in, and one process is enough for what asks it
      concurrency = 80
      env = {
        HOST                     = local.hosts["mlflow"] # not this machine alone: so it has a login
        ALLOWED_HOSTS            = local.hosts["mlflow"]
        SECRETS_DIR              = local.secrets_folder
        PGCLIENTENCODING         = "utf8"
        MLFLOW_BACKEND_STORE_URI = "postgresql+psycopg2://${local.database_places["mlflow"]}"
      }
      secrets = {
        for name in ["mlflow-admin", "mlflow-people", "mlflow-training", "mlflow-approver", "mlflow-serving", "mlflow-flask-key"] : name => name
      }
      bucket  = "none"
      metrics = ""
    }

    prefect-server = {
      target      = "prefect-server"
      args        = ["python", "-m", "tools.servers.prefect_server", "--host=0.0.0.0"]
      port        = 4200
      cpu         = 1
      memory      = "1Gi" # of the process, and of the page that it writes to /tmp
      probe       = "/api/health"
      iap         = false
      always      = true # its schedules run between requests
      maximum     = 1    # two would both start what is due
      concurrency = 80
      env = {
        ALLOWED_HOSTS                          = local.hosts["prefect-server"]
        PREFECT_HOME                           = "/tmp/prefect"
        PREFECT_SERVER_UI_STATIC_DIRECTORY     = "/tmp/prefect-ui"
        PREFECT_SERVER_DATABASE_CONNECTION_URL = "postgresql+asyncpg://${local.database_places["prefect-server"]}"
      }
      secrets = { PREFECT_SERVER_API_AUTH_STRING = "prefect-login" }
      bucket  = "none"
      metrics = ""
    }

    evidently-exporter = {
      target      = "evidently-exporter"
      args        = ["python", "-m", "monitoring.exporter"]
      port        = 8877
      cpu         = 1
      memory      = "2Gi"
      probe       = "/healthz"
      iap         = true # for the reports and the runbook
      always      = true # it reads the log every few seconds
      maximum     = 1    # two would count everything twice
      concurrency = 40
      env = merge(local.bucket, local.state, local.mlflow, local.prefect, local.serving, local.identity, local.scraped, {
        BIND_ADDRESS  = "0.0.0.0"
        ALLOWED_HOSTS = "localhost,127.0.0.1,${local.hosts["evidently-exporter"]}"
        IAP_AUDIENCE  = local.audiences["evidently-exporter"]
      })
      secrets = merge(local.mlflow_logins["serving"], {
        DECISION_LOG            = "decision-log-exporter"
        PREFECT_API_AUTH_STRING = "prefect-login"
        API_KEYS                = "api-keys"
        roles                   = "roles"
        scrape-key              = "scrape-key"
      })
      bucket  = "read"
      metrics = "evidently-exporter"
    }
  }
}
