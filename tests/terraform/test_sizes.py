"""A small shop, a Postgres of one's own, what an environment says otherwise, and what each costs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from infra import bundle
from lib import function_table
from tests.terraform.conftest import USERS
from tests.terraform.planned import Plan, RefusedError, Terraform, container, plain_settings, secret_settings

if TYPE_CHECKING:
    from tests.terraform.planned import Values

TABLE = function_table.load()
PRIVATE = TABLE.private()
PUBLIC = {name: row for name, row in TABLE.functions.items() if row.trigger == "public"}
SWEEPS = [row for row in TABLE.functions.values() if row.trigger == "schedule"]
OWN: Values = {"size": "small", "database": {"url_secret": "shop-database-url"}}
NUMBER = "0" * 12


@pytest.fixture(scope="module")
def small(prod: Terraform) -> Plan:
    """The smallest that stands on Cloud SQL."""
    return prod.plan(variables=USERS | {"size": "small"})


@pytest.fixture(scope="module")
def own(prod: Terraform) -> Plan:
    """The smallest, on a Postgres of one's own; no password is asked for."""
    return prod.plan(variables=OWN)


def _output(plan: Plan, name: str) -> Values:
    value: Values = plan.raw["planned_values"]["outputs"][name]["value"]
    return value


def test_all_that_is_not_public_is_one_service_with_all_that_its_functions_need(small: Plan) -> None:
    services = {service["name"]: service for service in small.of("google_cloud_run_v2_service").values()}
    assert services.keys() == {row.service for row in PUBLIC.values()} | {"private"}
    service = services["private"]
    assert container(service)["args"] == ["--", "functions-framework", "--target", "private"]
    assert secret_settings(service).keys() == {name for row in PRIVATE.values() for name in row.secrets}
    assert service["ingress"] == "INGRESS_TRAFFIC_INTERNAL_ONLY"
    assert not service["invoker_iam_disabled"]
    account = "serviceAccount:" + service["template"][0]["service_account"]
    queues = {
        grant["name"]
        for grant in small.of("google_cloud_tasks_queue_iam_member").values()
        if grant["member"] == account
    }
    assert queues == {queue for row in PRIVATE.values() for queue in row.enqueues}
    assert all(
        service["scaling"][0]["min_instance_count"] == 0
        and service["template"][0]["scaling"][0]["max_instance_count"] == 1
        for service in services.values()
    )
    longest = max(row.timeout_s for row in PRIVATE.values())
    assert int(service["template"][0]["timeout"].removesuffix("s")) >= longest


def test_each_function_is_called_by_its_path_with_a_token_for_it(small: Plan) -> None:
    """Queue and scheduler call as before; only the address is another."""
    private = next(one for one in small.of("google_cloud_run_v2_service").values() if one["name"] == "private")
    urls = _output(small, "urls")
    template = plain_settings(private)["FUNCTION_URL_TEMPLATE"]
    for service, row in PRIVATE.items():
        assert urls[row.name] == template.replace("{name}", service)
        assert urls[row.name].endswith(f".europe-west1.run.app/{service}")
        assert urls[row.name] in private["custom_audiences"]
    for name, row in PUBLIC.items():
        assert urls[name].startswith(f"https://{row.service}-")
        assert urls[name].count("/") == 2
    jobs = {job["name"]: job for job in small.of("google_cloud_scheduler_job").values()}
    assert jobs.keys() == {row.service for row in PRIVATE.values() if row.trigger == "schedule"}
    for name, job in jobs.items():
        call = job["http_target"][0]
        assert call["uri"] == call["oidc_token"][0]["audience"] == urls[PRIVATE[name].name]
    callers = {grant["member"] for grant in small.of("google_cloud_run_v2_service_iam_member").values()}
    assert {caller.partition("@")[0] for caller in callers} == {
        "serviceAccount:scheduler-invoker",
        *(f"serviceAccount:tasks-{queue}" for queue in function_table.load().queues),
    }


