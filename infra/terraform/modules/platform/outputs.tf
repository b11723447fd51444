output "accounts" {
  description = "Function = the service account that it runs as."
  value       = { for target, row in local.functions : target => module.function[row.served_by].account }
}

output "build" {
  description = "What is built of the bundle: `release` its id, `image` repository and tag, `repository` without the tag, `source` where the bundle lies, `request` the body of Cloud Build's builds.create."
  value = {
    release    = local.build_release
    image      = local.build_image
    repository = local.image_repository
    source     = { bucket = google_storage_bucket.source.name, object = google_storage_bucket_object.source.name }
    request = {
      source         = { storageSource = { bucket = google_storage_bucket.source.name, object = google_storage_bucket_object.source.name } }
      serviceAccount = google_service_account.build.id
      images         = [local.build_image]
      tags           = ["atlas-${local.build_release}"]
      timeout        = "1200s"
      options        = { logging = "CLOUD_LOGGING_ONLY" }
      steps = [{
        name       = local.packer
        entrypoint = "pack"
        args = concat(
          ["build", local.build_image, "--builder", var.builder, "--network", "cloudbuild"],
          flatten([for name, value in local.build_environment : ["--env", "${name}=${value}"]]),
        )
      }]
    }
  }
}

output "connections" {
  description = "The connection sum, and what the database takes."
  value = {
    functions = local.connections_of_functions
    locks     = local.connections_of_locks
    reserved  = var.database.reserved_connections
    needed    = local.connections_needed
    limit     = local.max_connections
  }
}

output "database_instance" {
  description = "Connection name of the database; null for one of one's own."
  value       = one(google_sql_database_instance.main[*].connection_name)
}

output "database_urls" {
  description = "The two database settings with {password} where the password goes, for the secrets of their names; empty for a database of one's own."
  value       = local.database_urls
}

output "migrate_job" {
  description = "The job that migrates: its name, the arguments of its two kinds of run, and the seconds that one may take."
  value = {
    name      = google_cloud_run_v2_job.migrate.name
    location  = google_cloud_run_v2_job.migrate.location
    args      = local.migrate_args
    timeout_s = local.migrate_timeout_s
  }
}

output "monthly_estimate" {
  description = "What a month without any traffic costs, by infra/terraform/prices.json: the total, its parts, and what is not in it."
  value       = local.estimate
}

output "release" {
  description = "What runs: id and image, or null before the first release."
  value       = var.release
}

output "secrets" {
  description = "Setting = id of the secret that takes its value."
  value       = local.secret_ids
}

output "services" {
  description = "Function = name of the service that it is called by."
  value       = { for target, row in local.functions : target => row.service }
}

output "telegram_webhook" {
  description = "What setWebhook is told: address, and how many updates at once."
  value = {
    url             = try(local.functions["telegram_webhook"].url, null)
    max_connections = try(min(100, local.functions["telegram_webhook"].max_instances * local.functions["telegram_webhook"].concurrency), null)
  }
}

output "urls" {
  description = "Function = its address."
  value       = { for target, row in local.functions : target => row.url }
}
