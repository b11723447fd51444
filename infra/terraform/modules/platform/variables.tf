variable "alert_emails" {
  description = "Addresses that every alert that can wait for the day, and the budget, write to; one to five."
  type        = list(string)

  validation {
    condition     = length(var.alert_emails) > 0 && alltrue([for address in var.alert_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", address))])
    error_message = "alert_emails needs at least one address, each like oncall@example.org: an alert without a receiver is none."
  }
  validation {
    condition     = length(var.alert_emails) <= 5 && length(distinct(var.alert_emails)) == length(var.alert_emails)
    error_message = "alert_emails may hold at most five addresses, each once: a budget takes no more. For more people, give the address of a group."
  }
}

variable "builder" {
  description = "The buildpacks' builder that makes the image: a version, or better the digest (`...@sha256:...`) of the one that was tried."
  type        = string
  default     = "gcr.io/buildpacks/builder:google-22"

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]*\\.[a-z]{2,}(/[a-z0-9._-]+)+(:[A-Za-z0-9._-]+|@sha256:[0-9a-f]{64})$", var.builder)) && !endswith(var.builder, ":latest")
    error_message = "builder must be an image with a version or a digest, such as gcr.io/buildpacks/builder:google-22, and not :latest: the release's id says what it was built with."
  }
}

variable "bundle_path" {
  description = "The source bundle, built by `python infra/bundle.py dist/source.zip`; its content names the release."
  type        = string

  validation {
    condition     = fileexists(var.bundle_path)
    error_message = "There is no source bundle at bundle_path (${var.bundle_path}); build it first: python infra/bundle.py dist/source.zip."
  }
  validation {
    condition     = fileexists(var.bundle_path) ? can(regex("^UEsDB", filebase64(var.bundle_path))) : true
    error_message = "bundle_path (${var.bundle_path}) is no zip: build it by python infra/bundle.py dist/source.zip."
  }
}

variable "budget" {
  description = "Monthly budget of the project; null for none. `amount` in whole units of the billing account's currency."
  type = object({
    billing_account = string
    amount          = number
    currency        = optional(string, "USD")
  })
  default = null

  validation {
    condition     = var.budget == null ? true : can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.budget.billing_account))
    error_message = "budget.billing_account must look like 012345-6789AB-CDEF01 (gcloud billing accounts list)."
  }
  validation {
    condition     = var.budget == null ? true : var.budget.amount >= 1 && floor(var.budget.amount) == var.budget.amount
    error_message = "budget.amount must be a whole number, at least 1."
  }
  validation {
    condition     = var.budget == null ? true : can(regex("^[A-Z]{3}$", var.budget.currency))
    error_message = "budget.currency must be the three letters of the billing account's currency, such as USD or EUR."
  }
}

