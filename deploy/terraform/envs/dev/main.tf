# As small as it gets, and easily removed. Its data are made up.
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
  internet            = length(var.mongodb_attachments) == 0 # so that it reaches a MongoDB that is not in this network
  settings            = var.settings
  deletion_protection = var.deletion_protection

  size = {
    database_tier             = "db-g1-small"
    database_highly_available = false
    risk_o_meters             = 1
    scoring_workers           = var.scoring_workers
  }

  # Short, and not for ever: a project whose bucket is locked cannot be removed before.
  anchors = { days = 7, locked = false }

  github = var.github == null ? null : {
    repository    = var.github.repository
    repository_id = var.github.repository_id
    environment   = "staging"
    state_bucket  = var.state_bucket
  }
}
