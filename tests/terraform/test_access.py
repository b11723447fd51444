"""Who may do what: one account a function, each secret to exactly its readers, public only what the table says."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest

from lib import function_table
from lib.settings.plain import TasksSettings
from lib.tasks import rest
from sandbox.cloud.iam import invokers
from tests.terraform.conftest import PASSWORDS
from tests.terraform.planned import Plan, plain_settings, secret_settings

FUNCTIONS = function_table.load().functions
PROJECT = "atlas-prod-123456"


def _member(email: str) -> str:
    return f"serviceAccount:{email}"


def test_no_account_is_shared(plan: Plan) -> None:
    accounts = [plan.account(target) for target in FUNCTIONS]
    accounts += [
        job["template"][0]["template"][0]["service_account"] for job in plan.of("google_cloud_run_v2_job").values()
    ]
    assert len(set(accounts)) == len(accounts) == len(FUNCTIONS) + 1
    assert all(account.endswith(f"@{PROJECT}.iam.gserviceaccount.com") for account in accounts)
    made = {account["account_id"] for account in plan.of("google_service_account").values()}
    assert len(made) == len(plan.of("google_service_account"))
    assert {account.partition("@")[0] for account in accounts} <= made


def test_every_secret_is_granted_to_exactly_its_readers(plan: Plan) -> None:
    wanted: dict[str, set[str]] = defaultdict(set)
    for target, row in FUNCTIONS.items():
        for setting in row.secrets:
            wanted[setting.lower().replace("_", "-")].add(_member(plan.account(target)))
    wanted["migrate-database-url"] = {_member(f"migrate@{PROJECT}.iam.gserviceaccount.com")}
    granted: dict[str, set[str]] = defaultdict(set)
    for grant in plan.of("google_secret_manager_secret_iam_member").values():
        assert grant["role"] == "roles/secretmanager.secretAccessor"
        granted[grant["secret_id"]].add(grant["member"])
    assert granted == wanted
    assert {secret["secret_id"] for secret in plan.of("google_secret_manager_secret").values()} == wanted.keys()


@pytest.mark.parametrize("target", FUNCTIONS)
def test_a_function_reads_the_version_that_is_in_force(plan: Plan, target: str) -> None:
    versions = {"DATABASE_URL": "2", "TELEGRAM_BOT_TOKEN": "3"}
    for setting, source in secret_settings(plan.service(target)).items():
        assert source == {"secret": setting.lower().replace("_", "-"), "version": versions.get(setting, "1")}


def test_every_function_may_enqueue_on_its_queues_alone(plan: Plan) -> None:
    granted: dict[str, set[str]] = defaultdict(set)
    for grant in plan.of("google_cloud_tasks_queue_iam_member").values():
        assert grant["role"] == "roles/cloudtasks.enqueuer"
        granted[grant["member"]].add(grant["name"])
    assert granted == {
        _member(plan.account(target)): set(row.enqueues) for target, row in FUNCTIONS.items() if row.enqueues
    }


def test_every_queue_has_an_account_of_its_own_that_its_tasks_call_as(plan: Plan) -> None:
    made = {account["account_id"] for account in plan.of("google_service_account").values()}
    setting = f"tasks-{{queue}}@{PROJECT}.iam.gserviceaccount.com"
    settings = TasksSettings("", PROJECT, "europe-west1", setting, "")
    accounts = {rest.invoker(settings, queue) for queue in function_table.load().queues}
    assert {account.partition("@")[0] for account in accounts} == {name for name in made if name.startswith("tasks-")}
    assert len(accounts) == len(function_table.load().queues)
    for target in FUNCTIONS:
        assert plain_settings(plan.service(target))["TASKS_INVOKER"] == setting


@pytest.mark.proves("G-6")
def test_who_enqueues_on_a_queue_may_act_as_that_queue_s_invoker_and_no_other(plan: Plan) -> None:
    assert acts_as(plan) == {
        (_member(plan.account(target)), f"tasks-{queue}@{PROJECT}.iam.gserviceaccount.com")
        for target, row in FUNCTIONS.items()
        for queue in row.enqueues
    }


def acts_as(plan: Plan) -> set[tuple[str, str]]:
    """Who may act as which account."""
    found = set()
    for grant in plan.of("google_service_account_iam_member").values():
        project, _, account = grant["service_account_id"].partition("/serviceAccounts/")
        assert (grant["role"], project) == ("roles/iam.serviceAccountUser", f"projects/{PROJECT}")
        found.add((grant["member"], account))
    return found


@pytest.mark.proves("G-6")
def test_what_a_function_enqueues_on_it_can_have_called_and_nothing_else(plan: Plan) -> None:
    """From whom it may act as, over whom each service lets in, to what it can call: the functions of its queues."""
    lets_in = defaultdict(set)
    for grant in plan.of("google_cloud_run_v2_service_iam_member").values():
        lets_in[grant["member"]].add(grant["name"])
    callable_by: dict[str, set[str]] = defaultdict(set)
    for member, account in acts_as(plan):
        callable_by[member] |= lets_in[_member(account)]
    for target, row in FUNCTIONS.items():
        reached = {
            one.service
            for one in FUNCTIONS.values()
            if one.queue in row.enqueues
            or (one.trigger == "schedule" and "sweeps" in row.enqueues and "sweeps" in one.enqueues)
        }
        assert callable_by[_member(plan.account(target))] == reached, target


@pytest.mark.parametrize("target", FUNCTIONS)
def test_public_or_private_as_the_table_says(plan: Plan, target: str) -> None:
    row, service = FUNCTIONS[target], plan.service(target)
    prefix = f'module.platform.module.function["{target}"].'
    callers = {
        grant["member"]
        for address, grant in plan.of("google_cloud_run_v2_service_iam_member").items()
        if address.startswith(prefix) and grant["role"] == "roles/run.invoker" and grant["name"] == row.service
    }
    tasks, scheduler = (f"{name}@{PROJECT}.iam.gserviceaccount.com" for name in ("tasks-{queue}", "scheduler-invoker"))
    own = f"tasks-{row.queue or 'sweeps'}@{PROJECT}.iam.gserviceaccount.com"
    here = invokers(tasks=tasks, scheduler=scheduler)[row.service]  # whom the local gateway lets through
    assert callers == {_member(account) for account in here or ()}
    assert service["invoker_iam_disabled"] == (
        here is None
    )  # public without allUsers, which an organisation may refuse
    expected = {
        "public": set(),
        "task": {_member(own)},
        "schedule": {_member(scheduler), _member(own)} if "sweeps" in row.enqueues else {_member(scheduler)},
    }
    assert callers == expected[row.trigger]
    assert (service["ingress"] == "INGRESS_TRAFFIC_ALL") == (row.trigger == "public")
    assert service["ingress"] in {"INGRESS_TRAFFIC_ALL", "INGRESS_TRAFFIC_INTERNAL_ONLY"}


def test_no_account_has_a_role_that_reaches_far(plan: Plan) -> None:
    roles = {
        (grant["member"].partition("@")[0], grant["role"]) for grant in plan.of("google_project_iam_member").values()
    }
    functions = {(f"serviceAccount:fn-{row.service}", "roles/cloudsql.client") for row in FUNCTIONS.values()}
    others = {
        ("serviceAccount:migrate", "roles/cloudsql.client"),
        ("serviceAccount:image-build", "roles/logging.logWriter"),
    }
    assert roles == functions | others
    authoritative = [address for address in plan.everything if "iam_binding" in address or "iam_policy" in address]
    assert authoritative == []


def test_the_database_answers_connectors_alone_is_encrypted_protected_and_can_be_had_back(plan: Plan) -> None:
    database = next(iter(plan.of("google_sql_database_instance").values()))
    settings = database["settings"][0]
    address, backup = settings["ip_configuration"][0], settings["backup_configuration"][0]
    assert (address["ssl_mode"], address["authorized_networks"]) == ("ENCRYPTED_ONLY", [])
    assert settings["connector_enforcement"] == "REQUIRED"
    assert not [kind for kind in plan.types if kind.startswith("google_compute_")]
    assert (backup["enabled"], backup["point_in_time_recovery_enabled"]) == (True, True)
    assert (database["deletion_protection"], settings["deletion_protection_enabled"]) == (True, True)
    flags = {flag["name"]: flag["value"] for flag in settings["database_flags"]}
    assert flags["log_error_verbosity"] == "terse"
    assert flags["log_parameter_max_length"] == flags["log_parameter_max_length_on_error"] == "0"
    assert flags["log_min_duration_statement"] == "-1"


def test_what_holds_data_is_protected_and_nothing_else(plan: Plan) -> None:
    assert all(queue["deletion_policy"] == "PREVENT" for queue in plan.of("google_cloud_tasks_queue").values())
    assert all(secret["deletion_protection"] for secret in plan.of("google_secret_manager_secret").values())
    # a service holds nothing: protected, one whose first revision failed could not be replaced
    assert not any(service["deletion_protection"] for service in plan.of("google_cloud_run_v2_service").values())
    assert not any(bucket["force_destroy"] for bucket in plan.of("google_storage_bucket").values())


def test_no_secret_value_is_anywhere_in_a_plan(plan: Plan) -> None:
    text = json.dumps(plan.raw)
    assert not any(password in text for password in PASSWORDS.values())
    assert plan.of("google_secret_manager_secret_version") == {}
    assert plan.of("google_sql_user")
    for target in FUNCTIONS:
        assert not plain_settings(plan.service(target)).keys() & secret_settings(plan.service(target)).keys()


def test_nothing_is_random_in_names(plan: Plan) -> None:
    providers = set(plan.raw["configuration"]["provider_config"])
    assert not any("random" in name for name in providers), providers
    names = ("name", "account_id", "secret_id", "repository_id", "display_name", "bucket")
    made_by_the_service = {
        "google_monitoring_alert_policy",
        "google_monitoring_notification_channel",
        "google_monitoring_uptime_check_config",
    }
    for change in plan.raw["resource_changes"]:
        if change["mode"] != "managed":
            continue
        unknown = change["change"]["after_unknown"]
        for name in names:
            if name == "name" and (change["type"] in made_by_the_service or "name" not in change["change"]["after"]):
                continue
            assert unknown.get(name) is not True or change["type"] in {
                "google_artifact_registry_repository",
                "google_secret_manager_secret",
                "google_service_account",
                "google_billing_budget",
            }, (change["address"], name)
