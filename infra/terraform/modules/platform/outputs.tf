output "accounts" {
  description = "Function = its service account."
  value       = { for target, function in module.function : target => function.account }
}

output "build" {
  description = "What the deploy step needs to build the release's image, before the rest is applied: `config` is the configuration of Cloud Build, `source` what it builds."
  value = {
    image   = local.image
    release = local.release
    source  = local.source_location
    config = {
      serviceAccount = google_service_account.build.id
      images         = [local.image]
      timeout        = "1200s"
      options        = { logging = "CLOUD_LOGGING_ONLY" }
      steps = [{
        name       = "gcr.io/k8s-skaffold/pack"
        entrypoint = "pack"
        args = concat(
          ["build", local.image, "--builder", "gcr.io/buildpacks/builder:latest", "--network", "cloudbuild"],
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
  description = "Connection name of the database."
  value       = google_sql_database_instance.main.connection_name
}

output "database_urls" {
  description = "The two database settings with {password} where the password goes, for the secrets of their names."
  value       = local.database_urls
}

output "secrets" {
  description = "Setting = id of the secret that takes its value."
  value       = local.secret_ids
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
