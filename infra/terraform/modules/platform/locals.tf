# The one table of functions, with what follows from it. Nothing of it is written a second time.

locals {
  table = jsondecode(file(coalesce(var.table_path, "${path.module}/../../../../functions/table.json")))

  # What this size and this environment say otherwise than the table's rows.
  size      = merge({ every_function = {}, private = null }, try(local.table.sizes[var.size], {}))
  overrides = { for target, row in var.overrides : target => { for name, value in row : name => value if value != null } }
  rows = {
    for target, row in local.table.functions : target => merge(row, local.size.every_function, lookup(local.overrides, target, {}))
  }

  # The service that serves every private function by path, in a size that has it (functions/private/private.py).
  private  = "private"
  together = local.size.private != null

  functions = {
    for target, row in local.rows : target => {
      name          = replace(target, "_", "-")
      served_by     = local.together && row.trigger != "public" ? local.private : target
      service       = local.together && row.trigger != "public" ? local.private : replace(target, "_", "-")
      url           = replace(row.trigger == "public" ? local.own_url_template : local.url_template, "{name}", replace(target, "_", "-"))
      trigger       = row.trigger
      queue         = try(row.queue, null)
      schedule      = try(row.schedule, null)
      second_pass_s = try(row.second_pass_s, null)
      deadline_s    = try(row.deadline_s, null)
      timeout_s     = row.timeout_s
      concurrency   = row.concurrency
      connections   = row.connections
      cpu           = row.cpu
      memory_mib    = row.memory_mib
      min_instances = row.min_instances
      max_instances = row.max_instances
      secrets       = row.secrets
      enqueues      = row.enqueues
      # Whose tasks call it: its queue's, and those of `sweeps` where a sweep hands work on to itself.
      called_by = compact([row.trigger == "task" ? try(row.queue, null) : row.trigger == "schedule" && contains(row.enqueues, "sweeps") ? "sweeps" : null])
    }
  }
  sweeps = { for target, row in local.functions : target => row if row.trigger == "schedule" }

  # The services: each function's own, or one for all that are private.
  deployed = merge(
    { for target, row in local.functions : target => {
      service          = row.service
      audiences        = [row.url]
      trigger          = row.trigger
      timeout_s        = row.timeout_s
      deadline_s       = row.deadline_s
      socket_timeout_s = lookup(local.statement_timeout_s, row.trigger, 0) + local.socket_longer_than_s
      concurrency      = row.concurrency
      connections      = row.connections
      pools            = 1
      sweeps_at_once   = row.trigger == "schedule" ? 1 : 0
      cpu              = row.cpu
      memory_mib       = row.memory_mib
      min_instances    = row.min_instances
      max_instances    = row.max_instances
      secrets          = row.secrets
      enqueues         = row.enqueues
      called_by        = row.called_by
      scheduler        = row.trigger == "schedule"
    } if row.served_by == target },
    { for target in local.together ? [local.private] : [] : target => {
      service          = local.private
      audiences        = sort([for row in values(local.functions) : row.url if row.served_by == target])
      trigger          = "private"
      timeout_s        = local.private_row.timeout_s
      deadline_s       = null # of each function, and kept by the code
      socket_timeout_s = local.statement_timeout_s.schedule + local.socket_longer_than_s
      concurrency      = local.private_row.concurrency
      connections      = local.private_row.connections
      pools            = 2                                                                   # tasks' and sweeps' (lib/bootstrap.py)
      sweeps_at_once   = min(length(local.sweeps), try(local.private_row.sweeps_at_once, 0)) # kept by the code (lib/sweeps/places.py)
      cpu              = local.private_row.cpu
      memory_mib       = local.private_row.memory_mib
      min_instances    = local.private_row.min_instances
      max_instances    = local.private_row.max_instances
      secrets          = distinct(flatten([for row in values(local.functions) : row.secrets if row.served_by == target]))
      enqueues         = distinct(flatten([for row in values(local.functions) : row.enqueues if row.served_by == target]))
      called_by        = distinct(flatten([for row in values(local.functions) : row.called_by if row.served_by == target]))
      scheduler        = true
    } },
  )
  private_row = local.together ? merge(local.size.private, lookup(local.overrides, local.private, {})) : null

  # Cloud Run's address of a service can be told before the service exists, so no function waits for another one's.
  own_url_template = "https://{name}-${data.google_project.main.number}.${var.region}.run.app"
  url_template     = local.together ? "${replace(local.own_url_template, "{name}", local.private)}/{name}" : local.own_url_template

  # The function that answers GET: liveness and uptime are asked there.
  health = "health"

  # Paths of these hold a customer's token: the platform's request log must not keep them.
  token_in_path = ["subscription-feed", "connect-page"]

  # What the code waits for Postgres (lib/db/connection.py, lib/bootstrap.py; a test compares): statement, then socket.
  statement_timeout_s        = { public = 3, task = 3, schedule = 20 }
  socket_longer_than_s       = 2
  sweep_takes_no_page_past_s = 45  # lib/sweeps/runner.py, SOFT_BUDGET_S
  sweep_is_cancelled_after_s = 120 # lib/sweeps/runner.py, HARD_LIMIT_S
  sweep_usual_timeout_s      = 150 # a function with more works its whole tick through: sweep_audit, export_ledger

  # Seconds between two ticks: every minute, every n minutes, hourly, every n hours, daily; null for anything else.
  cron = { for target, row in local.sweeps : target => split(" ", coalesce(row.schedule, "-")) }
  period_s = {
    for target, fields in local.cron : target => (
      length(fields) != 5 || try(join(" ", slice(fields, 2, 5)), "") != "* * *" ? null :
      fields[0] == "*" && fields[1] == "*" ? 60 :
      can(regex("^\\*/[1-9][0-9]?$", fields[0])) && fields[1] == "*" ? 60 * tonumber(split("/", fields[0])[1]) :
      !can(regex("^[0-5]?[0-9]$", fields[0])) ? null :
      fields[1] == "*" ? 3600 :
      can(regex("^\\*/[1-9][0-9]?$", fields[1])) ? 3600 * tonumber(split("/", fields[1])[1]) :
      can(regex("^([01]?[0-9]|2[0-3])$", fields[1])) ? 86400 : null
    )
  }
  # How long a sweep may work on one tick; a shorter period would have it still at work at the next one.
  sweep_limit_s = {
    for target, row in local.sweeps : target => row.timeout_s <= local.sweep_usual_timeout_s ? local.sweep_takes_no_page_past_s : row.timeout_s
  }

  # Secrets: setting = id in Secret Manager.
  migrate_secret  = "MIGRATE_DATABASE_URL"
  secret_settings = toset(concat([local.migrate_secret], flatten([for row in values(local.functions) : row.secrets])))
  secret_ids = {
    for setting in local.secret_settings : setting => setting == "DATABASE_URL" && var.database.url_secret != null ? var.database.url_secret : lower(replace(setting, "_", "-"))
  }
  optional_secrets = ["CRYPTOPAY_TOKEN", "LEDGER_EXPORT_KEY", "NODE_MASTER_KEYS", "TELEGRAM_PROVIDER_TOKEN", "XRAY_API_KEY"] # method not offered; no books off site; one node only; cards not offered; nodes are rows of their own
  missing_secrets  = [for setting in sort(tolist(local.secret_settings)) : setting if !contains(concat(local.optional_secrets, keys(var.secret_versions)), setting)]

}

