# Releases: a bundle named by all that its image is made of, and the image that runs, by its digest.

locals {
  build_environment = {
    GOOGLE_FUNCTION_TARGET = local.health # the build wants one; each service says its own when it starts
    GOOGLE_PYTHON_VERSION  = var.python_version
  }
  # What the bundle would become: another builder or Python is another release, as another line of code is.
  build_release = substr(sha256(jsonencode([filesha256(var.bundle_path), var.builder, local.packer, local.build_environment])), 0, 16)
  build_image   = "${local.image_repository}:${local.build_release}"
  packer        = "gcr.io/k8s-skaffold/pack"

  image_repository = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.images.repository_id}/functions"

  # What runs: a release that was built before, perhaps by another checkout (a rollback).
  release = try(var.release.id, "none")
  image   = try(var.release.image, "none")
}

resource "terraform_data" "release" {
  input = local.release

  lifecycle {
    precondition {
      condition     = var.release != null
      error_message = "release says no image yet: `make deploy` builds it and writes release.auto.tfvars.json (README.md, Release)."
    }
    precondition {
      condition     = var.release == null ? true : startswith(var.release.image, "${var.region}-docker.pkg.dev/${var.project_id}/atlas/functions@sha256:")
      error_message = "release.image must be an image of this project and region, ${var.region}-docker.pkg.dev/${var.project_id}/atlas/functions@sha256:...: another environment's release.auto.tfvars.json lies here?"
    }
  }
}

resource "google_storage_bucket" "source" {
  # checkov:skip=CKV_GCP_62:holds our own source, no customer's data; who changes it is in the audit log
  project                     = var.project_id
  name                        = "${var.project_id}-source"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.protected

  versioning {
    enabled = true
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 90 # a release that was replaced can be built again for so long
    }
  }

  depends_on = [google_project_service.main]
}

resource "google_storage_bucket_object" "source" {
  bucket         = google_storage_bucket.source.name
  name           = "source-${local.build_release}.zip" # another content is another object, so functions are deployed anew
  source         = var.bundle_path
  source_md5hash = filemd5(var.bundle_path)
}

resource "google_artifact_registry_repository" "images" {
  # checkov:skip=CKV_GCP_84:holds our own code, no customer's data; a key of our own would be one more thing to lose
  project       = var.project_id
  location      = var.region
  repository_id = "atlas"
  format        = "DOCKER"
  description   = "One image a release; each function starts it with its own target."

  docker_config {
    immutable_tags = true
  }

  cleanup_policies {
    id     = "keep-the-last-releases"
    action = "KEEP"
    most_recent_versions {
      keep_count = 10
    }
  }
  cleanup_policies {
    id     = "delete-old-ones"
    action = "DELETE"
    condition {
      older_than = "2592000s"
    }
  }

  depends_on = [google_project_service.main]
}

# The account that builds, instead of the project's default one, which could do nearly everything.
resource "google_service_account" "build" {
  project      = var.project_id
  account_id   = "image-build"
  display_name = "Builds the image of a release"

  depends_on = [google_project_service.main]
}

resource "google_project_iam_member" "build_logs" {
  project = var.project_id
  role    = "roles/logging.logWriter"
  member  = google_service_account.build.member
}

resource "google_storage_bucket_iam_member" "build_source" {
  bucket = google_storage_bucket.source.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.build.member
}

resource "google_artifact_registry_repository_iam_member" "build_images" {
  project    = var.project_id
  location   = var.region
  repository = google_artifact_registry_repository.images.repository_id
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.build.member
}

# What must be there before an image can be built and secrets can be filled: the target of a deploy's first step.
resource "terraform_data" "foundation" {
  input = local.build_release

  depends_on = [
    google_artifact_registry_repository_iam_member.build_images,
    google_logging_metric.main, # alerts on them are refused for up to ten minutes: the build of the image is the wait
    google_logging_metric.secret_read_by_hand,
    google_project_iam_member.build_logs,
    google_secret_manager_secret.main,
    google_sql_database.main,
    google_sql_user.functions,
    google_sql_user.owner,
    google_storage_bucket_iam_member.build_source,
    google_storage_bucket_object.source,
    terraform_data.connections,
    terraform_data.table,
  ]
}
