resource "google_cloud_tasks_queue" "main" {
  for_each = local.table.queues

  project         = var.project_id
  location        = var.region
  name            = each.key
  deletion_policy = var.protected ? "PREVENT" : "DELETE" # a deleted queue's name can't be used for a week

  rate_limits {
    max_dispatches_per_second = each.value.rate_per_second
    max_concurrent_dispatches = each.value.max_concurrent
  }

  retry_config {
    max_attempts       = each.value.max_attempts
    max_retry_duration = "${each.value.max_retry_s}s"
    min_backoff        = "${each.value.min_backoff_s}s"
    max_backoff        = "${each.value.max_backoff_s}s"
    max_doublings      = each.value.max_doublings
  }

  stackdriver_logging_config {
    sampling_ratio = 1
  }

  lifecycle {
    precondition {
      condition     = each.value.max_attempts > 0 && each.value.max_retry_s > 0
      error_message = "functions/table.json: queue ${each.key} needs max_attempts and max_retry_s above 0: a task is dropped only when both are used up, and 0 means for ever."
    }
    precondition {
      condition     = each.value.min_backoff_s <= each.value.max_backoff_s
      error_message = "functions/table.json: queue ${each.key} has a min_backoff_s above its max_backoff_s."
    }
  }

  depends_on = [google_project_service.main]
}
