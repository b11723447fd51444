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
    var.database.tier == "db-f1-micro" ? 614 :
    var.database.tier == "db-g1-small" ? 1740 :
    try(tonumber(split("-", var.database.tier)[3]), 0)
  )
  max_connections = [for step in local.limits_by_memory_mb : step.connections if local.tier_memory_mb >= step.at_least][0]

  connections_of_functions = sum([for row in values(local.functions) : row.max_instances * row.connections])
  connections_of_locks     = sum(concat([0], [for row in values(local.sweeps) : row.max_instances]))
  connections_needed       = local.connections_of_functions + local.connections_of_locks + var.database.reserved_connections
}
