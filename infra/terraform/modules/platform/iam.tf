# As whom functions are called. None of these accounts can do anything else. One a queue: who may put tasks on a queue calls that
# queue's functions through it and no others.

resource "google_service_account" "tasks_invoker" {
  for_each = local.table.queues

  project      = var.project_id
  account_id   = "tasks-${each.key}"
  display_name = "Tasks of the queue ${each.key} call functions as this one"

  depends_on = [google_project_service.main]
}

resource "google_service_account" "scheduler_invoker" {
  project      = var.project_id
  account_id   = "scheduler-invoker"
  display_name = "Cloud Scheduler calls sweeps as this one"

  depends_on = [google_project_service.main]
}

# A read of a secret's value leaves a trace.
resource "google_project_iam_audit_config" "secrets" {
  project = var.project_id
  service = "secretmanager.googleapis.com"

  audit_log_config {
    log_type = "DATA_READ"
  }
}
