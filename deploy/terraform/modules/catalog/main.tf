# What each service needs, as in docker-compose.yml, and nothing of how Cloud Run is told so. No provider is used here, so
# that a test can read the result on any machine and compare it with docker-compose.yml.

locals {
  # Cloud Run's own names, known before the services are there: no service waits for another one's resource.
  names     = ["approvals", "evidently-exporter", "mlflow", "prefect-server", "risk-o-meter"]
  hosts     = { for name in local.names : name => "${name}-${var.project_number}.${var.region}.run.app" }
  urls      = { for name, host in local.hosts : name => "https://${host}" }
  audiences = { for name in local.names : name => "/projects/${var.project_number}/locations/${var.region}/services/${name}" }

  # Whoever connects with IAM is named by its service account, less this ending. The Cloud SQL proxy beside it logs in.
  databases = { mlflow = "mlflow", prefect-server = "prefect" }
  database_places = {
    for name, database in local.databases : name => "${name}%40${var.project_id}.iam@127.0.0.1:5432/${database}"
  }

  # A file that Cloud Run mounts is in a folder of its own, of the same name.
  secrets_folder = "/run/secrets"

  bucket   = { BUCKET = "gs://${var.buckets.data}" }
  state    = { VAR_DIR = "/tmp/var" } # of approved models' files, which every new instance fetches
  mlflow   = { MLFLOW_TRACKING_URI = local.urls["mlflow"] }
  prefect  = { PREFECT_API_URL = "${local.urls["prefect-server"]}/api", PREFECT_HOME = "/tmp/prefect" }
  identity = { ROLES_FILE = "${local.secrets_folder}/roles/roles" }
  scraped  = { SCRAPE_KEY_FILE = "${local.secrets_folder}/scrape-key/scrape-key" }
  serving  = { MLFLOW_TRACKING_USERNAME = "serving" }

  # The password of each of MLflow's users, as its client reads it.
  mlflow_logins = { for user in ["serving", "training", "approver"] : user => { MLFLOW_TRACKING_PASSWORD = "mlflow-${user}" } }

  # What a worker starts its runs with, as `x-runs` in docker-compose.yml.
  runs = {
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY      = "30"
    PREFECT_LOGGING_TO_API_BATCH_INTERVAL  = "0.5"
    PREFECT_CLIENT_RETRY_EXTRA_CODES       = "500"
    MLFLOW_HTTP_REQUEST_MAX_RETRIES        = "5"
    MLFLOW_HTTP_REQUEST_TIMEOUT            = "60"
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR   = "false"
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT = "true"
    MLFLOW_UV_AUTO_DETECT                  = "false"
  }

  worker_args = { for pool in ["training", "reporting", "scoring"] : pool => [
    "prefect", "worker", "start", "--name", "${pool}-worker", "--pool", pool, "--type", "process", "--limit", "1", "--with-healthcheck",
  ] }
  mlflow_server_args = ["python", "-m", "tools.servers.mlflow_server"]

  # Every secret by its id, less the prefix, with whether a person decides what is in it (false: any random text will do).
  secrets = {
    "decision-log-admin"        = true
    "decision-log-risk-o-meter" = true
    "decision-log-scoring"      = true
    "decision-log-training"     = true
    "decision-log-reporting"    = true
    "decision-log-exporter"     = true
    "decision-log-approver"     = true
    "prefect-login"             = true
    "roles"                     = true
    "api-keys"                  = true
    "scrape-key"                = false
    "mlflow-admin"              = false
    "mlflow-people"             = false
    "mlflow-training"           = false
    "mlflow-approver"           = false
    "mlflow-serving"            = false
    "mlflow-flask-key"          = false
  }
}
