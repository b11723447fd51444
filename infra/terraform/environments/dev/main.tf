# A place to try things: one zone, fewer backups.

locals {
  environment = "dev"
}

module "platform" {
  source = "../../modules/platform"

  environment = local.environment
  database = {
    name         = var.database_name
    tier         = "db-custom-1-6144"
    backups_kept = 7
  }

  alert_emails              = var.alert_emails
  budget                    = var.budget
  builder                   = var.builder
  bundle_path               = var.bundle_path
  database_password_version = var.database_password_version
  database_passwords        = var.database_passwords
  database_readers          = var.database_readers
  domain                    = var.domain
  paging_channels           = var.paging_channels
  project_id                = var.project_id
  protected                 = var.protected
  region                    = var.region
  release                   = var.release
  runbooks_url              = var.runbooks_url
  secret_versions           = var.secret_versions
  settings                  = var.settings
}
