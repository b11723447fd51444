terraform {
  required_version = ">= 1.11"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.0"
    }
  }
}

provider "google" {
  project = var.project_id
  region  = var.region
  # Budgets refuse a person's credentials without them.
  billing_project       = var.project_id
  user_project_override = true

  default_labels = {
    application = "atlas"
    environment = local.environment
  }
}
