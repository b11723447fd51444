# What a month without any traffic costs, by the one list of prices (infra/terraform/prices.json). Each plan says it (output
# monthly_estimate). What customers cause comes on top: docs/performance.md.

locals {
  prices   = jsondecode(file("${path.module}/../../prices.json"))
  hours    = local.prices.hours_per_month
  seconds  = local.hours * 3600
  price_db = local.prices.database
  price_fn = local.prices.functions

  custom_tier = can(regex("^db-custom-", var.database.tier))
  cpus        = local.custom_tier ? try(tonumber(split("-", var.database.tier)[2]), 0) : 0
  machine_hour = (
    local.own_database ? 0 :
    local.custom_tier ? local.cpus * local.price_db.vcpu_hour + local.tier_memory_mb / 1024 * local.price_db.memory_gb_hour :
    lookup(local.price_db.shared_core_hour, coalesce(var.database.tier, "-"), 0)
  )
  machines = var.database.highly_available ? 2 : 1

  # Requests that come without customers: each sweep's tick, the second pass of one that has it, and the uptime check.
  ticks_a_month = sum(concat([0], [
    for target, row in local.sweeps : local.seconds / coalesce(local.period_s[target], 86400) * (row.second_pass_s == null ? 1 : 2)
  ]))
  checks_a_month = local.hours * 60 * local.price_fn.uptime_checks_per_minute
  busy_s         = local.ticks_a_month * local.price_fn.empty_sweep_s_assumed + local.checks_a_month * local.price_fn.uptime_answer_s_assumed
  busy_gib_s     = local.busy_s * 0.5

  alert_conditions = sum([for policy in concat(
    values(google_monitoring_alert_policy.event), values(google_monitoring_alert_policy.figure), values(google_monitoring_alert_policy.query),
    [google_monitoring_alert_policy.unreachable],
  ) : length(policy.conditions)])

  parts_of_estimate = {
    database_machine = local.machine_hour * local.hours * local.machines
    database_storage = local.own_database ? 0 : local.price_db.least_disk_gb * local.price_db.ssd_gb_month * local.machines + local.price_db.backup_gb_assumed * local.price_db.backup_gb_month
    kept_instances = sum([for row in values(local.deployed) :
      row.min_instances * local.seconds * (row.cpu * local.price_fn.idle_vcpu_second + row.memory_mib / 1024 * local.price_fn.idle_memory_gib_second)
    ])
    sweeps_and_checks = (
      max(0, local.busy_s - local.price_fn.free.vcpu_seconds) * local.price_fn.vcpu_second +
      max(0, local.busy_gib_s - local.price_fn.free.memory_gib_seconds) * local.price_fn.memory_gib_second +
      max(0, local.ticks_a_month + local.checks_a_month - local.price_fn.free.requests) / 1000000 * local.price_fn.million_requests
    )
    schedules = max(0, length(local.sweeps) - local.prices.schedule_month.free) * local.prices.schedule_month.price
    secrets   = max(0, length(local.secret_ids) - local.prices.secret_version_month.free) * local.prices.secret_version_month.price
    images    = max(0, local.prices.image_gb_month.images_kept * local.prices.image_gb_month.image_gb_assumed - local.prices.image_gb_month.free) * local.prices.image_gb_month.price
    alerts    = local.alert_conditions * local.prices.alert_condition_month
  }
  estimate = {
    total            = ceil(sum(values(local.parts_of_estimate)) * 100) / 100
    currency         = local.prices.currency
    prices_of        = local.prices.date
    without          = "traffic, taxes, discounts; free amounts are one billing account's"
    alert_conditions = local.alert_conditions
    parts            = { for name, amount in local.parts_of_estimate : name => floor(amount * 100 + 0.5) / 100 }
  }
}

# A budget that is spent before a customer comes tells nothing.
check "the_budget_is_above_the_estimate" {
  assert {
    condition     = var.budget == null ? true : var.budget.currency != local.prices.currency || var.budget.amount >= local.estimate.total
    error_message = "budget.amount is ${try(var.budget.amount, 0)} ${local.prices.currency} a month, and without any traffic the environment costs about ${local.estimate.total} (prices of ${local.prices.date}): the budget would warn each month."
  }
}
