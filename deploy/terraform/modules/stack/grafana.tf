# Grafana with our dashboards. Its files come from a bucket, as Cloud Run has no other place for more than a secret's 64 KiB;
# it reads figures from the frontend of Managed Service for Prometheus beside it, which shows Google who it is.

locals {
  grafana = "${path.module}/../../../../grafana"

  # Recorded figures are not there (see ../monitoring): in their place stands what they are made of. The text is taken to
  # pieces at each of them.
  figures = jsondecode(file("${path.module}/../monitoring/figures.json"))
  dashboards = { for name in fileset("${local.grafana}/dashboards", "*.json") : "dashboards/${name}" => join("", [
    for piece in regexall("[a-z_]+:[a-z0-9_]+:[a-z0-9_]+(?:\\{[^}]*\\})?|[a-z_]+|[^a-z_]+", file("${local.grafana}/dashboards/${name}")) :
    lookup(local.figures, piece, piece)
  ]) }

  grafana_files = merge(local.dashboards, {
    "provisioning/dashboards/credit-risk.yml" = file("${local.grafana}/provisioning/dashboards/credit-risk.yml")
    "provisioning/datasources/prometheus.yml" = replace(
      file("${local.grafana}/provisioning/datasources/prometheus.yml"), "http://prometheus:9090", "http://127.0.0.1:9090",
    )
  })

  grafana_url = "https://grafana-${module.project.number}.${var.region}.run.app"
}

module "grafana_bucket" {
  source     = "../bucket"
  project_id = module.project.id
  location   = var.region
  name       = "${var.project_id}-${local.prefix}-grafana"
  readers = merge(
    { grafana = local.members["grafana"] },
    { for accounts in module.github[*].service_accounts : "plan" => "serviceAccount:${accounts["plan"]}" },
  )
  writers = { for accounts in module.github[*].service_accounts : "deploy" => "serviceAccount:${accounts["deploy"]}" }
}

resource "google_storage_bucket_object" "grafana" {
  for_each = local.grafana_files

  bucket  = module.grafana_bucket.name
  name    = each.key
  content = each.value
}

module "grafana" {
  source = "../run-service"
  count  = local.runs ? 1 : 0

  project_id          = module.project.id
  project_number      = module.project.number
  region              = var.region
  name                = "grafana"
  service_account     = google_service_account.service["grafana"].email
  image               = var.foreign_images["grafana"]
  secret_ids          = {}
  minimum             = 0
  network             = local.network
  people              = var.people.grafana
  deletion_protection = var.deletion_protection

  service = {
    args        = []
    port        = 3000
    cpu         = 1
    memory      = "512Mi"
    probe       = "/api/health"
    iap         = true
    always      = false
    maximum     = 1 # who is signed in is in its own file
    concurrency = 40
    secrets     = {}
    metrics     = ""
    env = {
      GF_SERVER_ROOT_URL = local.grafana_url
      # Who it is says IAP, in a token that is verified; nobody has a password, the administrator neither.
      GF_AUTH_JWT_ENABLED                        = "true"
      GF_AUTH_JWT_HEADER_NAME                    = "X-Goog-IAP-JWT-Assertion"
      GF_AUTH_JWT_JWK_SET_URL                    = "https://www.gstatic.com/iap/verify/public_key-jwk"
      GF_AUTH_JWT_EXPECT_CLAIMS                  = jsonencode({ iss = "https://cloud.google.com/iap", aud = "/projects/${module.project.number}/locations/${var.region}/services/grafana" })
      GF_AUTH_JWT_USERNAME_CLAIM                 = "email"
      GF_AUTH_JWT_EMAIL_CLAIM                    = "email"
      GF_AUTH_JWT_AUTO_SIGN_UP                   = "true"
      GF_USERS_AUTO_ASSIGN_ORG_ROLE              = "Viewer"
      GF_AUTH_DISABLE_LOGIN_FORM                 = "true"
      GF_AUTH_BASIC_ENABLED                      = "false"
      GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION = "true"
      GF_ANALYTICS_REPORTING_ENABLED             = "false"
      GF_ANALYTICS_CHECK_FOR_UPDATES             = "false"
      GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES      = "false"
      GF_NEWS_NEWS_FEED_ENABLED                  = "false"
      GF_PLUGINS_PREINSTALL_DISABLED             = "true"
    }
  }

  folders = {
    "/etc/grafana/provisioning" = { bucket = module.grafana_bucket.name, folder = "provisioning" }
    "/etc/grafana/dashboards"   = { bucket = module.grafana_bucket.name, folder = "dashboards" }
  }

  sidecars = {
    gmp-frontend = {
      image  = var.foreign_images["gmp-frontend"]
      args   = ["--web.listen-address=127.0.0.1:9090", "--query.project-id=${module.project.id}"]
      env    = {}
      cpu    = "1"
      memory = "512Mi"
      probe  = null
      mounts = []
    }
  }

  depends_on = [google_storage_bucket_object.grafana, google_project_iam_member.reads_figures]
}
