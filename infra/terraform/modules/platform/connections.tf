# The connection sum (docs/decisions/0013-connection-sum.md): what all instances may open must fit into the database.

locals {
  # What Postgres on Cloud SQL takes by default for so much memory (MB): more would need memory that queries need.
  limits_by_memory_mb = [
    { at_least = 122880, connections = 1000 },
    { at_least = 61440, connections = 800 },
    { at_least = 30720, connections = 600 },
    { at_least = 15360, connections = 500 },
    { at_least = 7680, connections = 400 },
    { at_least = 6144, connections = 200 },
    { at_least = 3840, connections = 100 },
    { at_least = 1700, connections = 50 },
    { at_least = 0, connections = 25 },
  ]
  tier_memory_mb = (
    local.own_database ? 0 :
    var.database.tier == "db-f1-micro" ? 614 :
    var.database.tier == "db-g1-small" ? 1740 :
    try(tonumber(split("-", var.database.tier)[3]), 0)
  )
  max_connections = local.own_database ? var.database.max_connections : [for step in local.limits_by_memory_mb : step.connections if local.tier_memory_mb >= step.at_least][0]

  connections_of_functions = sum([for row in values(local.deployed) : row.max_instances * row.connections * row.pools])
  connections_of_locks     = sum([for row in values(local.deployed) : row.max_instances * row.sweeps_at_once]) # one for each sweep that is at work
  connections_needed       = local.connections_of_functions + local.connections_of_locks + var.database.reserved_connections
}

resource "terraform_data" "connections" {
  input = local.connections_needed

  lifecycle {
    precondition {
      condition     = local.connections_needed <= local.max_connections
      error_message = "Too many connections: ${local.own_database ? "the database of one's own (database.max_connections)" : var.database.tier} takes ${local.max_connections}, but functions may open ${local.connections_of_functions} (sum of max_instances x connections), sweep locks ${local.connections_of_locks}, and ${var.database.reserved_connections} are reserved: ${local.connections_needed}. Take a larger ${local.own_database ? "one" : "tier"}, or lower max_instances or connections in functions/table.json or overrides."
    }
  }
}
