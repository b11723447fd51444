# Secrets without values: a value is added as a version outside (README.md), so that no plan and no state ever holds one.

resource "google_secret_manager_secret" "main" {
  for_each = local.secret_ids

  project             = var.project_id
  secret_id           = each.value
  deletion_protection = var.protected
  version_destroy_ttl = "604800s" # a version destroyed by mistake can be had back for a week

  replication {
    auto {}
  }

  depends_on = [google_project_service.main]
}

resource "terraform_data" "secret_versions" {
  input = var.secret_versions

  lifecycle {
    precondition {
      condition     = length(local.missing_secrets) == 0
      error_message = "These secrets have no version yet: ${join(", ", local.missing_secrets)}. Add their values (README.md, First deploy), then name the versions in secret_versions."
    }
    precondition {
      condition     = length(setsubtract(keys(var.secret_versions), local.secret_settings)) == 0
      error_message = "secret_versions names what no function reads: ${join(", ", setsubtract(keys(var.secret_versions), local.secret_settings))}."
    }
  }
}
