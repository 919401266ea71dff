module "stack" {
  source = "../../modules/stack"

  project_id          = var.project_id
  region              = var.region
  images              = var.images
  foreign_images      = var.foreign_images
  registry_readers    = var.registry_readers
  people              = var.people
  administrator       = var.administrator
  email               = var.email
  budget              = var.budget
  mongodb_attachments = var.mongodb_attachments
  internet            = length(var.mongodb_attachments) == 0
  settings            = var.settings
  deletion_protection = var.deletion_protection

  size = {
    database_tier             = "db-custom-1-3840"
    database_highly_available = true
    risk_o_meters             = 2
    scoring_workers           = var.scoring_workers
  }

  # Ten years, as long as a decision may be asked about; nobody can shorten it, the owner of the project neither.
  anchors = { days = 3653, locked = true }

  github = var.github == null ? null : {
    repository    = var.github.repository
    repository_id = var.github.repository_id
    environment   = "production"
    state_bucket  = var.state_bucket
  }
}
