"""The doctor's questions to Google Cloud, made through Google's own library to the strict stand-in."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from infra import environment
from infra.doctor import __main__ as doctor
from infra.doctor import report
from infra.doctor.check import State
from infra.doctor.examine import examine
from infra.doctor.of_environment import deployment_of
from infra.doctor.registry import BY_NAME
from infra.google import projects, secrets
from infra.google.client import Google, GoogleError
from lib import function_table
from sandbox.google import Google as StandIn
from tests.sandbox.google import made

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from infra.doctor.check import Finding
    from infra.doctor.deployment import Deployment

NOW = datetime.now(UTC).replace(microsecond=0)
DISK = "cloudsql.googleapis.com/database/disk/utilization"
ASKED = (
    *("secret-versions", "services-ready", "database-disk", "queues-running", "queues-settings", "queues-waiting"),
    *("schedules", "schedules-success", "database-backups", "alerts-recipient", "budget"),
)
TABLE = function_table.load()
DIGEST = f"sha256:{'1' * 64}"


def _queue(row: function_table.Queue) -> dict[str, Any]:
    retry = {
        "max_attempts": row.max_attempts,
        "max_retry_duration": f"{row.max_retry_s}s",
        "min_backoff": f"{row.min_backoff_s}s",
        "max_backoff": f"{row.max_backoff_s}s",
        "max_doublings": row.max_doublings,
    }
    limits = {"max_dispatches_per_second": row.rate_per_second, "max_concurrent_dispatches": row.max_concurrent}
    return {"name": row.name, "location": made.REGION, "rate_limits": [limits], "retry_config": [retry]}


def _shop(number: str) -> dict[str, list[dict[str, Any]]]:
    """Everything of the table, as Terraform makes it."""
    image = f"{made.IMAGE}@{DIGEST}"
    rows = TABLE.functions.values()
    jobs = [
        {
            "name": row.service,
            "region": made.REGION,
            "schedule": row.schedule,
            "time_zone": "Etc/UTC",
            "attempt_deadline": f"{row.deadline_s}s",
            "http_target": [
                {"uri": f"https://{row.service}-{number}.{made.REGION}.run.app", "http_method": "POST"},
            ],
        }
        for row in rows
        if row.trigger == "schedule"
    ]
    return {
        "google_cloud_run_v2_service": [made.service(row.service, image, HEALTH_KEY="1") for row in rows],
        "google_cloud_tasks_queue": [_queue(row) for row in TABLE.queues.values()],
        "google_cloud_scheduler_job": jobs,
    }


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A project whose shop is well."""
    state = tmp_path / "terraform.tfstate"
    made.write(state, made.foundation())
    with StandIn(tmp_path / "state", made.PROJECT, terraform_state=state) as one:
        for name, value in one.environment().items():
            monkeypatch.setenv(name, value)
        kept = ("google_monitoring_notification_channel", "google_monitoring_alert_policy", "google_billing_budget")
        rest = {kind: rows for kind, rows in made.rest().items() if kind in kept}
        rest["google_billing_budget"][0]["budget_filter"] = [{"projects": [f"projects/{one.cloud.number}"]}]
        made.write(state, made.foundation(), rest, _shop(one.cloud.number))
        secrets.add_version(Google(made.PROJECT), "health-key", "a key")
        jobs = {row.service: {"last_attempt": NOW.isoformat(), "code": 0} for row in TABLE.functions.values()}
        one.cloud.store.table("images")[f"{made.PROJECT}/{made.REGION}/atlas/functions"] = {DIGEST: {"tags": ["r1"]}}
        one.cloud.set_facts(
            scheduler_jobs=jobs,
            backups=[{"status": "SUCCESSFUL", "endTime": (NOW - timedelta(hours=9)).isoformat()}],
            series={DISK: [{"points": [{"value": {"doubleValue": 0.4}}]}]},
        )
        yield one


async def _look(folder: Path, names: tuple[str, ...], **changed: Any) -> dict[str, Finding]:
    given = {"project_id": made.PROJECT, "region": made.REGION, "secret_versions": {"HEALTH_KEY": "1"}} | changed
    (folder / "terraform.tfvars.json").write_text(json.dumps(given))
    deployment: Deployment = deployment_of(environment.load("dev", folder=folder))

    async def now() -> datetime:  # the database's
        return NOW

    await deployment.once.get("now", now)
    try:
        return {one.check.name: one for one in await examine(deployment, [BY_NAME[name] for name in names])}
    finally:
        await deployment.close()


