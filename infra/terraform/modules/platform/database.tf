# A Postgres of one's own (database.url_secret) has none of this: its address is a secret, its logins and backups are its keeper's.
locals {
  own_database = var.database.url_secret != null
  cloud_sql    = local.own_database ? 0 : 1
  # as the service makes it, and known before it is there
  connection_name = local.own_database ? null : "${var.project_id}:${var.region}:${var.database.name}"
}

resource "google_sql_database_instance" "main" {
  # checkov:skip=CKV_GCP_60:a public address that lets no network in: connectors alone reach it, by IAM and their own TLS (docs/decisions/0019-public-database-address-for-connectors-alone.md)
  # checkov:skip=CKV_GCP_6:ENCRYPTED_ONLY refuses what is not encrypted; functions come by the authenticated socket, and a client certificate of their own would be one more secret
  # checkov:skip=CKV_GCP_108:clients have private addresses without names, and looking them up would delay each connection
  # checkov:skip=CKV_GCP_110:pgAudit writes statements with their values, that is customers' data, into a log; who read or changed what is in append-only tables
  # checkov:skip=CKV2_GCP_13:a line for each statement; Query Insights measures durations without values
  count = local.cloud_sql

  project             = var.project_id
  region              = var.region
  name                = var.database.name
  database_version    = "POSTGRES_18"
  deletion_protection = var.protected

  settings {
    tier                        = var.database.tier
    edition                     = "ENTERPRISE" # said, because ENTERPRISE_PLUS refuses these tiers
    availability_type           = var.database.highly_available ? "REGIONAL" : "ZONAL"
    deletion_protection_enabled = var.protected # also against a console and gcloud
    retain_backups_on_delete    = true
    disk_type                   = "PD_SSD"
    disk_autoresize             = true
    disk_autoresize_limit       = var.database.disk_limit_gb

    backup_configuration {
      enabled                        = true
      start_time                     = "02:00"
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = 7
      backup_retention_settings {
        retained_backups = var.database.backups_kept
        retention_unit   = "COUNT"
      }
    }

    # A public address without authorized_networks answers connectors only: Cloud Run's socket, and the Auth Proxy or the
    # Python connector on a laptop (docs/decisions/0019-public-database-address-for-connectors-alone.md).
    connector_enforcement = "REQUIRED"
    ip_configuration {
      ipv4_enabled   = true
      ssl_mode       = "ENCRYPTED_ONLY"
      server_ca_mode = "GOOGLE_MANAGED_INTERNAL_CA" # what the socket of Cloud Run asks for
    }

    insights_config {
      query_insights_enabled  = true
      query_string_length     = 1024
      record_application_tags = false
      record_client_address   = false
    }

    maintenance_window {
      day          = 2 # Tuesday, when people are at work and few buy
      hour         = 3
      update_track = "stable"
    }

    # A function that asks for more waits or is told 503 (architecture.md, Budgets).
    database_flags {
      name  = "max_connections"
      value = tostring(local.max_connections)
    }

    # People read by their own account (database_readers), without a password.
    database_flags {
      name  = "cloudsql.iam_authentication"
      value = "on"
    }

    # ms; a forgotten console must not hold locks. Code sets its own, shorter.
    database_flags {
      name  = "idle_in_transaction_session_timeout"
      value = "60000"
    }

    # No value of a customer gets into a log: errors without DETAIL, no parameters, no statements by duration.
    database_flags {
      name  = "log_error_verbosity"
      value = "terse"
    }
    database_flags {
      name  = "log_parameter_max_length"
      value = "0"
    }
    database_flags {
      name  = "log_parameter_max_length_on_error"
      value = "0"
    }
    database_flags {
      name  = "log_min_duration_statement"
      value = "-1"
    }
    database_flags {
      name  = "log_statement"
      value = "ddl"
    }
    database_flags {
      name  = "log_min_messages"
      value = "error"
    }
    database_flags {
      name  = "log_min_error_statement"
      value = "error"
    }

    # What an engineer needs to see when something hangs.
    database_flags {
      name  = "log_checkpoints"
      value = "on"
    }
    database_flags {
      name  = "log_connections"
      value = "on"
    }
    database_flags {
      name  = "log_disconnections"
      value = "on"
    }
    database_flags {
      name  = "log_lock_waits"
      value = "on"
    }
    database_flags {
      name  = "log_temp_files"
      value = "0"
    }
  }

  depends_on = [
    google_project_service.main,
    terraform_data.connections,
    terraform_data.table,
  ]
}

