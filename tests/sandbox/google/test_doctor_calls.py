"""What the doctor asks of Google (infra/doctor/google_cloud.py) is what the documents allow, and the answers are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra.doctor.google_cloud import GoogleCloud
from infra.environment import Deployed
from infra.google import secrets
from infra.google.client import Google, GoogleError
from tests.sandbox.google import made
from tests.sandbox.google.conftest import stand_in_state

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.google import Google as StandIn


@pytest.fixture
def doctor(google: Google, tmp_path: Path) -> GoogleCloud:
    variables = {"project_id": made.PROJECT, "region": made.REGION}
    deployed = Deployed("dev", made.PROJECT, made.REGION, folder=tmp_path, variables=variables, google=google)
    return GoogleCloud(deployed)


def test_queues_their_tasks_and_schedules(doctor: GoogleCloud, stand_in: StandIn) -> None:
    told = {"sweep-expiry": {"state": "PAUSED", "last_attempt": "2026-11-30T12:00:00Z", "code": 7}}
    stand_in.cloud.set_facts(paused_queues=["payments"], scheduler_jobs=told, tasks_waiting={"payments": 2})
    [queue] = doctor.queues()
    assert (queue["state"], queue["rateLimits"]["maxDispatchesPerSecond"]) == ("PAUSED", 100)
    assert len(doctor.tasks("payments")) == 2
    [job] = doctor.jobs()
    assert (job["state"], job["lastAttemptTime"], job["status"]) == ("PAUSED", "2026-11-30T12:00:00Z", {"code": 7})
    stand_in.cloud.set_facts(paused_queues=[], scheduler_jobs={}, tasks_waiting={})


def test_services_and_secrets(doctor: GoogleCloud, stand_in: StandIn, google: Google) -> None:
    part = {"google_cloud_run_v2_service": [made.service("health", "x")]}
    made.write(stand_in_state(stand_in), made.foundation(), part)
    assert [one["name"].rpartition("/")[2] for one in doctor.services()] == ["health"]
    secrets.add_version(google, "health-key", "x")
    assert doctor.secret_versions("health-key")[0]["state"] == "ENABLED"
    with pytest.raises(GoogleError) as caught:
        doctor.secret_versions("no-such-secret")
    assert caught.value.missing


def test_the_database_its_backups_and_its_disk(doctor: GoogleCloud, stand_in: StandIn) -> None:
    found = doctor.database()
    assert found is not None
    assert found["settings"]["backupConfiguration"]["pointInTimeRecoveryEnabled"]
    assert doctor.backups() == []
    assert doctor.disk_used() is None
    point = {"interval": {"endTime": "2026-11-30T12:00:00Z"}, "value": {"doubleValue": 0.91}}
    series = {"cloudsql.googleapis.com/database/disk/utilization": [{"points": [point]}]}
    backups = [{"status": "SUCCESSFUL", "endTime": "2026-11-30T02:10:00Z"}]
    stand_in.cloud.set_facts(series=series, backups=backups)
    assert doctor.disk_used() == pytest.approx(0.91)
    assert [one["status"] for one in doctor.backups()] == ["SUCCESSFUL"]
    stand_in.cloud.set_facts(series={}, backups=[])


def test_alerts_their_addressees_and_the_budget(doctor: GoogleCloud, stand_in: StandIn) -> None:
    [channel] = doctor.channels()
    [alert] = doctor.alert_policies()
    assert alert["notificationChannels"] == [channel["name"]]
    assert doctor.budgets() == []  # the one there is is another project's
    part = made.rest()
    part["google_billing_budget"][0]["budget_filter"] = [{"projects": [f"projects/{stand_in.cloud.number}"]}]
    made.write(stand_in_state(stand_in), made.foundation(), part)
    assert [one["displayName"] for one in doctor.budgets()] == ["prod"]
