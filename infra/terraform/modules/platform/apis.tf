locals {
  apis = [
    "artifactregistry", "cloudbuild", "cloudscheduler", "cloudtasks", "compute", "iam", "logging", "monitoring", "run",
    "secretmanager", "servicenetworking", "sqladmin", "storage",
  ]
  apis_with_budget = var.budget == null ? local.apis : concat(local.apis, ["billingbudgets"])
}

resource "google_project_service" "main" {
  for_each = toset(local.apis_with_budget)

  project            = var.project_id
  service            = "${each.value}.googleapis.com"
  disable_on_destroy = false
}
