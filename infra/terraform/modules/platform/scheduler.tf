resource "google_cloud_scheduler_job" "main" {
  for_each = local.sweeps

  project          = var.project_id
  region           = var.region
  name             = each.value.name
  description      = "Runs ${each.key}"
  schedule         = each.value.schedule
  time_zone        = "Etc/UTC"
  attempt_deadline = "${each.value.deadline_s}s"

  # The next tick is the retry of a frequent one; what runs seldom is tried again.
  retry_config {
    retry_count = coalesce(local.period_s[each.key], 60) >= 3600 ? 3 : 0
  }

  http_target {
    http_method = "POST"
    uri         = each.value.url
    headers     = { "Content-Type" = "application/json" }
    body        = base64encode("{}")

    oidc_token {
      service_account_email = google_service_account.scheduler_invoker.email
      audience              = each.value.url
    }
  }

  depends_on = [module.function] # no tick before there is a function to answer it
}