@pytest.mark.proves("N-60.cloud")
async def test_a_project_that_is_well_is_ok_and_each_thing_broken_in_it_is_named(
    stand_in: StandIn, tmp_path: Path
) -> None:
    found = await _look(tmp_path, ASKED)
    assert {name: (one.problems, one.said) for name, one in found.items() if one.state is not State.OK} == {}
    asked = set(stand_in.requests)
    assert not [method for method in asked if method.rpartition(".")[2] not in _READING]

    jobs = stand_in.cloud.facts()["scheduler_jobs"]
    stand_in.cloud.set_facts(
        paused_queues=["messages"],
        scheduler_jobs=jobs | {"sweep-expiry": {"state": "PAUSED"}},
        backups=[],
        series={DISK: [{"points": [{"value": {"doubleValue": 0.93}}]}]},
    )
    secrets.disable(Google(made.PROJECT), "health-key", "1")
    made.write(
        tmp_path / "terraform.tfstate",
        made.foundation(),
        {**_shop(stand_in.cloud.number), "google_cloud_run_v2_service": []},
    )
    found = await _look(tmp_path, ASKED)
    wrong = {name for name, one in found.items() if one.state is State.WRONG}
    assert wrong == {
        *("secret-versions", "services-ready", "database-disk", "queues-running", "schedules", "database-backups"),
        *("alerts-recipient", "budget"),
    }
    assert found["queues-running"].problems == ("messages is paused",)


@pytest.mark.proves("N-60.cloud")
async def test_an_api_that_is_not_enabled_or_refuses_is_wrong_in_googles_words(
    stand_in: StandIn, tmp_path: Path
) -> None:
    stand_in.cloud.faults.refuse("cloudtasks.projects.locations.queues.list", 403, "no permission", times=9)
    (found,) = (await _look(tmp_path, ("queues-running",))).values()
    assert found.state is State.WRONG
    assert "403" in found.problems[0]
    assert "no permission" in found.problems[0]


_READING = frozenset({"list", "get", "getBillingInfo", "access", "addVersion"})
"""`addVersion` is of the test itself."""


async def test_a_size_is_read_from_the_variables(stand_in: StandIn, tmp_path: Path) -> None:
    assert stand_in.cloud.number
    given = {"project_id": made.PROJECT, "region": made.REGION, "size": "small"}
    (tmp_path / "terraform.tfvars.json").write_text(json.dumps(given))
    deployment = deployment_of(environment.load("dev", folder=tmp_path))
    await deployment.close()
    assert (deployment.together, deployment.most_instances) == ("private", 1)


FRESH = (
    "settings",
    "telegram-token",
    "webhook-secret",
    "cryptopay-token",
    "functions-health",
    "drift",
    "services-ready",
)


async def test_a_fresh_checkout_can_say_of_no_secret_that_it_is_not_set(stand_in: StandIn, tmp_path: Path) -> None:
    assert stand_in.url
    found = await _look(tmp_path, FRESH, secret_versions={})
    said = {name: one.said for name, one in found.items() if one.state is State.NOT_CHECKED}
    assert set(said) == set(FRESH) - {"services-ready"}, [(name, one.problems) for name, one in found.items()]
    record = "this checkout has no record of secret versions: run make deploy ENV=dev here first"
    assert said.pop("drift") in {
        "terraform init was never run here (make deploy does)",
        "terraform is not installed here",
    }
    assert set(said.values()) == {record}
    lines = "\n".join(report.lines("dev", list(found.values()), 1.0))
    assert lines.count(record) == 1
    assert "BotFather" not in lines


def _doctor(monkeypatch: pytest.MonkeyPatch, folder: Path) -> int:
    (folder / "dev").mkdir()
    given = {"project_id": made.PROJECT, "region": made.REGION, "secret_versions": {"HEALTH_KEY": "1"}}
    (folder / "dev" / "terraform.tfvars.json").write_text(json.dumps(given))
    monkeypatch.setattr(environment, "TERRAFORM", folder)
    return doctor.main(["--env", "dev"])


def test_without_a_login_it_is_one_sentence_and_exit_code_2(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    stand_in.requests.clear()
    assert _doctor(monkeypatch, tmp_path) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "doctor: No usable Google login" in said.err
    assert "GOOGLE_APPLICATION_CREDENTIALS" in said.err
    assert stand_in.requests == []


@pytest.mark.parametrize(("status", "ends"), [(403, 2), (404, 2), (500, None)])
async def test_a_project_that_cannot_be_read_at_all_ends_it_and_an_outage_does_not(
    status: int, ends: int | None, stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: object) -> None:
        raise GoogleError("projects.get", status, "PERMISSION_DENIED", "")

    assert stand_in.url
    monkeypatch.setattr(projects, "get", refused)
    if ends is None:
        found = await _look(tmp_path, ("settings",))
        assert found["settings"].state is State.WRONG
    else:
        with pytest.raises(environment.UnreadableProject, match=f"project {made.PROJECT} can't be read"):
            await _look(tmp_path, ("settings",))


def test_stopped_at_once_it_ends_without_a_traceback(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(_: object) -> None:
        raise KeyboardInterrupt

    assert stand_in.url
    monkeypatch.setattr(doctor, "deployment_of", stopped)
    assert _doctor(monkeypatch, tmp_path) == 130
    assert capsys.readouterr().err == "doctor: stopped; it changes nothing\n"
