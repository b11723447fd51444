# Alerts, one policy for each kind of trouble; what is in trouble is a label of its incidents. Each links its page of
# docs/runbooks. CRITICAL pages, the rest is read by day.

locals {
  mailed  = [for channel in google_monitoring_notification_channel.email : channel.id]
  paged   = length(var.paging_channels) == 0 ? local.mailed : concat([for one in var.paging_channels : one if startswith(one, "projects/")], [for channel in google_monitoring_notification_channel.page : channel.id])
  channel = { CRITICAL = local.paged, ERROR = local.mailed, WARNING = local.mailed }

  # Lines that the code logs, counted by log_metrics.tf: more than so many within so many seconds, each of `by` for itself.
  event_alerts = {
    paid_not_applied = { title = "Paid but not applied", page = "paid-but-not-applied", severity = "CRITICAL", by = [], counts = {
      paid_not_applied = { more_than = 0, window_s = 60 }
    } }
    no_database = { title = "The database can't be had", page = "database-unavailable", severity = "CRITICAL", by = [], counts = {
      no_database = { more_than = 5, window_s = 120 }
    } }
    deliveries_refused = { title = "Telegram's deliveries are refused or go nowhere", page = "deliveries-refused", severity = "CRITICAL", by = [], counts = {
      deliveries_refused = { more_than = 0, window_s = 60 }
    } }
    payment_unmatched = { title = "A payment fits no order, or is a second one", page = "payment-unmatched", severity = "ERROR", by = ["event"], counts = {
      payment_unmatched = { more_than = 0, window_s = 60 }
    } }
    payment_kept = { title = "A payment was kept, not settled", page = "payment-kept", severity = "ERROR", by = [], counts = {
      payment_kept = { more_than = 0, window_s = 60 }
    } }
    refund_not_made = { title = "A refund is not made", page = "give-back", severity = "ERROR", by = ["event"], counts = {
      refund_not_made = { more_than = 0, window_s = 60 }
    } }
    books_differ = { title = "A provider's account is not what the books say", page = "books-differ", severity = "ERROR", by = ["provider"], counts = {
      books_differ = { more_than = 0, window_s = 60 }
    } }
    invariant_violated = { title = "What must always hold does not", page = "invariant-violated", severity = "ERROR", by = ["invariant"], counts = {
      invariant_violated = { more_than = 0, window_s = 60 }
    } }
    books_not_exported = { title = "The books were not copied off site", page = "books-not-exported", severity = "ERROR", by = [], counts = {
      books_not_exported = { more_than = 0, window_s = 60 }
    } }
    node = { title = "A node can't be reached, or refuses Atlas", page = "node-unreachable", severity = "ERROR", by = ["node"], counts = {
      node_call_refused = { more_than = 0, window_s = 60 }
      node_call_failed  = { more_than = 3, window_s = 300 } # a dead node is asked by one probe a minute
    } }
    reconcile_orphan_clients = { title = "Nodes hold what Postgres does not know", page = "orphan-clients", severity = "ERROR", by = ["event"], counts = {
      reconcile_orphan_clients = { more_than = 0, window_s = 60 }
    } }
    outbox_overdue = { title = "Follow-up work is overdue", page = "queue-age", severity = "ERROR", by = ["queue"], counts = {
      outbox_overdue = { more_than = 0, window_s = 60 }
    } }
    update_given_up = { title = "A customer's update was given up", page = "update-given-up", severity = "ERROR", by = [], counts = {
      update_given_up = { more_than = 0, window_s = 60 }
    } }
    misconfigured = { title = "A function lacks a setting", page = "configuration-invalid", severity = "ERROR", by = ["function"], counts = {
      misconfigured = { more_than = 0, window_s = 60 }
    } }
    connections = { title = "Database connections run short", page = "database-connections", severity = "ERROR", by = [], counts = {
      connections_short = { more_than = 0, window_s = 60 }
      connection_waited = { more_than = 20, window_s = 300 }
    } }
    message_failed = { title = "Messages are refused by Telegram", page = "messages-refused", severity = "WARNING", by = ["event"], counts = {
      message_failed = { more_than = 20, window_s = 600 }
    } }
    secret_read_by_hand = { title = "A secret was read by hand", page = "secret-read-by-hand", severity = "WARNING", by = ["who", "which"], counts = {
      secret_read_by_hand = { more_than = 0, window_s = 60 }
    } }
  }
  counted_in = { secret_read_by_hand = "audited_resource" } # every other count is of a function's lines

  # Figures of the platform's own.
  figure_alerts = merge({
    queue_age = {
      title    = "A queue lags behind", page = "queue-age", severity = "ERROR", by = ["resource.labels.queue_id"]
      filter   = "metric.type=\"cloudtasks.googleapis.com/queue/task_attempt_delays\" AND resource.type=\"cloud_tasks_queue\""
      above    = 60000, says = "Attempts later than a minute (ms) for 5 minutes"
      window_s = 60, duration_s = 300, aligner = "ALIGN_PERCENTILE_95", reducer = "REDUCE_MAX"
    }
    # Refused before the function's own code: its account may not call, the address is wrong, the service is gone. Such a
    # task is attempted on time and dropped after its last attempt, so neither delays nor 5xx tell of it.
    tasks_refused = {
      title    = "Tasks are refused", page = "tasks-refused", severity = "ERROR", by = ["resource.labels.queue_id", "metric.labels.response_code"]
      filter   = "metric.type=\"cloudtasks.googleapis.com/queue/task_attempt_count\" AND resource.type=\"cloud_tasks_queue\" AND metric.labels.response_code=monitoring.regex.full_match(\"${local.refused_codes}\")"
      above    = 0, says = "An attempt was answered 401, 403, 404 or 405"
      window_s = 300, duration_s = 0, aligner = "ALIGN_DELTA", reducer = "REDUCE_SUM"
    }
    migration_failed = {
      title    = "A migration failed", page = "migration-failed", severity = "ERROR", by = ["resource.labels.job_name"]
      filter   = "metric.type=\"run.googleapis.com/job/completed_execution_count\" AND resource.type=\"cloud_run_job\" AND resource.labels.job_name=\"migrate\" AND metric.labels.result=\"failed\""
      above    = 0, says = "An execution of the job failed"
      window_s = 300, duration_s = 0, aligner = "ALIGN_DELTA", reducer = "REDUCE_SUM"
    }
    }, local.has_instance ? {
    failover = {
      title    = "The database failed over", page = "database-unavailable", severity = "WARNING", by = ["resource.labels.database_id"]
      filter   = "metric.type=\"cloudsql.googleapis.com/database/auto_failover_request_count\" AND resource.type=\"cloudsql_database\" AND resource.labels.database_id=\"${local.database_id}\""
      above    = 0, says = "A failover was asked for"
      window_s = 300, duration_s = 0, aligner = "ALIGN_DELTA", reducer = "REDUCE_SUM"
    }
  } : {})

  # As HTTP says them and as gRPC does: the metric's documentation leaves it open.
  refused_codes = "(?i)(40[1345]|unauthenticated|permission.?denied|not.?found|unimplemented)"

  # Questions that one figure does not answer.
  requests = "run_googleapis_com:request_count{monitored_resource=\"cloud_run_revision\",service_name=~\"%s\"%s}[%ds]"
  query_alerts = merge(
    {
      for name, group in local.errors_of : "errors_${name}" => {
        title = group.title, page = "function-errors", severity = group.severity, for_s = 0
        # A ratio alone would wake an operator for one failed request of two.
        query = "(sum by (service_name) (increase(${format(local.requests, group.services, local.class_5xx, 300)})) > 2) and (sum by (service_name) (increase(${format(local.requests, group.services, local.class_5xx, 300)})) / sum by (service_name) (increase(${format(local.requests, group.services, "", 300)})) > 0.05)"
      }
    },
    {
      webhook_refused = {
        title = "Webhook calls are refused", page = "webhook-refused", severity = "WARNING", for_s = 0
        query = "sum by (service_name) (increase(${format(local.requests, local.webhooks, ",response_code_class=\"4xx\"", 600)})) > 20"
      }
    },
    # A sweep that does too little, one that does nothing any more, and one that never ran: an absence condition of the
    # other kind does not see the last, since it needs a series to miss.
    {
      for name, group in local.silence_of : "silence_${name}" => {
        # what runs once an hour or seldomer can wait for the morning
        title = group.title, page = "sweep-silent", severity = name == "sweeps" ? "CRITICAL" : "ERROR", for_s = group.for_s
        query = join(" or ", concat(
          [for seconds, names in group.windows : "sum by (sweep) (increase(${local.sweep_done}{monitored_resource=\"cloud_run_revision\",sweep=~\"${join("|", names)}\"}[${seconds}s])) < 0.5"],
          flatten([for seconds, names in group.windows : [for name in names : "absent_over_time(${local.sweep_done}{monitored_resource=\"cloud_run_revision\",sweep=\"${name}\"}[${seconds}s])"]]),
        ))
      } if length(group.windows) > 0
    },
    local.has_instance ? {
      database_down = {
        title = "The database server is down", page = "database-unavailable", severity = "CRITICAL", for_s = 120
        query = "max by (database_id) (cloudsql_googleapis_com:database_up{${local.of_database}}) < 1"
      }
      database_resources = {
        title = "The database runs out of disk, CPU or memory", page = "database-resources", severity = "ERROR", for_s = 300
        query = join(" or ", [for what, above in local.database_limits : "label_replace(max by (database_id) (cloudsql_googleapis_com:database_${what}_utilization{${local.of_database}}) > ${above}, \"of\", \"${what}\", \"\", \"\")"])
      }
    } : {},
  )

  class_5xx = ",response_code_class=\"5xx\""
  errors_of = {
    public  = { title = "A public function answers 5xx", severity = "CRITICAL", services = join("|", local.services.public) }
    private = { title = "A private function answers 5xx", severity = "ERROR", services = join("|", local.services.private) }
  }
  services = {
    public  = sort(distinct([for row in values(local.functions) : row.service if row.trigger == "public"]))
    private = sort(distinct([for row in values(local.functions) : row.service if row.trigger != "public"]))
  }
  webhooks = join("|", [for service in local.services.public : service if endswith(service, "-webhook")])

  # Three periods of a sweep, at least three minutes, and two minutes more until it counts: lines become figures with a delay.
  # The service looks back a day at most; of a daily sweep, one hour more is waited for.
  sweep_done = "logging_googleapis_com:user_atlas_sweep_done"
  silence_of = merge(
    { sweeps = { title = "A sweep is silent", for_s = 120, windows = {
      for seconds in distinct([for target in local.often : local.silent_after_s[target]]) : seconds => [for target in local.often : trimprefix(target, "sweep_") if local.silent_after_s[target] == seconds]
    } } },
    # Of these a period belongs to the waiting, not to the look back: a sweep that a release brings has run once by then.
    { for seconds in distinct([for target in local.seldom : local.period_s[target]]) : "every_${seconds}" => {
      title = "A sweep of every ${seconds / 60} min is silent", for_s = seconds + 120, windows = {
        (2 * seconds - 120) = [for target in local.seldom : trimprefix(target, "sweep_") if local.period_s[target] == seconds]
    } } },
    { daily = { title = "A daily sweep is silent", for_s = 3600, windows = length(local.daily) == 0 ? {} : { "86400" = [for target in local.daily : trimprefix(target, "sweep_")] } } },
  )
  silent_after_s = { for target, seconds in local.period_s : target => max(180, 3 * coalesce(seconds, 60)) }
  often          = sort([for target, seconds in local.silent_after_s : target if seconds <= 1800])
  seldom         = sort([for target, seconds in local.silent_after_s : target if seconds > 1800 && seconds <= 86400])
  daily          = sort([for target, seconds in local.silent_after_s : target if seconds > 86400])

  # Only an instance of Cloud SQL has these figures; a Postgres of one's own is seen by the functions' lines.
  instances       = google_sql_database_instance.main[*].name
  has_instance    = length(local.instances) > 0
  database_id     = join("", [for name in local.instances : "${var.project_id}:${name}"])
  of_database     = "monitored_resource=\"cloudsql_database\",database_id=\"${local.database_id}\""
  database_limits = { disk = 0.85, cpu = 0.9, memory = 0.95 }
}

