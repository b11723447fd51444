# cloudresourcemanager, serviceusage and iam must be on before the first plan, which asks for the project's number
# (infra/deploy turns them on); they are listed so that they stay.
locals {
  apis = [
    "artifactregistry", "cloudbuild", "cloudresourcemanager", "cloudscheduler", "cloudtasks", "iam", "logging", "monitoring", "run",
    "secretmanager", "serviceusage", "sqladmin", "storage",
  ]
  apis_with_budget = var.budget == null ? local.apis : concat(local.apis, ["billingbudgets"])
}

resource "google_project_service" "main" {
  for_each = toset(local.apis_with_budget)

  project            = var.project_id
  service            = "${each.value}.googleapis.com"
  disable_on_destroy = false
}
