# What the code logs (lib/log.py: one JSON object a line with a fixed `event`), counted.

locals {
  log_metrics = {
    sweep_done = {
      what   = "Sweeps that ended well."
      filter = "jsonPayload.event=\"sweep_end\" AND jsonPayload.outcome=\"done\""
      labels = { sweep = "EXTRACT(jsonPayload.sweep)" }
    }
    sweep_not_done = {
      what   = "Sweeps that ended otherwise: failed, or cancelled at their hard limit."
      filter = "jsonPayload.event=\"sweep_end\" AND jsonPayload.outcome!=\"done\""
      labels = { sweep = "EXTRACT(jsonPayload.sweep)" }
    }
    paid_not_applied = {
      what   = "Minutes in which access had been granted for over 60 s and was on no node yet."
      filter = "jsonPayload.event=\"paid_not_applied\""
      labels = {}
    }
    payment_unmatched = {
      what   = "Payments that belong to no order, to none that they fit, or that are the second one of theirs."
      filter = "jsonPayload.event=~\"^payment_(unmatched|differs|duplicate|second_debit)$\""
      labels = { event = "EXTRACT(jsonPayload.event)" }
    }
    payment_kept = {
      what   = "Payments that were recorded but could not be settled at once."
      filter = "jsonPayload.event=\"payment_kept\""
      labels = {}
    }
    refund_not_made = {
      what   = "Refunds that a provider refused; passes in which one was not made ten minutes after it was asked for."
      filter = "jsonPayload.event=(\"refund_overdue\" OR \"refund_refused\")"
      labels = { event = "EXTRACT(jsonPayload.event)" }
    }
    books_differ = {
      what   = "Comparisons of a provider's own account with the books that found a new difference."
      filter = "jsonPayload.event=\"books_differ\""
      labels = { provider = "EXTRACT(jsonPayload.provider)" }
    }
    invariant_violated = {
      what   = "What must always hold and does not, each thing once a day; and questions that were not answered in time."
      filter = "jsonPayload.event=\"invariant_violated\" OR jsonPayload.event=\"invariant_not_asked\""
      labels = { invariant = "EXTRACT(jsonPayload.invariant)" }
    }
    books_not_exported = {
      what   = "Runs that could not copy a closed day of the books: the store refuses, or what stands there is not what was copied."
      filter = "jsonPayload.event=\"books_not_exported\""
      labels = {}
    }
    update_given_up = {
      what   = "Updates of customers that were given up, or could not even be kept."
      filter = "jsonPayload.event=\"update_given_up\" OR jsonPayload.event=\"update_not_kept\""
      labels = {}
    }
    message_failed = {
      what   = "Messages that Telegram refused for good."
      filter = "jsonPayload.event=(\"message_failed\" OR \"message_refused\" OR \"message_not_rendered\" OR \"message_unclear\" OR \"reply_refused\" OR \"telegram_closed\")"
      labels = { event = "EXTRACT(jsonPayload.event)" }
    }
    node_call_failed = {
      what   = "Calls to a node that failed; its work stays and is tried again."
      filter = "jsonPayload.event=\"node_call_failed\""
      labels = { node = "EXTRACT(jsonPayload.node)" }
    }
    node_call_refused = {
      what   = "Calls to a node that no retry will heal (key, certificate, version), and nodes that were given up as lost."
      filter = "jsonPayload.event=(\"node_call_failed\" OR \"node_lost\") AND severity>=ERROR"
      labels = { node = "EXTRACT(jsonPayload.node)" }
    }
    reconcile_orphan_clients = {
      what   = "Runs that found more clients without a row on nodes than one run removes, or could not list a node three times in a row."
      filter = "jsonPayload.event=(\"reconcile_orphan_clients\" OR \"reconcile_breaker_open\")"
      labels = { event = "EXTRACT(jsonPayload.event)" }
    }
    no_database = {
      what   = "Requests that found no database."
      filter = "jsonPayload.event=~\"_no_database$\" OR jsonPayload.event=\"schema_too_old\""
      labels = { function = "EXTRACT(jsonPayload.function)" }
    }
    misconfigured = {
      what   = "Requests that a function could not serve for want of a setting."
      filter = "jsonPayload.event=\"configuration_invalid\" OR jsonPayload.event=~\"_unconfigured$\""
      labels = { function = "EXTRACT(jsonPayload.function)" }
    }
    webhook_refused = {
      what   = "Webhook calls with a wrong secret or signature: an outsider guesses, or a rotation went wrong."
      filter = "jsonPayload.event=\"telegram_webhook_bad_secret\" OR jsonPayload.event=\"cryptobot_webhook_bad_signature\""
      labels = { function = "EXTRACT(jsonPayload.function)" }
    }
    deliveries_refused = {
      what   = "Minutes in which Telegram could deliver nothing, as it says itself: refused, unreachable, or no webhook set."
      filter = "jsonPayload.event=\"telegram_deliveries_refused\""
      labels = {}
    }
    outbox_overdue = {
      what   = "Minutes in which follow-up work of a queue was not done ten minutes after it was due."
      filter = "jsonPayload.event=\"outbox_overdue\""
      labels = { queue = "EXTRACT(jsonPayload.queue)" }
    }
    connections_short = {
      what   = "Minutes in which most of the database connections that functions may open together were open."
      filter = "jsonPayload.event=\"connections_short\""
      labels = {}
    }
    connection_waited = {
      what   = "Calls that waited for a connection of their instance, or got none."
      filter = "jsonPayload.event=\"connection_waited\""
      labels = { function = "EXTRACT(jsonPayload.function)" }
    }
    task_failed = {
      what   = "Tasks that failed or can never be done."
      filter = "jsonPayload.event=\"task_failed\" OR jsonPayload.event=\"task_poisoned\""
      labels = { function = "EXTRACT(jsonPayload.function)" }
    }
  }
}

