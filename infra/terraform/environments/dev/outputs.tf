# One by one: after an apply with -target an output is current only when everything that it is made of was a target.

output "accounts" {
  description = "Function = the service account that it runs as."
  value       = module.platform.accounts
}

output "build" {
  description = "What is built of the bundle: `release` its id, `image` repository and tag, `repository` without the tag, `source` where the bundle lies, `request` the body of Cloud Build's builds.create."
  value       = module.platform.build
}

output "connections" {
  description = "The connection sum, and what the database takes."
  value       = module.platform.connections
}

output "database_instance" {
  description = "Connection name of the database; null for one of one's own."
  value       = module.platform.database_instance
}

output "database_urls" {
  description = "The two database settings with {password} where the password goes, for the secrets of their names; empty for a database of one's own."
  value       = module.platform.database_urls
}

output "migrate_job" {
  description = "The job that migrates: its name, the arguments of its two kinds of run, and the seconds that one may take."
  value       = module.platform.migrate_job
}

output "monthly_estimate" {
  description = "What a month without any traffic costs, by infra/terraform/prices.json: the total, its parts, and what is not in it."
  value       = module.platform.monthly_estimate
}

output "release" {
  description = "What runs: id and image, or null before the first release."
  value       = module.platform.release
}

output "secrets" {
  description = "Setting = id of the secret that takes its value."
  value       = module.platform.secrets
}

output "services" {
  description = "Function = name of the service that it is called by."
  value       = module.platform.services
}

output "telegram_webhook" {
  description = "What setWebhook is told: address, and how many updates at once."
  value       = module.platform.telegram_webhook
}

output "urls" {
  description = "Function = its address."
  value       = module.platform.urls
}