locals {
  owner_user     = "atlas_owner"
  functions_user = "atlas_functions"
  database_urls = local.own_database ? {} : {
    for setting, user in { (local.migrate_secret) = local.owner_user, DATABASE_URL = local.functions_user } :
    setting => "postgresql://${user}:{password}@/${google_sql_database.main[0].name}?host=/cloudsql/${local.connection_name}"
  }
}

resource "google_sql_database" "main" {
  count = local.cloud_sql

  project         = var.project_id
  instance        = google_sql_database_instance.main[0].name
  name            = "atlas"
  deletion_policy = "ABANDON" # it goes with its instance
}

# Passwords are write-only: sent when a user is made, held in no plan and no state, changed as
# docs/runbooks/rotate-secrets.md says. So nothing has to know them afterwards, and a later plan is empty without them.

# A user that was made without one could never log in, and its next plan would not tell.
resource "terraform_data" "passwords" {
  count = local.cloud_sql

  input            = var.database_password_version
  triggers_replace = var.database.name # another instance has users of its own

  lifecycle {
    ignore_changes = [input]
    postcondition {
      condition     = self.input != null
      error_message = "The database's two users are to be made, and have no passwords: `make deploy` makes them, or set TF_VAR_database_passwords and TF_VAR_database_password_version=1 (README.md)."
    }
  }
}

# Owns the schema; the migrate job's.
resource "google_sql_user" "owner" {
  count = local.cloud_sql

  project             = var.project_id
  instance            = google_sql_database_instance.main[0].name
  name                = local.owner_user
  password_wo         = sensitive(try(var.database_passwords.owner, null))
  password_wo_version = var.database_password_version
  deletion_policy     = "ABANDON" # it owns objects

  lifecycle {
    ignore_changes = [password_wo_version]
  }

  depends_on = [terraform_data.passwords]
}

# The functions': what roles.sql gives to atlas_app and nothing else. Each migration makes it a member, and takes from it what
# Cloud SQL gives to every user that it makes.
resource "google_sql_user" "functions" {
  count = local.cloud_sql

  project             = var.project_id
  instance            = google_sql_database_instance.main[0].name
  name                = local.functions_user
  password_wo         = sensitive(try(var.database_passwords.functions, null))
  password_wo_version = var.database_password_version
  deletion_policy     = "ABANDON"

  lifecycle {
    ignore_changes = [password_wo_version]
  }

  depends_on = [terraform_data.passwords]
}

# People who may read, as themselves: `make psql`. The role is made by the first migration.
locals {
  readers = { for member in local.own_database ? [] : var.database_readers : member => {
    type = { user = "CLOUD_IAM_USER", group = "CLOUD_IAM_GROUP", serviceAccount = "CLOUD_IAM_SERVICE_ACCOUNT" }[split(":", member)[0]]
    name = trimsuffix(split(":", member)[1], ".gserviceaccount.com")
  } }
}

resource "google_sql_user" "reader" {
  for_each = local.readers

  project        = var.project_id
  instance       = google_sql_database_instance.main[0].name
  name           = each.value.name
  type           = each.value.type
  database_roles = ["atlas_readonly"]

  depends_on = [google_cloud_run_v2_job.migrate]
}

resource "google_project_iam_member" "reader" {
  for_each = { for pair in setproduct(keys(local.readers), ["client", "instanceUser"]) : join(" ", pair) => pair }

  project = var.project_id
  role    = "roles/cloudsql.${each.value[1]}"
  member  = each.value[0]
}