@pytest.mark.proves("S2-3.connections")
def test_the_small_sum_counts_tasks_and_sweeps_apart_and_fits_the_smallest_tier(small: Plan) -> None:
    sums = _output(small, "connections")
    functions, locks, reserved = 2 * len(PUBLIC) + 2 * 2, TABLE.sweeps_at_once, 8
    assert locks == 3 < len(SWEEPS), "a sweep more costs a small shop no connection"
    assert sums == {
        "functions": functions,
        "locks": locks,
        "reserved": reserved,
        "needed": functions + locks + reserved,
        "limit": 25,
    }
    (database,) = small.of("google_sql_database_instance").values()
    assert (database["settings"][0]["tier"], database["settings"][0]["availability_type"]) == ("db-f1-micro", "ZONAL")


@pytest.mark.proves("S2-3.connections")
def test_what_no_longer_fits_the_smallest_tier_is_refused_in_words(prod: Terraform) -> None:
    with pytest.raises(RefusedError) as refused:
        prod.plan(variables=USERS | {"size": "small", "overrides": {"private": {"connections": 6}}})
    assert "Too many connections: db-f1-micro takes 25, but functions may open 18" in str(refused.value)


def test_a_postgres_of_ones_own_has_neither_instance_nor_socket_nor_alerts(own: Plan) -> None:
    assert not [kind for kind in own.types if kind.startswith("google_sql_")]
    for one in (own.of("google_cloud_run_v2_service") | own.of("google_cloud_run_v2_job")).values():
        template = one["template"][0]
        template = template["template"][0] if "template" in template else template
        assert template["volumes"] == []
        assert container(one)["volume_mounts"] == []
    watching = {
        address: one for address, one in own.everything.items() if one["_type"] != "google_monitoring_dashboard"
    }
    assert "cloudsql" not in json.dumps(watching)
    assert _output(own, "database_urls") == {}
    secrets = {secret["secret_id"] for secret in own.of("google_secret_manager_secret").values()}
    assert {"shop-database-url", "migrate-database-url"} <= secrets
    assert "database-url" not in secrets
    read = {secret_settings(one)["DATABASE_URL"]["secret"] for one in own.of("google_cloud_run_v2_service").values()}
    assert read == {"shop-database-url"}


def test_an_environment_says_otherwise_than_the_table(prod: Terraform) -> None:
    plan = prod.plan(
        variables=USERS | {"overrides": {"health": {"memory_mib": 512}, "task_settle": {"max_instances": 2}}}
    )
    assert container(plan.service("health"))["resources"][0]["limits"]["memory"] == "512Mi"
    assert plan.service("task_settle")["template"][0]["scaling"][0]["max_instance_count"] == 2
    assert plan.service("telegram_webhook")["scaling"][0]["min_instance_count"] == 1
    with pytest.raises(
        RefusedError, match=r"overrides names what is no function of functions/table.json.*: healt, private"
    ):
        prod.plan(variables=USERS | {"overrides": {"healt": {"cpu": 1}, "private": {"cpu": 1}}})


def test_a_month_is_estimated_by_the_one_list_of_prices_and_within_what_is_promised(
    plan: Plan, small: Plan, own: Plan
) -> None:
    totals = {}
    for name, one in {"prod": plan, "small": small, "own": own}.items():
        told = _output(one, "monthly_estimate")
        assert abs(sum(told["parts"].values()) - told["total"]) < 0.1
        conditions = sum(len(policy["conditions"]) for policy in one.of("google_monitoring_alert_policy").values())
        assert told["alert_conditions"] == conditions
        totals[name] = told["total"]
    prices = json.loads((bundle.ROOT / "infra/terraform/prices.json").read_text())
    assert _output(plan, "monthly_estimate")["prices_of"] == prices["date"]
    machine = 2 * 730 * (2 * prices["database"]["vcpu_hour"] + 7.5 * prices["database"]["memory_gb_hour"])
    assert abs(_output(plan, "monthly_estimate")["parts"]["database_machine"] - machine) < 0.01
    assert totals["small"] < 15
    # what is in the table beyond the free three costs ten cents each; the rest, cards and books off site included, is this much
    assert (
        totals["own"] < 3.3 + max(0, len(SWEEPS) - prices["schedule_month"]["free"]) * prices["schedule_month"]["price"]
    )


def test_a_budget_below_the_estimate_is_told(prod: Terraform) -> None:
    budget = {"billing_account": "012345-6789AB-CDEF01", "amount": 20}
    printed = prod.run("plan", "-no-color", "-input=false", variables=USERS | {"budget": budget})
    assert "budget.amount is 20 USD a month, and without any traffic the environment costs about" in " ".join(
        printed.replace("│", " ").split()
    )
