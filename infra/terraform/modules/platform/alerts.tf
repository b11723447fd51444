# Alerts, most urgent first; each links its page of docs/runbooks.

locals {
  channels = [for channel in google_monitoring_notification_channel.email : channel.id]

  # Something happened that a person must see. `more_than` within `window_s`.
  event_alerts = {
    paid_not_applied    = { title = "Paid but not applied", page = "paid-but-not-applied", severity = "CRITICAL", more_than = 0, window_s = 60 }
    no_database         = { title = "The database can't be had", page = "database-unavailable", severity = "CRITICAL", more_than = 5, window_s = 120 }
    payment_unmatched   = { title = "A payment fits no order", page = "payment-unmatched", severity = "ERROR", more_than = 0, window_s = 60 }
    payment_duplicate   = { title = "An order was paid twice", page = "payment-unmatched", severity = "ERROR", more_than = 0, window_s = 60 }
    payment_kept        = { title = "A payment was kept, not settled", page = "payment-kept", severity = "ERROR", more_than = 0, window_s = 60 }
    node_call_refused   = { title = "A node refuses us", page = "node-unreachable", severity = "ERROR", more_than = 0, window_s = 60 }
    node_call_failed    = { title = "A node can't be reached", page = "node-unreachable", severity = "ERROR", more_than = 10, window_s = 300 }
    update_given_up     = { title = "A customer's update was given up", page = "update-given-up", severity = "ERROR", more_than = 0, window_s = 60 }
    misconfigured       = { title = "A function lacks a setting", page = "configuration-invalid", severity = "ERROR", more_than = 0, window_s = 60 }
    webhook_refused     = { title = "Webhook calls with a wrong secret", page = "webhook-refused", severity = "WARNING", more_than = 20, window_s = 600 }
    message_failed      = { title = "Messages are refused by Telegram", page = "messages-refused", severity = "WARNING", more_than = 20, window_s = 600 }
    secret_read_by_hand = { title = "A secret was read by hand", page = "secret-read-by-hand", severity = "WARNING", more_than = 0, window_s = 60 }
  }

  # Windows of the sweeps' alerts: some periods, at least five minutes; the service takes at most 23.5 hours for absence.
  sweep_window_s = { for target, seconds in local.period_s : target => min(84600, max(300, 3 * coalesce(seconds, 60))) }
}

resource "google_monitoring_notification_channel" "email" {
  for_each = toset(var.alert_emails)

  project      = var.project_id
  type         = "email"
  display_name = each.value
  labels       = { email_address = each.value }

  depends_on = [google_project_service.main]
}

