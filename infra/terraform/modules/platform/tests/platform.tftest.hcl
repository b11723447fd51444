# What must hold whatever the table says. The provider is a mock, so this needs no credentials and no network.

mock_provider "google" {
  mock_data "google_project" {
    defaults = {
      number = "123456789012"
    }
  }
  mock_resource "google_service_account" {
    defaults = {
      email  = "mock@atlas-test-000000.iam.gserviceaccount.com"
      member = "serviceAccount:mock@atlas-test-000000.iam.gserviceaccount.com"
      name   = "projects/atlas-test-000000/serviceAccounts/mock@atlas-test-000000.iam.gserviceaccount.com"
      id     = "projects/atlas-test-000000/serviceAccounts/mock@atlas-test-000000.iam.gserviceaccount.com"
    }
  }
}

variables {
  environment  = "dev"
  project_id   = "atlas-test-000000"
  region       = "europe-west1"
  domain       = "vpn.example.org"
  bundle_path  = "tests/source.zip"
  alert_emails = ["oncall@example.org"]
  runbooks_url = "https://example.org/runbooks"
  database     = { tier = "db-custom-2-7680" }
  release = {
    id    = "0123456789abcdef"
    image = "europe-west1-docker.pkg.dev/atlas-test-000000/atlas/functions@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  }

  database_password_version = 1
  database_passwords        = { owner = "not-the-owners-password-0", functions = "not-the-functions-password" }
  secret_versions = {
    CRYPTOPAY_TOKEN         = "1"
    DATABASE_URL            = "2"
    HEALTH_KEY              = "1"
    MIGRATE_DATABASE_URL    = "1"
    TELEGRAM_BOT_TOKEN      = "1"
    TELEGRAM_WEBHOOK_SECRET = "1"
    XRAY_API_KEY            = "1"
  }
}

run "everything_of_the_table_is_there" {
  assert {
    condition     = toset(keys(output.urls)) == toset(keys(jsondecode(file("../../../../functions/table.json")).functions))
    error_message = "A function of the table has no service, or a service no row."
  }
  assert {
    condition     = alltrue([for name, queue in google_cloud_tasks_queue.main : queue.retry_config[0].max_attempts > 0 && queue.retry_config[0].max_retry_duration != "0s"])
    error_message = "A queue retries for ever."
  }
  assert {
    condition     = alltrue([for job in google_cloud_scheduler_job.main : job.time_zone == "Etc/UTC" && job.http_target[0].oidc_token[0].audience == job.http_target[0].uri])
    error_message = "A scheduler job is not in UTC, or its token is for another account."
  }
}

run "every_function_has_an_alert_and_every_alert_a_page" {
  command = plan # of what the first run applied

  assert {
    condition     = toset(concat(local.services.public, local.services.private)) == toset([for row in values(local.functions) : row.service])
    error_message = "A function has no alert on its errors."
  }
  assert {
    condition     = alltrue([for job in keys(google_cloud_scheduler_job.main) : anytrue([for name, policy in google_monitoring_alert_policy.query : startswith(name, "silence_") && strcontains(policy.conditions[0].condition_prometheus_query_language[0].query, "absent_over_time(logging_googleapis_com:user_atlas_sweep_done{monitored_resource=\"cloud_run_revision\",sweep=\"${trimprefix(job, "sweep_")}\"}[")])])
    error_message = "A sweep has no alert on its silence."
  }
  assert {
    condition = alltrue([
      for policy in concat(values(google_monitoring_alert_policy.event), values(google_monitoring_alert_policy.figure), values(google_monitoring_alert_policy.query), [google_monitoring_alert_policy.unreachable]) :
      startswith(policy.documentation[0].links[0].url, "https://example.org/runbooks/") && fileexists("../../../../docs/runbooks/${basename(policy.documentation[0].links[0].url)}") && length(policy.notification_channels) > 0
    ])
    error_message = "An alert links a page that is not in docs/runbooks, or has no receiver."
  }
}

run "the_database_answers_connectors_alone_and_can_be_had_back" {
  command = plan # of what the first run applied

  assert {
    condition     = length(google_sql_database_instance.main[0].settings[0].ip_configuration[0].authorized_networks) == 0 && google_sql_database_instance.main[0].settings[0].connector_enforcement == "REQUIRED" && google_sql_database_instance.main[0].settings[0].ip_configuration[0].ssl_mode == "ENCRYPTED_ONLY"
    error_message = "The database answers others than connectors, or takes unencrypted connections."
  }
  assert {
    condition     = google_sql_database_instance.main[0].settings[0].backup_configuration[0].point_in_time_recovery_enabled && google_sql_database_instance.main[0].deletion_protection && google_sql_database_instance.main[0].settings[0].deletion_protection_enabled
    error_message = "The database is not protected."
  }
  assert {
    condition     = { for flag in google_sql_database_instance.main[0].settings[0].database_flags : flag.name => flag.value }["log_error_verbosity"] == "terse" && { for flag in google_sql_database_instance.main[0].settings[0].database_flags : flag.name => flag.value }["log_parameter_max_length_on_error"] == "0"
    error_message = "The database writes values into its log."
  }
  assert {
    condition     = output.connections.needed <= output.connections.limit && output.connections.needed == output.connections.functions + output.connections.locks + output.connections.reserved
    error_message = "The connection sum does not add up."
  }
}

run "a_release_is_named_by_its_content" {
  command = plan # of what the first run applied

  assert {
    condition     = google_storage_bucket_object.source.name == "source-${output.build.release}.zip" && endswith(output.build.image, ":${output.build.release}") && output.build.request.images == [output.build.image]
    error_message = "Another content would not be another release."
  }
  assert {
    condition     = output.build.request.source.storageSource.object == google_storage_bucket_object.source.name && output.build.request.source.storageSource.bucket == google_storage_bucket.source.name
    error_message = "The build would read another bundle."
  }
  assert {
    condition     = google_cloud_run_v2_job.migrate.run_execution_token == null && google_cloud_run_v2_job.migrate.start_execution_token == null && google_cloud_run_v2_job.migrate.template[0].template[0].max_retries == 0
    error_message = "A migration would run inside an apply, or again by itself."
  }
  assert {
    condition     = endswith(google_cloud_run_v2_job.migrate.template[0].template[0].containers[0].image, var.release.image) && output.release == var.release
    error_message = "What runs is not the image that was built."
  }
}

run "another_builder_is_another_release" {
  command = plan
  variables {
    builder = "gcr.io/buildpacks/builder@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  }
  assert {
    condition     = output.build.release != run.a_release_is_named_by_its_content.build.release
    error_message = "What an image is built with is not in its name."
  }
}

run "another_python_is_another_release" {
  command = plan
  variables {
    python_version = "3.13.7"
  }
  assert {
    condition     = output.build.release != run.a_release_is_named_by_its_content.build.release
    error_message = "The Python that an image is built with is not in its name."
  }
}

run "tokens_in_paths_are_not_logged" {
  command = plan # of what the first run applied

  assert {
    condition     = strcontains(google_logging_project_exclusion.token_in_path.filter, "subscription-feed|connect-page")
    error_message = "The platform's request log would keep customers' keys."
  }
}