variable "database" {
  description = "The Postgres: an instance of Cloud SQL of this `tier`, which bounds the connections (docs/decisions/0013-connection-sum.md), or one of one's own, whose address is the secret with the id `url_secret` and which takes `max_connections`. `reserved_connections` is kept for migrations, consoles, the platform's own sessions and the overlap of two releases; `name` can't be used again for a week after a delete."
  type = object({
    tier                 = optional(string)
    url_secret           = optional(string)
    name                 = optional(string, "atlas")
    highly_available     = optional(bool, false)
    backups_kept         = optional(number, 30)
    max_connections      = optional(number, 100)
    reserved_connections = optional(number, 12)
    disk_limit_gb        = optional(number, 100)
  })

  validation {
    condition     = (var.database.tier == null) != (var.database.url_secret == null)
    error_message = "database takes either a tier (Cloud SQL) or url_secret (a Postgres of one's own), not ${var.database.tier == null ? "neither" : "both"}."
  }
  validation {
    condition     = var.database.tier == null ? true : can(regex("^db-(f1-micro|g1-small|custom-[0-9]+-[0-9]+)$", var.database.tier))
    error_message = "database.tier must be db-f1-micro, db-g1-small or db-custom-<CPUs>-<MB>, such as db-custom-2-7680."
  }
  validation {
    condition = !can(regex("^db-custom-[0-9]+-[0-9]+$", var.database.tier)) ? true : (
      tonumber(split("-", var.database.tier)[2]) == 1 || tonumber(split("-", var.database.tier)[2]) % 2 == 0 && tonumber(split("-", var.database.tier)[2]) >= 2 && tonumber(split("-", var.database.tier)[2]) <= 96
    )
    error_message = "database.tier: Cloud SQL has 1 CPU or an even number up to 96."
  }
  validation {
    condition = !can(regex("^db-custom-[0-9]+-[0-9]+$", var.database.tier)) ? true : (
      tonumber(split("-", var.database.tier)[3]) % 256 == 0 && tonumber(split("-", var.database.tier)[3]) >= 3840 &&
      tonumber(split("-", var.database.tier)[3]) >= 921.6 * tonumber(split("-", var.database.tier)[2]) && tonumber(split("-", var.database.tier)[3]) <= 6656 * tonumber(split("-", var.database.tier)[2])
    )
    error_message = "database.tier: Cloud SQL's memory is a multiple of 256 MB, at least 3840, and 0.9 to 6.5 GB for each CPU."
  }
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,26}[a-z0-9]$", var.database.name))
    error_message = "database.name must be lower-case letters, digits and hyphens, starting with a letter, 28 at most: the path of its socket, which holds project and region as well, may have 107."
  }
  validation {
    condition     = var.database.url_secret == null ? true : can(regex("^[a-z][a-z0-9-]{2,62}$", var.database.url_secret)) && var.database.url_secret != "migrate-database-url"
    error_message = "database.url_secret is the id that the secret of the functions' address gets, such as database-url: lower-case letters, digits and hyphens; never the address itself, and not the owner's migrate-database-url."
  }
  validation {
    condition     = var.database.backups_kept >= 7 && var.database.backups_kept <= 365 && floor(var.database.backups_kept) == var.database.backups_kept
    error_message = "database.backups_kept must be at least 7, a week of daily backups, and at most 365."
  }
  validation {
    condition     = var.database.reserved_connections >= 8 && floor(var.database.reserved_connections) == var.database.reserved_connections
    error_message = "database.reserved_connections must be at least 8: Postgres keeps 3 for superusers, the platform and a migration need theirs."
  }
  validation {
    condition     = var.database.max_connections >= 1 && floor(var.database.max_connections) == var.database.max_connections
    error_message = "database.max_connections is how many connections the database of one's own takes: a whole number."
  }
  validation {
    condition     = var.database.disk_limit_gb >= 10 && floor(var.database.disk_limit_gb) == var.database.disk_limit_gb
    error_message = "database.disk_limit_gb must be a whole number, at least 10: the disk has as much from the start."
  }
}

variable "database_password_version" {
  description = "1 together with `database_passwords`, when the login users are made; null otherwise."
  type        = number
  default     = null
}

variable "database_passwords" {
  description = "Passwords of the two login users; needed when they are made, null otherwise. Ephemeral: in no plan and no state. Give it as TF_VAR_database_passwords."
  type = object({
    owner     = string
    functions = string
  })
  default   = null
  ephemeral = true
  sensitive = true

  validation {
    condition     = var.database_passwords == null ? true : length(var.database_passwords.owner) >= 24 && length(var.database_passwords.functions) >= 24
    error_message = "Each of database_passwords must have at least 24 characters (openssl rand -hex 24)."
  }
  validation {
    condition     = var.database_passwords == null ? true : alltrue([for password in [var.database_passwords.owner, var.database_passwords.functions] : can(regex("^[A-Za-z0-9_-]*$", password))])
    error_message = "Each of database_passwords may have letters, digits, - and _ only: it becomes part of an address."
  }
  validation {
    condition     = (var.database_passwords == null) == (var.database_password_version == null)
    error_message = "database_passwords and database_password_version go together: both when the users are made, neither afterwards."
  }
  validation {
    condition     = var.database_passwords == null ? true : var.database_passwords.owner != var.database_passwords.functions
    error_message = "The two database_passwords must differ: the functions must not be the owner."
  }
}

variable "database_readers" {
  description = "Who may read the database as themselves (`make psql`): `user:`, `group:` or `serviceAccount:` and the address."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.database_readers : can(regex("^(user|group|serviceAccount):[^@\\sA-Z]+@[^@\\sA-Z]+\\.[a-z]+$", member))])
    error_message = "database_readers are like user:you@example.org, group:oncall@example.org or serviceAccount:ci@project.iam.gserviceaccount.com, in lower case."
  }
}

variable "domain" {
  description = "A domain of your own for what customers keep (subscription URL, connect page), once there is something to keep; null until then. It is told to the functions; its certificate and its way to them are not made here."
  type        = string
  default     = null

  validation {
    condition     = var.domain == null ? true : can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,}$", var.domain))
    error_message = "domain must be a bare lower-case host name such as vpn.example.org: no https://, no path, no port."
  }
  validation {
    condition     = var.domain == null ? true : !endswith(var.domain, ".run.app") && !endswith(var.domain, ".cloudfunctions.net")
    error_message = "domain must be one of your own: an address of the platform ends with the project, and customers keep theirs."
  }
}

