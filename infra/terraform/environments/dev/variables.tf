# What differs between two installations. What differs between dev and prod is in main.tf; rules are in modules/platform.

variable "alert_emails" {
  description = "Addresses that every alert that can wait for the day, and the budget, write to."
  type        = list(string)
}

variable "budget" {
  description = "Monthly budget: { billing_account, amount, currency }; null for none."
  type = object({
    billing_account = string
    amount          = number
    currency        = optional(string, "USD")
  })
  default = null
}

variable "builder" {
  description = "The buildpacks' builder, by version or digest."
  type        = string
  default     = "gcr.io/buildpacks/builder:google-22"
}

variable "bundle_path" {
  description = "The source bundle that `python infra/bundle.py dist/source.zip` made."
  type        = string
}

variable "database" {
  description = "What is said otherwise than main.tf does for this environment and size; { url_secret } for a Postgres of one's own."
  type = object({
    tier                 = optional(string)
    url_secret           = optional(string)
    name                 = optional(string)
    highly_available     = optional(bool)
    backups_kept         = optional(number)
    max_connections      = optional(number)
    reserved_connections = optional(number)
    disk_limit_gb        = optional(number)
  })
  default = {}
}

variable "database_name" {
  description = "Name of the database's instance: database.auto.tfvars.json, written by `make restore`."
  type        = string
  default     = "atlas"
}

variable "database_password_version" {
  description = "1 together with database_passwords, when the database's users are made."
  type        = number
  default     = null
}

variable "database_passwords" {
  description = "Passwords of the database's two users, when they are made: TF_VAR_database_passwords."
  type = object({
    owner     = string
    functions = string
  })
  default   = null
  ephemeral = true
  sensitive = true
}

variable "database_readers" {
  description = "Who may read the database as themselves: `user:`, `group:` or `serviceAccount:` and the address."
  type        = list(string)
  default     = []
}

variable "domain" {
  description = "A domain of your own for what customers keep; null until there is something to keep."
  type        = string
  default     = null
}

variable "overrides" {
  description = "What is said otherwise than the table's row (functions/table.json): function = its values."
  type = map(object({
    min_instances = optional(number)
    max_instances = optional(number)
    concurrency   = optional(number)
    connections   = optional(number)
    cpu           = optional(number)
    memory_mib    = optional(number)
  }))
  default = {}
}

variable "paging_channels" {
  description = "Who is woken by what can't wait: addresses, or channels made in the console. Empty: alert_emails."
  type        = list(string)
  default     = []
}

variable "project_id" {
  description = "The project that holds this environment and nothing else."
  type        = string
}

variable "protected" {
  description = "Refuse to delete what can't be made anew; false only to take the environment down."
  type        = bool
  default     = true
}

variable "region" {
  description = "Region of everything."
  type        = string
}

variable "release" {
  description = "What runs: release.auto.tfvars.json, written by each deploy and rollback."
  type = object({
    id    = string
    image = string
  })
  default = null
}

variable "runbooks_url" {
  description = "Where docs/runbooks can be read."
  type        = string
}

variable "secret_versions" {
  description = "Setting = number of the secret's version in force."
  type        = map(string)
  default     = {}
}

variable "settings" {
  description = "Settings that are no secrets."
  type        = map(string)
  default     = {}
}

variable "size" {
  description = "standard or small: a service for each function, or the least that is whole."
  type        = string
  default     = "standard"
}