data "google_project" "main" {
  project_id = var.project_id
}

# Everything that must hold about the table, said in words and before anything is made.
resource "terraform_data" "table" {
  input = sort(keys(local.functions))

  lifecycle {
    precondition {
      condition     = alltrue([for queue in keys(local.table.queues) : can(regex("^[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?$", queue))])
      error_message = "functions/table.json: a queue is named by 1 to 24 of a-z, 0-9 and inner hyphens, since its tasks call as the account tasks-<queue>; not so: ${join(", ", [for queue in keys(local.table.queues) : queue if !can(regex("^[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?$", queue))])}."
    }
    precondition {
      condition     = alltrue([for row in values(local.functions) : contains(["public", "task", "schedule"], row.trigger)])
      error_message = "functions/table.json: a trigger is public, task or schedule; not so: ${join(", ", [for target, row in local.functions : "${target} (${row.trigger})" if !contains(["public", "task", "schedule"], row.trigger)])}."
    }
    precondition {
      condition     = alltrue([for row in values(local.functions) : row.trigger == "task" ? contains(keys(local.table.queues), coalesce(row.queue, "-")) : row.queue == null])
      error_message = "functions/table.json: a task names a queue of the table, nothing else names one; not so: ${join(", ", [for target, row in local.functions : target if row.trigger == "task" ? !contains(keys(local.table.queues), coalesce(row.queue, "-")) : row.queue != null])}."
    }
    precondition {
      condition     = alltrue([for row in values(local.functions) : length(setsubtract(row.enqueues, keys(local.table.queues))) == 0])
      error_message = "functions/table.json: a function puts tasks on a queue that is not there: ${join(", ", [for target, row in local.functions : "${target} (${join(", ", setsubtract(row.enqueues, keys(local.table.queues)))})" if length(setsubtract(row.enqueues, keys(local.table.queues))) > 0])}."
    }
    precondition {
      condition     = alltrue([for row in values(local.functions) : row.trigger == "public" ? row.deadline_s == null : coalesce(row.deadline_s, 0) >= 15 && coalesce(row.deadline_s, 0) <= 1800])
      error_message = "functions/table.json: tasks and sweeps have a deadline_s of 15 to 1800, the limits of Cloud Tasks and Cloud Scheduler; not so: ${join(", ", [for target, row in local.functions : target if row.trigger != "public" && (coalesce(row.deadline_s, 0) < 15 || coalesce(row.deadline_s, 0) > 1800)])}."
    }
    precondition {
      condition     = alltrue([for seconds in values(local.period_s) : seconds != null])
      error_message = "functions/table.json: a schedule is unix-cron: every minute, every n minutes or hours, hourly or daily, in UTC; not so: ${join(", ", [for target, seconds in local.period_s : "${target} (${coalesce(local.sweeps[target].schedule, "none")})" if seconds == null])}."
    }
    precondition {
      condition     = alltrue([for target, seconds in local.period_s : coalesce(seconds, 86400) >= local.sweep_limit_s[target]])
      error_message = "functions/table.json: scheduled faster than the sweep's limit: ${join(", ", [for target, seconds in local.period_s : "${target} every ${coalesce(seconds, 86400)} s, but it may work ${local.sweep_limit_s[target]} s on one tick" if coalesce(seconds, 86400) < local.sweep_limit_s[target]])}."
    }
    precondition {
      condition     = alltrue([for target, row in local.sweeps : coalesce(row.second_pass_s, 0) < coalesce(local.period_s[target], 86400)])
      error_message = "functions/table.json: second_pass_s must lie before the next tick: ${join(", ", [for target, row in local.sweeps : target if coalesce(row.second_pass_s, 0) >= coalesce(local.period_s[target], 86400)])}."
    }
    precondition {
      condition     = alltrue([for row in values(local.sweeps) : row.timeout_s > local.sweep_is_cancelled_after_s])
      error_message = "functions/table.json: a sweep's timeout_s must be longer than its hard limit of ${local.sweep_is_cancelled_after_s} s, or the platform ends it before it can say how it ended: ${join(", ", [for target, row in local.sweeps : target if row.timeout_s <= local.sweep_is_cancelled_after_s])}."
    }
    precondition {
      condition     = alltrue([for row in values(local.sweeps) : row.max_instances == 1])
      error_message = "functions/table.json: a sweep has one runner, so max_instances is 1: ${join(", ", [for target, row in local.sweeps : target if row.max_instances != 1])}."
    }
    precondition {
      condition     = alltrue([for row in values(local.functions) : row.min_instances <= row.max_instances && row.connections >= 2])
      error_message = "functions/table.json: min_instances <= max_instances and connections >= 2; not so: ${join(", ", [for target, row in local.functions : target if row.min_instances > row.max_instances || row.connections < 2])}."
    }
    precondition {
      condition     = length(setsubtract(keys(var.overrides), concat(keys(local.functions), local.together ? [local.private] : []))) == 0
      error_message = "overrides names what is no function of functions/table.json${local.together ? "" : " (private is one of size small alone)"}: ${join(", ", setsubtract(keys(var.overrides), concat(keys(local.functions), local.together ? [local.private] : [])))}."
    }
    precondition {
      condition     = alltrue([for row in values(local.functions) : row.served_by != local.private || coalesce(row.deadline_s, 0) > row.timeout_s && try(local.private_row.timeout_s, 0) >= row.timeout_s])
      error_message = "functions/table.json: in one service each function's timeout_s must be shorter than its deadline_s and no longer than the service's: ${join(", ", [for target, row in local.functions : target if row.served_by == local.private && !(coalesce(row.deadline_s, 0) > row.timeout_s && try(local.private_row.timeout_s, 0) >= row.timeout_s)])}."
    }
    precondition {
      condition     = !local.together || try(local.private_row.sweeps_at_once >= 1 && floor(local.private_row.sweeps_at_once) == local.private_row.sweeps_at_once, false)
      error_message = "functions/table.json: the one private service of size ${var.size} says by sweeps_at_once, 1 or more, on how many sweeps it works at once."
    }
    precondition {
      condition     = contains(keys(local.functions), local.health)
      error_message = "functions/table.json: without the function ${local.health} it is unknown whether the platform answers."
    }
  }
}
