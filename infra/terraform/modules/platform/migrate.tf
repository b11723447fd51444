# Migrations run with each release, before any of its code serves. Terraform makes the job and never runs it: `make deploy` does,
# waits for the end, and moves no function before (docs/decisions/0015-migrate-before-the-apply.md).

locals {
  migrate_timeout_s = 3600
  migrate_args      = { for kind in ["pre", "post"] : kind => ["--", "python", "-m", "lib.migrate", "--${kind}"] }
}

resource "google_service_account" "migrate" {
  project      = var.project_id
  account_id   = "migrate"
  display_name = "Migrates the database"

  depends_on = [google_project_service.main]
}

resource "google_project_iam_member" "migrate_database" {
  count = local.cloud_sql

  project = var.project_id
  role    = "roles/cloudsql.client"
  member  = google_service_account.migrate.member
}

resource "google_secret_manager_secret_iam_member" "migrate" {
  project   = var.project_id
  secret_id = google_secret_manager_secret.main[local.migrate_secret].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.migrate.member
}

resource "google_cloud_run_v2_job" "migrate" {
  project             = var.project_id
  location            = var.region
  name                = "migrate"
  deletion_protection = false # holds nothing; made anew in seconds

  template {
    labels = { release = local.release }
    template {
      service_account = google_service_account.migrate.email
      timeout         = "${local.migrate_timeout_s}s" # a statement of a migration may take 600 s
      max_retries     = 0                             # forward-only, each file in one transaction: who deploys sees it fail, and repeats


      dynamic "volumes" {
        for_each = local.connection_name[*]
        content {
          name = "cloudsql"
          cloud_sql_instance {
            instances = [volumes.value]
          }
        }
      }

      containers {
        image   = local.image
        command = ["/cnb/lifecycle/launcher"]
        args    = local.migrate_args.pre

        env {
          name  = "ENVIRONMENT"
          value = var.environment
        }
        env {
          name = local.migrate_secret
          value_source {
            secret_key_ref {
              secret  = google_secret_manager_secret.main[local.migrate_secret].secret_id
              version = lookup(var.secret_versions, local.migrate_secret, "1")
            }
          }
        }

        resources {
          limits = {
            cpu    = "1"
            memory = "512Mi"
          }
        }

        dynamic "volume_mounts" {
          for_each = local.connection_name[*]
          content {
            name       = "cloudsql"
            mount_path = "/cloudsql"
          }
        }
      }
    }
  }

  timeouts {
    create = "30m"
    update = "30m"
  }

  depends_on = [
    google_project_iam_member.migrate_database,
    google_secret_manager_secret_iam_member.migrate,
    google_sql_database.main,
    google_sql_user.owner,
    terraform_data.release,
    terraform_data.secret_versions,
  ]
}