resource "google_monitoring_notification_channel" "email" {
  for_each = toset(var.alert_emails)

  project      = var.project_id
  type         = "email"
  display_name = each.value
  labels       = { email_address = each.value }

  depends_on = [google_project_service.main]
}

# Who is paged by e-mail only; other ways (an app, a phone) are channels of their own, made in the console.
resource "google_monitoring_notification_channel" "page" {
  for_each = toset([for one in var.paging_channels : one if !startswith(one, "projects/")])

  project      = var.project_id
  type         = "email"
  display_name = "${each.value} (pages)"
  labels       = { email_address = each.value }

  depends_on = [google_project_service.main]
}

resource "google_monitoring_alert_policy" "event" {
  for_each = local.event_alerts

  project               = var.project_id
  display_name          = each.value.title
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = local.channel[each.value.severity]

  dynamic "conditions" {
    for_each = each.value.counts
    content {
      display_name = "${conditions.key}: more than ${conditions.value.more_than} in ${conditions.value.window_s} s"
      condition_threshold {
        filter          = "metric.type=\"logging.googleapis.com/user/atlas_${conditions.key}\" AND resource.type=\"${lookup(local.counted_in, conditions.key, "cloud_run_revision")}\""
        comparison      = "COMPARISON_GT"
        threshold_value = conditions.value.more_than
        duration        = "0s"
        aggregations {
          alignment_period     = "${conditions.value.window_s}s"
          per_series_aligner   = "ALIGN_DELTA"
          cross_series_reducer = "REDUCE_SUM"
          group_by_fields      = [for label in each.value.by : "metric.labels.${label}"]
        }
      }
    }
  }

  alert_strategy {
    auto_close = "86400s"
  }

  documentation {
    mime_type = "text/markdown"
    content   = "${var.environment}: ${each.value.title}. Runbook: ${var.runbooks_url}/${each.value.page}.md"
    links {
      display_name = "Runbook"
      url          = "${var.runbooks_url}/${each.value.page}.md"
    }
  }

  depends_on = [google_logging_metric.main, google_logging_metric.secret_read_by_hand]
}

