# The whole stack, planned and applied to a provider that only pretends:
#   cd deploy/terraform/modules/stack && terraform init -backend=false && terraform test      (Terraform 1.7 or newer)
# Arguments are checked by the real provider's schema. What Google would say to them is not.

mock_provider "google" {
  mock_data "google_project" {
    defaults = { project_id = "bank-credit-risk", number = "123456789012" }
  }

  mock_data "google_storage_transfer_project_service_account" {
    defaults = { email = "project-123456789012@storage-transfer-service.iam.gserviceaccount.com" }
  }

  mock_resource "google_service_account" {
    defaults = {
      email  = "account@bank-credit-risk.iam.gserviceaccount.com"
      member = "serviceAccount:account@bank-credit-risk.iam.gserviceaccount.com"
      name   = "projects/bank-credit-risk/serviceAccounts/account@bank-credit-risk.iam.gserviceaccount.com"
    }
  }

  mock_resource "google_sql_database_instance" {
    defaults = { connection_name = "bank-credit-risk:europe-west1:credit-risk" }
  }

  mock_resource "google_iam_workload_identity_pool" {
    defaults = { name = "projects/123456789012/locations/global/workloadIdentityPools/github" }
  }

  mock_resource "google_compute_network" {
    defaults = { id = "projects/bank-credit-risk/global/networks/credit-risk" }
  }

  mock_resource "google_compute_subnetwork" {
    defaults = { id = "projects/bank-credit-risk/regions/europe-west1/subnetworks/credit-risk-run" }
  }
}

variables {
  project_id    = "bank-credit-risk"
  region        = "europe-west1"
  administrator = "user:ada@bank.example"
  email         = "on-call@bank.example"
  anchors       = { days = 7, locked = false }
  size          = { database_tier = "db-g1-small", database_highly_available = false, risk_o_meters = 2, scoring_workers = 0 }
  budget        = { billing_account = "012345-6789AB-CDEF01", amount = 700 }

  mongodb_attachments = ["projects/p/regions/europe-west1/serviceAttachments/one"]

  people = {
    risk-o-meter       = ["group:clerks@bank.example"]
    approvals          = ["group:approvers@bank.example"]
    evidently-exporter = ["group:operators@bank.example"]
    grafana            = ["group:operators@bank.example"]
  }

  foreign_images = { for name in ["cloud-sql-proxy", "otel-collector", "grafana", "gmp-frontend"] :
    name => "registry.example/${name}@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  }
}

run "nothing_runs_without_images" {
  command = plan

  assert {
    condition     = length(output.jobs) == 0 && length(module.service) == 0 && length(module.worker_pool) == 0
    error_message = "Something runs although there is no image."
  }
}

run "all_run_with_images" {
  variables {
    images = { for name in [
      "evidently-exporter", "mlflow", "prefect-server", "reporting-worker", "risk-o-meter", "scoring-worker", "training-worker",
    ] : name => "registry.example/${name}@sha256:0000000000000000000000000000000000000000000000000000000000000000" }
    github = { repository = "bank/credit-risk", repository_id = "1", environment = "staging", state_bucket = "bank-state" }
  }

  assert {
    condition     = length(module.service) == 5 && length(module.worker_pool) == 3 && length(output.jobs) == 5
    error_message = "Not everything of the catalog runs."
  }

  assert {
    condition     = output.urls["risk-o-meter"] == "https://risk-o-meter-123456789012.europe-west1.run.app"
    error_message = "The Risk-O-Meter has another address than its clients are told."
  }
}

run "images_by_tag_are_refused" {
  command = plan
  variables {
    images = { risk-o-meter = "registry.example/risk-o-meter:v1" }
  }
  expect_failures = [var.images]
}

run "some_images_only_are_refused" {
  command = plan
  variables {
    images = { risk-o-meter = "registry.example/risk-o-meter@sha256:0000000000000000000000000000000000000000000000000000000000000000" }
  }
  expect_failures = [var.images]
}

run "no_risk_o_meter_is_refused" {
  command = plan
  variables {
    size = { database_tier = "db-g1-small", database_highly_available = false, risk_o_meters = 0, scoring_workers = 0 }
  }
  expect_failures = [var.size]
}
