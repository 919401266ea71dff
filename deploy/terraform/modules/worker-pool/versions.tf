terraform {
  required_version = ">= 1.5.7, < 2.0.0"

  required_providers {
    google = {
      source = "hashicorp/google"
      # From 7.24: `iap_enabled` of Cloud Run came with 7.21, `google_sql_provision_script` with 7.24; 8 may rename things.
      version = ">= 7.24.0, < 8.0.0"
    }
  }
}