resource "google_monitoring_alert_policy" "event" {
  for_each = local.event_alerts

  project               = var.project_id
  display_name          = each.value.title
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = local.channels

  conditions {
    display_name = "More than ${each.value.more_than} in ${each.value.window_s} s"
    condition_threshold {
      filter          = "metric.type=\"logging.googleapis.com/user/atlas_${each.key}\" AND resource.type=\"${each.key == "secret_read_by_hand" ? "audited_resource" : "cloud_run_revision"}\""
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.more_than
      duration        = "0s"
      aggregations {
        alignment_period     = "${each.value.window_s}s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
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

# A sweep that does too little, and one that does nothing at all: the first sees a sweep that fails, the second one that
# never ran, or whose lines do not come (then there is no series to compare with a number).
resource "google_monitoring_alert_policy" "sweep" {
  for_each = local.sweeps

  project               = var.project_id
  display_name          = "${each.key} is silent"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = local.channels

  conditions {
    display_name = "No success within ${local.sweep_window_s[each.key]} s"
    condition_threshold {
      filter          = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.main["sweep_done"].name}\" AND resource.type=\"cloud_run_revision\" AND metric.labels.sweep=\"${trimprefix(each.key, "sweep_")}\""
      comparison      = "COMPARISON_LT"
      threshold_value = 1
      duration        = "0s"
      aggregations {
        alignment_period     = "${local.sweep_window_s[each.key]}s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  conditions {
    display_name = "No line for ${local.sweep_window_s[each.key]} s"
    condition_absent {
      filter   = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.main["sweep_done"].name}\" AND resource.type=\"cloud_run_revision\" AND metric.labels.sweep=\"${trimprefix(each.key, "sweep_")}\""
      duration = "${local.sweep_window_s[each.key]}s"
      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  alert_strategy {
    auto_close = "1800s"
  }

  documentation {
    mime_type = "text/markdown"
    content   = "${var.environment}: ${each.key} did not end well for ${local.sweep_window_s[each.key]} s. Runbook: ${var.runbooks_url}/sweep-silent.md"
    links {
      display_name = "Runbook"
      url          = "${var.runbooks_url}/sweep-silent.md"
    }
  }
}

resource "google_monitoring_alert_policy" "function_errors" {
  for_each = local.functions

  project               = var.project_id
  display_name          = "${each.key} answers 5xx"
  combiner              = "AND" # a ratio alone would wake an operator for one failed request of two
  severity              = each.value.trigger == "public" ? "CRITICAL" : "ERROR"
  notification_channels = local.channels

  conditions {
    display_name = "More than 5 % of the answers of 5 minutes"
    condition_threshold {
      filter             = "metric.type=\"run.googleapis.com/request_count\" AND resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${each.value.service}\" AND metric.labels.response_code_class=\"5xx\""
      denominator_filter = "metric.type=\"run.googleapis.com/request_count\" AND resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${each.value.service}\""
      comparison         = "COMPARISON_GT"
      threshold_value    = 0.05
      duration           = "0s"
      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
      denominator_aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  conditions {
    display_name = "More than 2 of them"
    condition_threshold {
      filter          = "metric.type=\"run.googleapis.com/request_count\" AND resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${each.value.service}\" AND metric.labels.response_code_class=\"5xx\""
      comparison      = "COMPARISON_GT"
      threshold_value = 2
      duration        = "0s"
      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  alert_strategy {
    auto_close = "1800s"
  }

  documentation {
    mime_type = "text/markdown"
    content   = "${var.environment}: ${each.key} answers 5xx. Runbook: ${var.runbooks_url}/function-errors.md"
    links {
      display_name = "Runbook"
      url          = "${var.runbooks_url}/function-errors.md"
    }
  }

  depends_on = [google_project_service.main]
}

resource "google_monitoring_alert_policy" "queue_age" {
  for_each = local.table.queues

  project               = var.project_id
  display_name          = "Queue ${each.key} lags behind"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels

  conditions {
    display_name = "Attempts later than a minute for 5 minutes"
    condition_threshold {
      filter          = "metric.type=\"cloudtasks.googleapis.com/queue/task_attempt_delays\" AND resource.type=\"cloud_tasks_queue\" AND resource.labels.queue_id=\"${google_cloud_tasks_queue.main[each.key].name}\""
      comparison      = "COMPARISON_GT"
      threshold_value = 60000 # ms
      duration        = "300s"
      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_PERCENTILE_95"
        cross_series_reducer = "REDUCE_MAX"
      }
    }
  }

  # Nothing is attempted at all: then there are no delays to measure, only a heap that stays.
  conditions {
    display_name = "A heap that would take the queue more than 10 minutes"
    condition_threshold {
      filter          = "metric.type=\"cloudtasks.googleapis.com/queue/depth\" AND resource.type=\"cloud_tasks_queue\" AND resource.labels.queue_id=\"${google_cloud_tasks_queue.main[each.key].name}\""
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.rate_per_second * 600
      duration        = "300s"
      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_MAX"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  alert_strategy {
    auto_close = "1800s"
  }

  documentation {
    mime_type = "text/markdown"
    content   = "${var.environment}: queue ${each.key} lags behind. Runbook: ${var.runbooks_url}/queue-age.md"
    links {
      display_name = "Runbook"
      url          = "${var.runbooks_url}/queue-age.md"
    }
  }
}

locals {
  database_id = "${var.project_id}:${google_sql_database_instance.main.name}"
  database_alerts = {
    connections = { title = "Database connections run out", page = "database-connections", metric = "database/postgresql/num_backends", above = floor(local.max_connections * 0.8), reducer = "REDUCE_SUM" }
    disk        = { title = "The database's disk fills up", page = "database-resources", metric = "database/disk/utilization", above = 0.85, reducer = "REDUCE_MAX" }
    cpu         = { title = "The database is out of CPU", page = "database-resources", metric = "database/cpu/utilization", above = 0.9, reducer = "REDUCE_MAX" }
    memory      = { title = "The database is out of memory", page = "database-resources", metric = "database/memory/utilization", above = 0.95, reducer = "REDUCE_MAX" }
  }
}

resource "google_monitoring_alert_policy" "database" {
  for_each = local.database_alerts

  project               = var.project_id
  display_name          = each.value.title
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels

  conditions {
    display_name = "Above ${each.value.above} for 5 minutes"
    condition_threshold {
      filter          = "metric.type=\"cloudsql.googleapis.com/${each.value.metric}\" AND resource.type=\"cloudsql_database\" AND resource.labels.database_id=\"${local.database_id}\""
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.above
      duration        = "300s"
      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_MEAN"
        cross_series_reducer = each.value.reducer
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
  notification_channels = local.channels

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
    monitoring_notification_channels = local.channels
    disable_default_iam_recipients   = false
  }

  depends_on = [google_project_service.main]
}
