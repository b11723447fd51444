# A place to try things: one zone, fewer backups, no instance that waits without calls.

locals {
  environment = "dev"
  databases = {
    standard = { tier = "db-custom-1-6144", backups_kept = 7 }
    small    = { tier = "db-f1-micro", backups_kept = 7, reserved_connections = 8 }
  }
  overrides = { telegram_webhook = { min_instances = 0 } }

  # What terraform.tfvars says goes before; a Postgres of one's own has no tier to begin with, and an unknown size is told by the module.
  given    = { for name, value in var.database : name => value if value != null }
  database = merge({ name = var.database_name }, var.database.url_secret != null ? { reserved_connections = 8 } : lookup(local.databases, var.size, local.databases.standard), local.given)
  merged = {
    for target in setunion(keys(local.overrides), keys(var.overrides)) :
    target => merge(try(local.overrides[target], {}), { for name, value in try(var.overrides[target], {}) : name => value if value != null })
  }
}

module "platform" {
  source = "../../modules/platform"

  environment = local.environment
  database    = local.database

  alert_emails              = var.alert_emails
  budget                    = var.budget
  builder                   = var.builder
  bundle_path               = var.bundle_path
  database_password_version = var.database_password_version
  database_passwords        = var.database_passwords
  database_readers          = var.database_readers
  domain                    = var.domain
  overrides                 = local.merged
  paging_channels           = var.paging_channels
  project_id                = var.project_id
  protected                 = var.protected
  region                    = var.region
  release                   = var.release
  runbooks_url              = var.runbooks_url
  secret_versions           = var.secret_versions
  settings                  = var.settings
  size                      = var.size
}
