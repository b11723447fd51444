# One page that answers "is it us, the database, a node, or Telegram?".

locals {
  charts = [
    { title = "Paid, not applied; payments unmatched, second or kept; refunds not made", filters = [for key in ["paid_not_applied", "payment_unmatched", "payment_kept", "refund_not_made"] : { key = key, filter = "metric.type=\"logging.googleapis.com/user/atlas_${key}\" resource.type=\"cloud_run_revision\"" }], aligner = "ALIGN_DELTA", by = [] },
    { title = "Sweeps that ended well", filters = [{ key = "done", filter = "metric.type=\"logging.googleapis.com/user/atlas_sweep_done\" resource.type=\"cloud_run_revision\"" }], aligner = "ALIGN_DELTA", by = ["metric.label.sweep"] },
    { title = "Sweeps that ended otherwise", filters = [{ key = "not_done", filter = "metric.type=\"logging.googleapis.com/user/atlas_sweep_not_done\" resource.type=\"cloud_run_revision\"" }], aligner = "ALIGN_DELTA", by = ["metric.label.sweep"] },
    { title = "Requests by function", filters = [{ key = "requests", filter = "metric.type=\"run.googleapis.com/request_count\" resource.type=\"cloud_run_revision\"" }], aligner = "ALIGN_RATE", by = ["resource.label.service_name"] },
    { title = "5xx by function", filters = [{ key = "5xx", filter = "metric.type=\"run.googleapis.com/request_count\" resource.type=\"cloud_run_revision\" metric.label.response_code_class=\"5xx\"" }], aligner = "ALIGN_DELTA", by = ["resource.label.service_name"] },
    { title = "Latency, 95th percentile, ms", filters = [{ key = "p95", filter = "metric.type=\"run.googleapis.com/request_latencies\" resource.type=\"cloud_run_revision\"" }], aligner = "ALIGN_PERCENTILE_95", by = ["resource.label.service_name"] },
    { title = "Instances", filters = [{ key = "instances", filter = "metric.type=\"run.googleapis.com/container/instance_count\" resource.type=\"cloud_run_revision\"" }], aligner = "ALIGN_MAX", by = ["resource.label.service_name"] },
    { title = "Attempts of tasks by answer", filters = [{ key = "attempts", filter = "metric.type=\"cloudtasks.googleapis.com/queue/task_attempt_count\" resource.type=\"cloud_tasks_queue\"" }], aligner = "ALIGN_DELTA", by = ["resource.label.queue_id", "metric.label.response_code"] },
    { title = "Follow-up work overdue; connections short, waited for", filters = [for key in ["outbox_overdue", "connections_short", "connection_waited"] : { key = key, filter = "metric.type=\"logging.googleapis.com/user/atlas_${key}\" resource.type=\"cloud_run_revision\"" }], aligner = "ALIGN_DELTA", by = [] },
    { title = "Tasks waiting", filters = [{ key = "depth", filter = "metric.type=\"cloudtasks.googleapis.com/queue/depth\" resource.type=\"cloud_tasks_queue\"" }], aligner = "ALIGN_MAX", by = ["resource.label.queue_id"] },
    { title = "Database connections (limit ${local.max_connections})", filters = [{ key = "connections", filter = "metric.type=\"cloudsql.googleapis.com/database/postgresql/num_backends\" resource.type=\"cloudsql_database\"" }], aligner = "ALIGN_MEAN", by = [] },
    { title = "Database CPU", filters = [{ key = "cpu", filter = "metric.type=\"cloudsql.googleapis.com/database/cpu/utilization\" resource.type=\"cloudsql_database\"" }], aligner = "ALIGN_MEAN", by = [] },
    { title = "Node calls that failed", filters = [{ key = "node", filter = "metric.type=\"logging.googleapis.com/user/atlas_node_call_failed\" resource.type=\"cloud_run_revision\"" }], aligner = "ALIGN_DELTA", by = ["metric.label.node"] },
    { title = "No database; tasks that failed", filters = [for key in ["no_database", "task_failed"] : { key = key, filter = "metric.type=\"logging.googleapis.com/user/atlas_${key}\" resource.type=\"cloud_run_revision\"" }], aligner = "ALIGN_DELTA", by = ["metric.label.function"] },
    { title = "Messages refused; updates given up; webhooks refused", filters = [for key in ["message_failed", "update_given_up", "webhook_refused", "deliveries_refused"] : { key = key, filter = "metric.type=\"logging.googleapis.com/user/atlas_${key}\" resource.type=\"cloud_run_revision\"" }], aligner = "ALIGN_DELTA", by = [] },
  ]
}

resource "google_monitoring_dashboard" "main" {
  project = var.project_id
  dashboard_json = jsonencode({
    displayName = "Atlas (${var.environment})"
    mosaicLayout = {
      columns = 12
      tiles = [
        for index, chart in local.charts : {
          xPos   = (index % 3) * 4
          yPos   = floor(index / 3) * 4
          width  = 4
          height = 4
          widget = {
            title = chart.title
            xyChart = {
              dataSets = [
                for source in chart.filters : {
                  plotType       = "LINE"
                  legendTemplate = length(chart.by) == 0 ? source.key : null
                  timeSeriesQuery = {
                    timeSeriesFilter = {
                      filter = source.filter
                      aggregation = {
                        alignmentPeriod    = "60s"
                        perSeriesAligner   = chart.aligner
                        crossSeriesReducer = "REDUCE_SUM"
                        groupByFields      = chart.by
                      }
                    }
                  }
                }
              ]
            }
          }
        }
      ]
    }
  })

  depends_on = [google_logging_metric.main]
}
