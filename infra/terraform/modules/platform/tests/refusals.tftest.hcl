# What a plan must refuse, in words.

mock_provider "google" {
  mock_data "google_project" {
    defaults = {
      number = "123456789012"
    }
  }
}

variables {
  environment  = "prod"
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
    DATABASE_URL            = "1"
    HEALTH_KEY              = "1"
    MIGRATE_DATABASE_URL    = "1"
    TELEGRAM_BOT_TOKEN      = "1"
    TELEGRAM_WEBHOOK_SECRET = "1"
  }
}

run "a_tier_too_small_for_the_connection_sum" {
  command = plan
  variables {
    database = { tier = "db-f1-micro" }
  }
  expect_failures = [google_sql_database_instance.main]
}

run "a_reserve_that_no_longer_fits" {
  command = plan
  variables {
    database = { tier = "db-custom-1-3840", reserved_connections = 60 }
  }
  expect_failures = [google_sql_database_instance.main]
}

run "a_schedule_faster_than_the_sweeps_limit" {
  command = plan
  variables {
    table_path      = "tests/tables/too_fast.json"
    secret_versions = { DATABASE_URL = "1", HEALTH_KEY = "1", MIGRATE_DATABASE_URL = "1" }
  }
  expect_failures = [terraform_data.table]
}

run "a_schedule_that_is_none" {
  command = plan
  variables {
    table_path      = "tests/tables/no_schedule.json"
    secret_versions = { DATABASE_URL = "1", HEALTH_KEY = "1", MIGRATE_DATABASE_URL = "1" }
  }
  expect_failures = [terraform_data.table]
}

run "a_deadline_outside_the_platforms_limits" {
  command = plan
  variables {
    table_path      = "tests/tables/long_deadline.json"
    secret_versions = { DATABASE_URL = "1", HEALTH_KEY = "1", MIGRATE_DATABASE_URL = "1" }
  }
  expect_failures = [terraform_data.table]
}

run "two_runners_of_a_sweep" {
  command = plan
  variables {
    table_path      = "tests/tables/two_runners.json"
    secret_versions = { DATABASE_URL = "1", HEALTH_KEY = "1", MIGRATE_DATABASE_URL = "1" }
  }
  expect_failures = [terraform_data.table]
}

run "a_queue_that_retries_for_ever" {
  command = plan
  variables {
    table_path      = "tests/tables/endless_queue.json"
    secret_versions = { DATABASE_URL = "1", HEALTH_KEY = "1", MIGRATE_DATABASE_URL = "1" }
  }
  expect_failures = [google_cloud_tasks_queue.main]
}

run "a_secret_without_a_version" {
  command = plan
  variables {
    secret_versions = { DATABASE_URL = "1" }
  }
  expect_failures = [terraform_data.secret_versions]
}

run "a_secret_by_the_name_latest" {
  command = plan
  variables {
    secret_versions = { DATABASE_URL = "latest" }
  }
  expect_failures = [var.secret_versions]
}

run "a_node_without_a_pin" {
  command = plan
  variables {
    settings = { XRAY_API_URL = "https://node1.example.org:8443" }
  }
  expect_failures = [var.settings]
}

run "a_node_without_tls" {
  command = plan
  variables {
    settings = { XRAY_API_URL = "http://node1.example.org:8443", XRAY_API_PIN = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" }
  }
  expect_failures = [var.settings]
}

run "a_pin_without_its_node" {
  command = plan
  variables {
    settings = { XRAY_API_PIN = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" }
  }
  expect_failures = [var.settings]
}

run "a_secret_among_the_settings" {
  command = plan
  variables {
    settings = { TELEGRAM_BOT_TOKEN = "not-here" }
  }
  expect_failures = [var.settings]
}

run "a_projects_number_for_its_id" {
  command = plan
  variables {
    project_id = "123456789012"
  }
  expect_failures = [var.project_id]
}

run "a_zone_for_a_region" {
  command = plan
  variables {
    region = "europe-west1-b"
  }
  expect_failures = [var.region]
}

run "an_address_for_a_domain" {
  command = plan
  variables {
    domain = "https://vpn.example.org/"
  }
  expect_failures = [var.domain]
}

run "the_platforms_own_domain" {
  command = plan
  variables {
    domain = "telegram-webhook-123456789012.europe-west1.run.app"
  }
  expect_failures = [var.domain]
}

run "no_bundle" {
  command = plan
  variables {
    bundle_path = "tests/there-is-none.zip"
  }
  expect_failures = [var.bundle_path]
}

run "the_environment_that_may_move_the_clock" {
  command = plan
  variables {
    environment = "local"
  }
  expect_failures = [var.environment]
}

run "a_tier_of_another_edition" {
  command = plan
  variables {
    database = { tier = "db-perf-optimized-N-2" }
  }
  expect_failures = [var.database]
}

run "an_alert_without_a_receiver" {
  command = plan
  variables {
    alert_emails = []
  }
  expect_failures = [var.alert_emails]
}

run "a_budget_without_an_account" {
  command = plan
  variables {
    budget = { billing_account = "my account", amount = 100 }
  }
  expect_failures = [var.budget]
}

run "equal_passwords" {
  command = plan
  variables {
    database_passwords = { owner = "0123456789abcdef01234567", functions = "0123456789abcdef01234567" }
  }
  expect_failures = [var.database_passwords]
}

run "users_without_passwords" {
  command = plan
  variables {
    database_password_version = null
    database_passwords        = null
  }
  expect_failures = [terraform_data.passwords]
}

run "a_version_of_no_passwords" {
  command = plan
  variables {
    database_passwords = null
  }
  expect_failures = [var.database_passwords]
}

run "no_image_yet" {
  command = plan
  variables {
    release = null
  }
  expect_failures = [terraform_data.release]
}

run "an_image_by_its_tag" {
  command = plan
  variables {
    release = { id = "0123456789abcdef", image = "europe-west1-docker.pkg.dev/atlas-test-000000/atlas/functions:0123456789abcdef" }
  }
  expect_failures = [var.release]
}

run "an_image_of_another_environment" {
  command = plan
  variables {
    release = { id = "0123456789abcdef", image = "europe-west1-docker.pkg.dev/atlas-other-000000/atlas/functions@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" }
  }
  expect_failures = [terraform_data.release]
}

run "the_newest_builder" {
  command = plan
  variables {
    builder = "gcr.io/buildpacks/builder:latest"
  }
  expect_failures = [var.builder]
}

run "a_reader_without_a_kind" {
  command = plan
  variables {
    database_readers = ["you@example.org"]
  }
  expect_failures = [var.database_readers]
}