variable "environment" {
  description = "dev or prod; the database belongs to one of them for good."
  type        = string

  validation {
    condition     = contains(["dev", "prod"], var.environment)
    error_message = "environment must be dev or prod (local is for a developer's machine alone: it may move the clock)."
  }
}

variable "overrides" {
  description = "What this environment says otherwise than the table's row: function = its values; `private` for the one private service of size small."
  type = map(object({
    min_instances = optional(number)
    max_instances = optional(number)
    concurrency   = optional(number)
    connections   = optional(number)
    cpu           = optional(number)
    memory_mib    = optional(number)
  }))
  default = {}

  validation {
    condition     = alltrue(flatten([for row in values(var.overrides) : [for name, value in row : value == null ? true : value >= 0 && (name == "cpu" || floor(value) == value)]]))
    error_message = "overrides are whole numbers (cpu may be a fraction), 0 or more."
  }
}

variable "paging_channels" {
  description = "Who is woken by what can't wait: addresses, or channels made in the console (an app, a phone, PagerDuty), each as projects/<PROJECT>/notificationChannels/<NUMBER>. Empty: alert_emails."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.paging_channels : can(regex("^([^@\\s/]+@[^@\\s/]+\\.[^@\\s/]+|projects/[a-z0-9-]+/notificationChannels/[0-9]+)$", one))]) && length(distinct(var.paging_channels)) == length(var.paging_channels)
    error_message = "paging_channels holds addresses like oncall@example.org and channels like projects/<PROJECT>/notificationChannels/<NUMBER>, each once."
  }
}

variable "project_id" {
  description = "The project that holds this environment and nothing else."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id must be a project's id (6 to 30 of a-z, 0-9, hyphen, starting with a letter), not its name or number."
  }
}

variable "protected" {
  description = "Refuse to delete what can't be made anew: database, secrets, queues, bundles. Off only to take an environment down."
  type        = bool
  default     = true
}

variable "python_version" {
  description = "Python that the image is built with."
  type        = string
  default     = "3.13.x"

  validation {
    condition     = can(regex("^3\\.(1[1-9]|[2-9][0-9])\\.(x|[0-9]+)$", var.python_version))
    error_message = "python_version must be 3.11 or newer, such as 3.13.x."
  }
}

variable "region" {
  description = "Region of everything; near the nodes' operator, not necessarily the customers."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]{1,2}$", var.region))
    error_message = "region must be a region such as europe-west1: not a zone (europe-west1-b), not a multi-region (EU)."
  }
  # Where Cloud Run, Cloud SQL, Cloud Tasks and Cloud Scheduler all were on 2026-11-30.
  validation {
    condition = !can(regex("^[a-z]+-[a-z]+[0-9]{1,2}$", var.region)) || contains([
      "africa-south1", "asia-east1", "asia-east2", "asia-northeast1", "asia-northeast2", "asia-northeast3", "asia-south1", "asia-south2", "asia-southeast1",
      "asia-southeast2", "australia-southeast1", "australia-southeast2", "europe-central2", "europe-north1", "europe-southwest1", "europe-west1", "europe-west2",
      "europe-west3", "europe-west4", "europe-west6", "europe-west8", "europe-west9", "europe-west12", "me-central1", "me-west1", "northamerica-northeast1",
      "northamerica-northeast2", "southamerica-east1", "southamerica-west1", "us-central1", "us-east1", "us-east4", "us-east5", "us-south1", "us-west1",
      "us-west2", "us-west3", "us-west4",
    ], var.region)
    error_message = "region ${var.region} is not known: one of those in modules/platform/variables.tf, such as europe-west1, europe-north1 or us-central1. Add it there if it is new."
  }
}

variable "release" {
  description = "What runs: `id` and `image` (by digest), which a deploy and a rollback write to release.auto.tfvars.json; null before the first image."
  type = object({
    id    = string
    image = string
  })
  default = null

  validation {
    condition     = var.release == null ? true : can(regex("^[0-9a-f]{16}$", var.release.id))
    error_message = "release.id must be 16 hexadecimal digits, as the output build says them."
  }
  validation {
    condition     = var.release == null ? true : can(regex("^[a-z0-9.-]+/[^@:\\s]+@sha256:[0-9a-f]{64}$", var.release.image))
    error_message = "release.image must name an image by its digest (...@sha256:<64 digits>): a tag can be moved."
  }
}

variable "runbooks_url" {
  description = "Where docs/runbooks of this repository can be read, without a slash at the end; alerts link its pages."
  type        = string

  validation {
    condition     = can(regex("^https://[^\\s]+[^/\\s]$", var.runbooks_url))
    error_message = "runbooks_url must be an https address without a slash at the end, such as https://github.com/you/atlas/blob/main/docs/runbooks."
  }
}

