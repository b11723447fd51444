locals {
  settings = merge(
    {
      LOG_LEVEL             = "INFO"
      TELEGRAM_WEBHOOK_URL  = try(local.functions["telegram_webhook"].url, "")
      CRYPTOPAY_WEBHOOK_URL = try(local.functions["cryptobot_webhook"].url, "")
    },
    var.settings,
    {
      ENVIRONMENT           = var.environment
      FUNCTION_URL_TEMPLATE = local.url_template
      TASKS_PROJECT         = var.project_id
      TASKS_LOCATION        = var.region
      TASKS_INVOKER         = "tasks-{queue}@${var.project_id}.iam.gserviceaccount.com" # iam.tf; the maker of a task fills the queue in
    },
    var.domain == null ? {} : { PUBLIC_BASE_URL = "https://${var.domain}" },
  )
}

module "function" {
  source   = "../function"
  for_each = local.deployed

  project_id = var.project_id
  region     = var.region
  target     = each.key
  service    = each.value.service
  audiences  = each.value.audiences
  trigger    = each.value.trigger

  timeout_s        = each.value.timeout_s
  deadline_s       = each.value.deadline_s
  socket_timeout_s = each.value.socket_timeout_s
  concurrency      = each.value.concurrency
  connections      = each.value.connections
  cpu              = each.value.cpu
  memory_mib       = each.value.memory_mib
  min_instances    = each.value.min_instances
  max_instances    = each.value.max_instances
  probes           = jsondecode(file("${path.module}/../../../../functions/probes.json"))

  image   = local.image
  release = local.release

  environment_variables = local.settings
  secrets = {
    for setting in each.value.secrets : setting => {
      secret_id = google_secret_manager_secret.main[setting].secret_id
      version   = var.secret_versions[setting]
    } if contains(keys(var.secret_versions), setting)
  }
  enqueues = each.value.enqueues
  invokers = merge(
    each.value.scheduler ? { scheduler = google_service_account.scheduler_invoker.member } : {},
    { for queue in each.value.called_by : "tasks-${queue}" => google_service_account.tasks_invoker[queue].member if contains(keys(local.table.queues), queue) },
  )
  tasks_invokers = { for queue in each.value.enqueues : queue => google_service_account.tasks_invoker[queue].email if contains(keys(local.table.queues), queue) }

  database_connection_name = local.connection_name

  # Names of queues are those of the table, so that a project that is there can be taken over by `terraform import`.
  depends_on = [
    google_cloud_run_v2_job.migrate,
    google_cloud_tasks_queue.main,
    google_sql_user.functions,
    terraform_data.release,
    terraform_data.table,
  ]
}
