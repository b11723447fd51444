"""The one table, Terraform's plan and the local runner say the same of every function."""

from __future__ import annotations

import base64
import re
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from lib import bootstrap, function_table
from lib.db.connection import Timeouts
from lib.settings.check import Settings
from lib.sweeps import runner
from sandbox.cloud.instances import settings_of
from sandbox.system import platform
from sandbox.system.system import System
from tests.terraform.conftest import RELEASE
from tests.terraform.planned import Plan, Terraform, container, plain_settings, secret_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

FUNCTIONS = function_table.load().functions
SWEEPS = [name for name, row in FUNCTIONS.items() if row.trigger == "schedule"]
LOCALS = Path(__file__).resolve().parents[2] / "infra/terraform/modules/platform/locals.tf"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The local system, put together and not started."""
    # what a shop may have, and no local system has of itself
    system = System(tmp_path_factory.mktemp("local"), settings={"LEDGER_EXPORT_KEY": "id:secret"})
    system.home.take()
    system._assemble()
    yield system
    system.home.let_go()


def test_the_plan_has_exactly_the_functions_of_the_table_and_of_the_local_runner(plan: Plan, running: System) -> None:
    services = {service["name"] for service in plan.of("google_cloud_run_v2_service").values()}
    assert services == {row.service for row in FUNCTIONS.values()}
    assert {backend.name: backend.timeout_s for backend in running.fleet.backends()} == {
        service["name"]: float(service["template"][0]["timeout"].removesuffix("s"))
        for service in plan.of("google_cloud_run_v2_service").values()
    }


@pytest.mark.parametrize("target", FUNCTIONS)
def test_a_service_is_what_its_row_says(plan: Plan, target: str) -> None:
    row, service = FUNCTIONS[target], plan.service(target)
    template = service["template"][0]
    assert service["name"] == row.service
    assert service["build_config"] == []  # it builds nothing, and a console may rebuild by it
    assert template["timeout"] == f"{row.timeout_s}s"
    assert template["max_instance_request_concurrency"] == row.concurrency
    assert template["scaling"][0]["max_instance_count"] == row.max_instances
    assert service["scaling"][0]["min_instance_count"] == row.min_instances
    assert template["labels"] == {"release": RELEASE["id"]}
    resources = container(service)["resources"][0]
    assert resources["limits"] == {"cpu": str(row.cpu), "memory": f"{row.memory_mib}Mi"}
    assert resources["startup_cpu_boost"]
    assert resources["cpu_idle"]


def test_everything_runs_the_image_of_the_release_by_its_digest(plan: Plan) -> None:
    running = plan.of("google_cloud_run_v2_service") | plan.of("google_cloud_run_v2_job")
    assert {container(one)["image"] for one in running.values()} == {RELEASE["image"]}


def test_no_apply_runs_a_migration(plan: Plan) -> None:
    (job,) = plan.of("google_cloud_run_v2_job").values()
    assert (job["run_execution_token"], job["start_execution_token"]) == (None, None)
    assert job["template"][0]["template"][0]["max_retries"] == 0
    assert plan.raw["planned_values"]["outputs"]["migrate_job"]["value"]["args"]["pre"] == container(job)["args"]


@pytest.mark.parametrize("target", FUNCTIONS)
def test_a_function_starts_by_the_command_of_the_local_runner(plan: Plan, running: System, target: str) -> None:
    deployed = container(plan.service(target))["args"]
    here = running.fleet.processes[target][0].argv
    assert deployed[1:] == ["functions-framework", *here[1:3]]
    assert Path(here[0]).name == deployed[1]
    assert here[1:3] == ("--target", target)


@pytest.mark.parametrize("target", FUNCTIONS)
def test_a_function_gets_the_settings_that_it_gets_locally(plan: Plan, running: System, target: str) -> None:
    row, service = FUNCTIONS[target], plan.service(target)
    secret = set(chain.from_iterable(other.secrets for other in FUNCTIONS.values()))
    here = settings_of(row, running.settings())
    assert set(secret_settings(service)) == set(row.secrets) == here.keys() & secret
    assert plain_settings(service)["DB_CONNECTIONS"] == here["DB_CONNECTIONS"] == str(row.connections)
    known = {name.upper() for name in Settings.model_fields}
    assert (plain_settings(service).keys() & known) - secret == plain_settings(service).keys() & known
    required = {name.upper() for name, one in Settings.model_fields.items() if one.is_required()}
    assert required <= plain_settings(service).keys() | secret


@pytest.mark.parametrize("target", FUNCTIONS)
def test_a_function_is_called_where_the_others_look_for_it(plan: Plan, running: System, target: str) -> None:
    row, service = FUNCTIONS[target], plan.service(target)
    address = plain_settings(service)["FUNCTION_URL_TEMPLATE"].replace("{name}", row.service)
    assert service["custom_audiences"] == [address]
    assert urlsplit(address).hostname == urlsplit(address).netloc
    assert running.settings()["FUNCTION_URL_TEMPLATE"].replace("{name}", row.service) == running.function_url(target)


@pytest.mark.proves("S2-4b")
@pytest.mark.parametrize("target", FUNCTIONS)
def test_every_instance_is_asked_by_the_settings_of_the_local_probe(plan: Plan, running: System, target: str) -> None:
    """One file, and what the local probe is made of is what the plan says: any target, internal ones included."""
    probes = running.probes._probes
    for block, wanted in (("startup_probe", probes.startup), ("liveness_probe", probes.liveness)):
        (asked,) = container(plan.service(target))[block]
        assert (asked["period_seconds"], asked["timeout_seconds"], asked["failure_threshold"]) == (
            wanted.period_s,
            wanted.timeout_s,
            wanted.failure_threshold,
        )
        assert asked["http_get"][0]["path"] == probes.path
        assert wanted.timeout_s <= wanted.period_s


def test_webhooks_are_told_the_addresses_of_their_functions(plan: Plan) -> None:
    for target, setting in (
        ("telegram_webhook", "TELEGRAM_WEBHOOK_URL"),
        ("cryptobot_webhook", "CRYPTOPAY_WEBHOOK_URL"),
    ):
        service = plan.service(target)
        assert plain_settings(service)[setting] == service["custom_audiences"][0]


@pytest.mark.parametrize("target", SWEEPS)
def test_schedules_and_deadlines_agree(plan: Plan, running: System, target: str) -> None:
    row = FUNCTIONS[target]
    job = next(job for job in plan.of("google_cloud_scheduler_job").values() if job["name"] == row.service)
    here = next(job for job in platform.jobs(function_table.load(), running.urls["gateway"]) if job.name == row.service)
    assert job["schedule"] == row.schedule == here.schedule
    assert job["attempt_deadline"] == f"{row.deadline_s}s" == f"{here.attempt_deadline:.0f}s"
    assert job["time_zone"] == "Etc/UTC"
    call = job["http_target"][0]
    assert call["uri"] == plan.service(target)["custom_audiences"][0] == call["oidc_token"][0]["audience"]
    assert call["http_method"] == here.method
    assert call["headers"] == here.headers
    assert base64.b64decode(call["body"]) == here.body
    assert job["retry_config"][0]["retry_count"] == here.retry_count


def test_nothing_else_is_scheduled(plan: Plan) -> None:
    assert len(plan.of("google_cloud_scheduler_job")) == len(SWEEPS)


def test_queues_agree(plan: Plan) -> None:
    deployed = {queue["name"]: queue for queue in plan.of("google_cloud_tasks_queue").values()}
    here = {queue.name: queue for queue in platform.queues(function_table.load())}
    assert deployed.keys() == here.keys() == function_table.load().queues.keys()
    for name, queue in deployed.items():
        rates, retry = queue["rate_limits"][0], queue["retry_config"][0]
        assert rates["max_dispatches_per_second"] == here[name].rate
        assert rates["max_concurrent_dispatches"] == here[name].max_concurrent
        assert retry["max_attempts"] == here[name].max_attempts
        assert retry["max_doublings"] == here[name].max_doublings
        seconds = {
            key: float(retry[key].removesuffix("s")) for key in ("min_backoff", "max_backoff", "max_retry_duration")
        }
        assert seconds == {
            "min_backoff": here[name].min_backoff,
            "max_backoff": here[name].max_backoff,
            "max_retry_duration": here[name].max_retry_duration,
        }


@pytest.mark.parametrize("target", FUNCTIONS)
def test_deadlines_are_in_order(plan: Plan, target: str) -> None:
    """statement < socket < function < queue or scheduler (docs/architecture.md, Budgets)."""
    row = FUNCTIONS[target]
    sweep = row.trigger == "schedule"
    timeouts = Timeouts(statement_ms=bootstrap._SWEEP_STATEMENT_MS) if sweep else Timeouts()
    request_s = int(plan.service(target)["template"][0]["timeout"].removesuffix("s"))
    assert timeouts.statement_ms / 1000 < timeouts.socket_s() < request_s
    if sweep:
        assert runner.SOFT_BUDGET_S < runner.HARD_LIMIT_S < request_s
    if row.deadline_s is not None:
        assert request_s < row.deadline_s


def test_terraform_knows_the_timeouts_of_the_code() -> None:
    text = LOCALS.read_text()
    assert "statement_timeout_s        = { public = 3, task = 3, schedule = 20 }" in text
    assert (Timeouts().statement_ms, bootstrap._SWEEP_STATEMENT_MS) == (3_000, 20_000)
    numbers = {name: int(value) for name, value in re.findall(r"^  (\w+_s) += (\d+)", text, re.MULTILINE)}
    assert numbers["socket_longer_than_s"] == Timeouts().socket_s() - Timeouts().statement_ms / 1000
    assert numbers["sweep_takes_no_page_past_s"] == runner.SOFT_BUDGET_S
    assert numbers["sweep_is_cancelled_after_s"] == runner.HARD_LIMIT_S


@pytest.mark.proves("S2-3.connections")
def test_the_plan_adds_up_the_connections_of_the_table(platform: Terraform) -> None:
    plan = platform.plan()
    sums = plan.raw["planned_values"]["outputs"]["connections"]["value"]
    assert sums["functions"] == sum(row.max_instances * row.connections for row in FUNCTIONS.values())
    assert sums["locks"] == len(SWEEPS)
    assert sums["needed"] == sums["functions"] + sums["locks"] + sums["reserved"] <= sums["limit"]
    database = next(iter(plan.of("google_sql_database_instance").values()))
    flags = {flag["name"]: flag["value"] for flag in database["settings"][0]["database_flags"]}
    assert flags["max_connections"] == str(sums["limit"])
