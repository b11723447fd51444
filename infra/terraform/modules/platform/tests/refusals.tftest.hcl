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

run "a_reserve_that_no_longer_fits" {
  command = plan
  variables {
    database = { tier = "db-custom-1-3840", reserved_connections = 60 }
  }
  expect_failures = [terraform_data.connections]
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

run "an_image_of_another_environment" {
  command = plan
  variables {
    release = { id = "0123456789abcdef", image = "europe-west1-docker.pkg.dev/atlas-other-000000/atlas/functions@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" }
  }
  expect_failures = [terraform_data.release]
}

run "nothing_of_what_a_whole_apply_needs" {
  command = plan
  variables {
    database                  = { tier = "db-f1-micro" }
    database_password_version = null
    database_passwords        = null
    release                   = null
    secret_versions           = { DATABASE_URL = "1" }
  }
  expect_failures = [terraform_data.connections, terraform_data.passwords, terraform_data.release, terraform_data.secret_versions]
}

run "every_bad_variable_at_once" {
  command = plan
  variables {
    alert_emails       = []
    budget             = { billing_account = "my account", amount = 100 }
    builder            = "gcr.io/buildpacks/builder:latest"
    bundle_path        = "tests/there-is-none.zip"
    database           = { tier = "db-perf-optimized-N-2" }
    database_passwords = { owner = "0123456789abcdef01234567", functions = "0123456789abcdef01234567" }
    database_readers   = ["you@example.org"]
    domain             = "https://vpn.example.org/"
    environment        = "local" # may move the clock
    overrides          = { health = { max_instances = 1.5 } }
    project_id         = "123456789012" # a number
    python_version     = "2.7"
    region             = "europe-west1-b" # a zone
    release            = { id = "0123456789abcdef", image = "europe-west1-docker.pkg.dev/atlas-test-000000/atlas/functions:a-tag" }
    runbooks_url       = "docs/runbooks"
    secret_versions    = { DATABASE_URL = "latest" }
    settings           = { TELEGRAM_BOT_TOKEN = "not-here" }
    size               = "tiny"
  }
  expect_failures = [
    var.alert_emails, var.budget, var.builder, var.bundle_path, var.database, var.database_passwords, var.database_readers, var.domain, var.environment,
    var.overrides, var.project_id, var.python_version, var.region, var.release, var.runbooks_url, var.secret_versions, var.settings, var.size,
  ]
}

run "users_whose_passwords_have_no_version_and_a_made_up_region" {
  command = plan
  variables {
    database_passwords = null
    region             = "europe-wset1"
    domain             = "telegram-webhook-123456789012.europe-west1.run.app"
  }
  expect_failures = [var.database_passwords, var.region, var.domain]
}