variable "secret_versions" {
  description = "Which version of each secret is in force: setting = number. Values are added outside (README.md); a setting that may be absent is left out."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for version in values(var.secret_versions) : can(regex("^[1-9][0-9]*$", version))])
    error_message = "secret_versions must hold numbers: with `latest` it is unknown which value an instance runs with."
  }
}

locals {
  # What a person may say; the rest is a secret, or made by Terraform itself.
  settings_given = [
    "ADMIN_IDS", "ASK_DATA_CONSENT", "CARD_RECEIPT", "CRYPTOPAY_API_BASE", "CRYPTOPAY_ASSETS", "CRYPTOPAY_WEBHOOK_URL", "DISPLAY_TZ", "LEDGER_EXPORT_ENDPOINT", "LEDGER_EXPORT_REGION",
    "LEDGER_EXPORT_URL", "LOG_LEVEL", "PAYMENT_METHODS",
    "SUPPORT_URL", "TARIFFS_PATH", "TELEGRAM_API_BASE", "TELEGRAM_BOT_USERNAME", "TELEGRAM_WEBHOOK_URL", "XRAY_API_PIN",
    "XRAY_API_URL",
  ]
}

variable "settings" {
  description = "Settings that are no secrets (docs/interface.md): name = value."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.settings), local.settings_given)) == 0
    error_message = "settings: ${join(", ", setsubtract(keys(var.settings), local.settings_given))}: no setting of this name is given here: there is none, Terraform makes it itself, or it is a secret, whose value belongs into Secret Manager (secret_versions)."
  }
  validation {
    condition = lookup(var.settings, "XRAY_API_URL", "") == "" ? lookup(var.settings, "XRAY_API_PIN", "") == "" : (
      can(regex("^(?i:https)://", lookup(var.settings, "XRAY_API_URL", ""))) &&
      can(regex("^[0-9a-fA-F]{64}( *, *[0-9a-fA-F]{64})?$", lookup(var.settings, "XRAY_API_PIN", "")))
    )
    error_message = "settings: XRAY_API_URL must be https and goes with XRAY_API_PIN, the 64 hexadecimal digits that its certificate is known by (two with a comma while it is exchanged): a node is trusted by nothing else (docs/node.md, Pins)."
  }
  # What a plan can see of them; all of it is seen by `make deploy`, which runs the functions' own readers (lib/settings).
  validation {
    condition     = contains(["DEBUG", "INFO", "WARNING", "ERROR"], lookup(var.settings, "LOG_LEVEL", "INFO"))
    error_message = "settings: LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR."
  }
  validation {
    condition     = contains(["yes", "no", ""], lookup(var.settings, "ASK_DATA_CONSENT", ""))
    error_message = "settings: ASK_DATA_CONSENT must be yes or no."
  }
  validation {
    condition     = can(regex("^([1-9][0-9]*( *, *[1-9][0-9]*)*)?$", lookup(var.settings, "ADMIN_IDS", "")))
    error_message = "settings: ADMIN_IDS must be Telegram's numbers of people, with commas between."
  }
  validation {
    condition = alltrue([for name, value in var.settings : can(regex("^(https://[^\\s/]+|http://(127\\.0\\.0\\.1|localhost)[:/])", value)) || value == ""
    if endswith(name, "_URL") && name != "SUPPORT_URL" || endswith(name, "_BASE")])
    error_message = "settings: ${join(", ", [for name, value in var.settings : name if(endswith(name, "_URL") && name != "SUPPORT_URL" || endswith(name, "_BASE")) && value != "" && !can(regex("^(https://[^\\s/]+|http://(127\\.0\\.0\\.1|localhost)[:/])", value))])} must be an https address: keys and tokens go there."
  }
  validation {
    condition     = can(regex("^([A-Za-z][A-Za-z0-9_]{3,31})?$", lookup(var.settings, "TELEGRAM_BOT_USERNAME", "")))
    error_message = "settings: TELEGRAM_BOT_USERNAME is the bot's name without @."
  }
  validation {
    condition     = can(regex("^([A-Za-z]+(/[A-Za-z0-9_+-]+){0,2})?$", lookup(var.settings, "DISPLAY_TZ", "")))
    error_message = "settings: DISPLAY_TZ is a zone such as Europe/Moscow."
  }
}

variable "size" {
  description = "standard: a service for each function. small: the least that is whole: one instance each, and one service for all that are not public (functions/table.json, sizes)."
  type        = string
  default     = "standard"

  validation {
    condition     = contains(["standard", "small"], var.size)
    error_message = "size must be standard or small."
  }
}

variable "table_path" {
  description = "The one table of functions; null for the repository's."
  type        = string
  default     = null
}
