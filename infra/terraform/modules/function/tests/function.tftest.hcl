# One function: who may call it, what it may read, and which deadlines are refused.

mock_provider "google" {
  mock_resource "google_service_account" {
    defaults = {
      email  = "fn@atlas-test-000000.iam.gserviceaccount.com"
      member = "serviceAccount:fn@atlas-test-000000.iam.gserviceaccount.com"
      name   = "projects/atlas-test-000000/serviceAccounts/fn@atlas-test-000000.iam.gserviceaccount.com"
    }
  }
}

variables {
  project_id               = "atlas-test-000000"
  region                   = "europe-west1"
  target                   = "task_settle"
  service                  = "task-settle"
  audiences                = ["https://task-settle-123456789012.europe-west1.run.app"]
  trigger                  = "task"
  timeout_s                = 30
  deadline_s               = 45
  socket_timeout_s         = 5
  concurrency              = 8
  connections              = 2
  cpu                      = 1
  memory_mib               = 512
  min_instances            = 0
  max_instances            = 3
  image                    = "europe-west1-docker.pkg.dev/atlas-test-000000/atlas/functions@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  release                  = "0123456789abcdef"
  environment_variables    = { ENVIRONMENT = "dev" }
  secrets                  = { DATABASE_URL = { secret_id = "database-url", version = "3" } }
  enqueues                 = ["nodes"]
  invokers                 = { tasks-payments = "serviceAccount:tasks-payments@atlas-test-000000.iam.gserviceaccount.com" }
  tasks_invokers           = { nodes = "tasks-nodes@atlas-test-000000.iam.gserviceaccount.com" }
  database_connection_name = "atlas-test-000000:europe-west1:atlas"
  probes = {
    path     = "/alive"
    startup  = { period_s = 1, timeout_s = 1, failure_threshold = 60 }
    liveness = { period_s = 10, timeout_s = 4, failure_threshold = 3 }
  }
}

run "a_task_is_called_by_tasks_alone" {
  assert {
    condition     = google_cloud_run_v2_service.main.ingress == "INGRESS_TRAFFIC_INTERNAL_ONLY" && !google_cloud_run_v2_service.main.invoker_iam_disabled && [for binding in google_cloud_run_v2_service_iam_member.invoker : binding.member] == ["serviceAccount:tasks-payments@atlas-test-000000.iam.gserviceaccount.com"]
    error_message = "Another account may call a task."
  }
  assert {
    condition     = keys(google_secret_manager_secret_iam_member.reader) == ["DATABASE_URL"] && keys(google_cloud_tasks_queue_iam_member.enqueuer) == ["nodes"]
    error_message = "It may read or enqueue what its row does not name."
  }
  assert {
    condition     = [for grant in google_service_account_iam_member.acts_as_invoker : grant.service_account_id] == ["projects/atlas-test-000000/serviceAccounts/tasks-nodes@atlas-test-000000.iam.gserviceaccount.com"]
    error_message = "It may act as another queue's invoker."
  }
  assert {
    condition     = google_cloud_run_v2_service.main.template[0].timeout == "30s" && google_cloud_run_v2_service.main.template[0].max_instance_request_concurrency == 8 && google_cloud_run_v2_service.main.template[0].containers[0].resources[0].startup_cpu_boost
    error_message = "The service is not what its row says."
  }
  assert {
    condition     = !google_cloud_run_v2_service.main.deletion_protection && google_cloud_run_v2_service.main.scaling[0].min_instance_count == 0
    error_message = "A service that failed to start could not be replaced, or each plan would change its scaling."
  }
}

run "a_public_function_is_open_to_any_caller" {
  variables {
    trigger        = "public"
    deadline_s     = null
    invokers       = {}
    enqueues       = []
    tasks_invokers = {}
  }
  assert {
    condition     = google_cloud_run_v2_service.main.ingress == "INGRESS_TRAFFIC_ALL" && google_cloud_run_v2_service.main.invoker_iam_disabled && length(google_cloud_run_v2_service_iam_member.invoker) == 0
    error_message = "Telegram could not call it."
  }
  assert {
    condition     = length(google_service_account_iam_member.acts_as_invoker) == 0
    error_message = "A function that enqueues nothing may act as the invoker."
  }
}

run "the_invoker_of_a_queue_that_it_does_not_enqueue_on" {
  command = plan
  variables {
    enqueues = ["messages"]
  }
  expect_failures = [var.tasks_invokers]
}

run "a_caller_that_gives_up_first" {
  command = plan
  variables {
    timeout_s  = 60
    deadline_s = 60
  }
  expect_failures = [google_cloud_run_v2_service.main]
}

run "a_request_shorter_than_a_database_call" {
  command = plan
  variables {
    timeout_s = 5
  }
  expect_failures = [google_cloud_run_v2_service.main]
}

run "concurrency_below_one_cpu" {
  command = plan
  variables {
    cpu = 0.5
  }
  expect_failures = [google_cloud_run_v2_service.main]
}
