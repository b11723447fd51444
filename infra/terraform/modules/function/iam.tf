# What the function may do.

resource "google_project_iam_member" "database" {
  count = var.database_connection_name == null ? 0 : 1

  project = var.project_id
  role    = "roles/cloudsql.client"
  member  = google_service_account.main.member
}

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each = var.secrets

  project   = var.project_id
  secret_id = each.value.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.main.member
}

resource "google_cloud_tasks_queue_iam_member" "enqueuer" {
  for_each = toset(var.enqueues)

  project  = var.project_id
  location = var.region
  name     = each.value
  role     = "roles/cloudtasks.enqueuer"
  member   = google_service_account.main.member
}

# The maker of a task says as whom it shall be called, and must be allowed to.
resource "google_service_account_iam_member" "acts_as_invoker" {
  for_each = var.tasks_invokers

  service_account_id = "projects/${var.project_id}/serviceAccounts/${each.value}"
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.main.member
}

# Who may call it.

resource "google_cloud_run_v2_service_iam_member" "invoker" {
  for_each = local.public ? {} : var.invokers

  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_service.main.name
  role     = "roles/run.invoker"
  member   = each.value

  lifecycle {
    replace_triggered_by = [google_cloud_run_v2_service.main.uid] # a service that is made anew has lost its bindings
  }
}