resource "google_logging_metric" "main" {
  for_each = local.log_metrics

  project          = var.project_id
  name             = "atlas_${each.key}"
  description      = each.value.what
  filter           = "resource.type=\"cloud_run_revision\" AND (${each.value.filter})"
  label_extractors = each.value.labels

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"

    dynamic "labels" {
      for_each = each.value.labels
      content {
        key        = labels.key
        value_type = "STRING"
      }
    }
  }

  depends_on = [google_project_service.main]
}

# A person who reads a secret's value; functions and the migrate job do it all the time.
resource "google_logging_metric" "secret_read_by_hand" {
  project     = var.project_id
  name        = "atlas_secret_read_by_hand"
  description = "Secrets' values read by an account that is not one of the platform's accounts."
  filter      = "resource.type=\"audited_resource\" AND protoPayload.methodName=~\"AccessSecretVersion$\" AND NOT protoPayload.authenticationInfo.principalEmail=~\"@${var.project_id}\\.iam\\.gserviceaccount\\.com$\""
  label_extractors = {
    who   = "EXTRACT(protoPayload.authenticationInfo.principalEmail)"
    which = "EXTRACT(protoPayload.resourceName)"
  }

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"

    dynamic "labels" {
      for_each = toset(["who", "which"])
      content {
        key        = labels.key
        value_type = "STRING"
      }
    }
  }

  depends_on = [google_project_service.main]
}

# The platform's own request log keeps URL paths; these hold a customer's token.
resource "google_logging_project_exclusion" "token_in_path" {
  project     = var.project_id
  name        = "token-in-path"
  description = "Requests whose path is a customer's key are not logged by the platform; the function logs what it needs."
  filter      = "resource.type=\"cloud_run_revision\" AND log_id(\"run.googleapis.com/requests\") AND resource.labels.service_name=~\"^(${join("|", local.token_in_path)})$\""

  depends_on = [google_project_service.main]
}