resource "google_monitoring_alert_policy" "figure" {
  for_each = local.figure_alerts

  project               = var.project_id
  display_name          = each.value.title
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = local.channel[each.value.severity]

  conditions {
    display_name = each.value.says
    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.above
      duration        = "${each.value.duration_s}s"
      aggregations {
        alignment_period     = "${each.value.window_s}s"
        per_series_aligner   = each.value.aligner
        cross_series_reducer = each.value.reducer
        group_by_fields      = each.value.by
      }
    }
  }

  alert_strategy {
    auto_close = "1800s"
  }

  documentation {
    mime_type = "text/markdown"
    content   = "${var.environment}: ${each.value.title}. Runbook: ${var.runbooks_url}/${each.value.page}.md"
    links {
      display_name = "Runbook"
      url          = "${var.runbooks_url}/${each.value.page}.md"
    }
  }

  depends_on = [google_project_service.main]
}

resource "google_monitoring_alert_policy" "query" {
  for_each = local.query_alerts

  project               = var.project_id
  display_name          = each.value.title
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = local.channel[each.value.severity]

  conditions {
    display_name = each.value.title
    condition_prometheus_query_language {
      query                     = each.value.query
      duration                  = "${each.value.for_s}s"
      evaluation_interval       = "60s"
      disable_metric_validation = true # a figure that was never written yet is what some of these are about
    }
  }

  alert_strategy {
    auto_close = "1800s"
  }

  documentation {
    mime_type = "text/markdown"
    content   = "${var.environment}: ${each.value.title}. Runbook: ${var.runbooks_url}/${each.value.page}.md"
    links {
      display_name = "Runbook"
      url          = "${var.runbooks_url}/${each.value.page}.md"
    }
  }

  # The sweeps are called before their silence counts.
  depends_on = [google_logging_metric.main, google_cloud_scheduler_job.main]
}

