# One function, read top to bottom: its account, what the account may do (iam.tf), its service, who may call it (iam.tf).

locals {
  # The same command as on a developer's machine (docs/interface.md, Starting a target). The launcher is the one that
  # every buildpack image has; "--" starts the command without a shell.
  command = ["/cnb/lifecycle/launcher"]
  args    = ["--", "functions-framework", "--target", var.target]

  environment = merge(var.environment_variables, {
    DB_CONNECTIONS = tostring(var.connections)
  })
  public = var.trigger == "public"
}

resource "google_service_account" "main" {
  project      = var.project_id
  account_id   = "fn-${var.service}"
  display_name = "Function ${var.target}"
}

resource "google_cloud_run_v2_service" "main" {
  project              = var.project_id
  location             = var.region
  name                 = var.service
  description          = "Function ${var.target}"
  ingress              = local.public ? "INGRESS_TRAFFIC_ALL" : "INGRESS_TRAFFIC_INTERNAL_ONLY"
  custom_audiences     = var.audiences # what callers put into their tokens
  deletion_protection  = false         # holds nothing; one whose first revision failed must be replaceable, and a row may go
  invoker_iam_disabled = local.public  # not by allUsers, which many organisations refuse

  # Of the service, where the API keeps it as well: said nowhere, each plan would take it away again.
  scaling {
    min_instance_count = var.min_instances
  }

  template {
    labels                           = { release = var.release }
    service_account                  = google_service_account.main.email
    timeout                          = "${var.timeout_s}s"
    max_instance_request_concurrency = var.concurrency

    scaling {
      max_instance_count = var.max_instances
    }

    dynamic "volumes" {
      for_each = var.database_connection_name[*]
      content {
        name = "cloudsql"
        cloud_sql_instance {
          instances = [volumes.value]
        }
      }
    }

    containers {
      image   = var.image
      command = local.command
      args    = local.args

      resources {
        cpu_idle          = true # billed while a request is served; nothing runs between requests
        startup_cpu_boost = true
        limits = {
          cpu    = tostring(var.cpu)
          memory = "${var.memory_mib}Mi"
        }
      }

      dynamic "env" {
        for_each = local.environment
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = var.secrets
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = env.value.secret_id
              version = env.value.version
            }
          }
        }
      }

      dynamic "volume_mounts" {
        for_each = var.database_connection_name[*]
        content {
          name       = "cloudsql"
          mount_path = "/cloudsql"
        }
      }

      # The worker itself answers, and asks nothing else for it (lib/web/alive.py): an instance starts without the database,
      # and one that is stopped, loops or hangs is replaced.
      startup_probe {
        period_seconds    = var.probes.startup.period_s
        timeout_seconds   = var.probes.startup.timeout_s
        failure_threshold = var.probes.startup.failure_threshold
        http_get {
          path = var.probes.path
          port = 8080
        }
      }

      liveness_probe {
        period_seconds    = var.probes.liveness.period_s
        timeout_seconds   = var.probes.liveness.timeout_s
        failure_threshold = var.probes.liveness.failure_threshold
        http_get {
          path = var.probes.path
          port = 8080
        }
      }

      ports {
        container_port = 8080
      }
    }
  }

  traffic {
    type    = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
    percent = 100
  }

  lifecycle {
    precondition {
      condition     = var.deadline_s == null ? true : var.timeout_s < var.deadline_s
      error_message = "${var.target}: its request timeout (${var.timeout_s} s) must be shorter than what its caller waits (${coalesce(var.deadline_s, 0)} s), or the caller gives up on work that still runs."
    }
    precondition {
      condition     = var.socket_timeout_s < var.timeout_s
      error_message = "${var.target}: its request timeout (${var.timeout_s} s) must be longer than a database call may take (${var.socket_timeout_s} s)."
    }
    precondition {
      condition     = var.cpu >= 1 || var.concurrency == 1
      error_message = "${var.target}: below 1 CPU the platform allows a concurrency of 1 only, not ${var.concurrency}."
    }
    precondition {
      condition     = var.connections + 1 <= 100
      error_message = "${var.target}: an instance can't have more than 100 connections through the database socket."
    }
    precondition {
      condition     = length("fn-${var.service}") <= 30
      error_message = "${var.target}: the name of its account, fn-${var.service}, is longer than 30 characters."
    }
  }

  # The first revision would fail to start without them.
  depends_on = [
    google_project_iam_member.database,
    google_secret_manager_secret_iam_member.reader,
  ]
}