# From outside, without a key: the platform, the build and the address are there. What is behind it, the alerts above tell.
resource "google_monitoring_uptime_check_config" "health" {
  project      = var.project_id
  display_name = "health answers"
  period       = "60s"
  timeout      = "10s"

  http_check {
    path         = "/"
    port         = 443
    use_ssl      = true
    validate_ssl = true
    accepted_response_status_codes {
      status_class = "STATUS_CLASS_2XX"
    }
  }

  monitored_resource {
    type = "uptime_url"
    labels = {
      project_id = var.project_id
      host       = trimprefix(local.functions[local.health].url, "https://")
    }
  }

  depends_on = [google_project_service.main]
}

resource "google_monitoring_alert_policy" "unreachable" {
  project               = var.project_id
  display_name          = "The platform does not answer from outside"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = local.channel["CRITICAL"]

  conditions {
    display_name = "More than one region fails for 3 minutes"
    condition_threshold {
      filter          = "metric.type=\"monitoring.googleapis.com/uptime_check/check_passed\" AND resource.type=\"uptime_url\" AND metric.labels.check_id=\"${google_monitoring_uptime_check_config.health.uptime_check_id}\""
      comparison      = "COMPARISON_GT"
      threshold_value = 1
      duration        = "180s"
      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_NEXT_OLDER"
        cross_series_reducer = "REDUCE_COUNT_FALSE"
        group_by_fields      = ["resource.labels.host"]
      }
    }
  }

  alert_strategy {
    auto_close = "1800s"
  }

  documentation {
    mime_type = "text/markdown"
    content   = "${var.environment}: health does not answer. Runbook: ${var.runbooks_url}/health-unreachable.md"
    links {
      display_name = "Runbook"
      url          = "${var.runbooks_url}/health-unreachable.md"
    }
  }
}

resource "google_billing_budget" "main" {
  count = var.budget == null ? 0 : 1

  billing_account = var.budget.billing_account
  display_name    = "${var.project_id} (${var.environment})"

  budget_filter {
    projects = ["projects/${data.google_project.main.number}"]
  }

  amount {
    specified_amount {
      currency_code = var.budget.currency
      units         = tostring(var.budget.amount)
    }
  }

  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1.0]
    content {
      threshold_percent = threshold_rules.value
    }
  }
  threshold_rules {
    threshold_percent = 1.0
    spend_basis       = "FORECASTED_SPEND"
  }

  all_updates_rule {
    monitoring_notification_channels = local.mailed
    disable_default_iam_recipients   = false
  }

  depends_on = [google_project_service.main]
}
