"""A plan is told as an operator thinks of it, and one that deletes data is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from infra.deploy.plan_words import HOLDS_DATA, Plan, deleted_data, lines
from infra.deploy.problems import Refused
from tests.unit.deploy import fakes

if TYPE_CHECKING:
    from pathlib import Path


def _service(image: str, *, most: int = 3, **settings: str) -> dict[str, Any]:
    container = {
        "image": image,
        "env": [{"name": name, "value": value, "value_source": []} for name, value in settings.items()],
        "resources": [{"limits": {"memory": "512Mi", "cpu": "1"}}],
    }
    scaling = [{"min_instance_count": 0, "max_instance_count": most}]
    return {"template": [{"containers": [container], "scaling": scaling, "timeout": "60s"}]}


def _plan(*changes: dict[str, Any], **outputs: Any) -> Plan:
    told = {name: {"before": None, "after": value} for name, value in outputs.items()}
    return Plan.read({"resource_changes": list(changes), "output_changes": told})


def test_functions_schedules_queues_sums_and_what_goes_are_told() -> None:
    service, job = "google_cloud_run_v2_service", "google_cloud_scheduler_job"
    told = lines(
        _plan(
            fakes.changed(service, "health", "create", after=_service("r/f@sha256:" + "a" * 64)),
            fakes.changed(
                service,
                "task-notify",
                "update",
                before=_service("r/f@sha256:" + "a" * 64, LOG_LEVEL="INFO"),
                after=_service("r/f@sha256:" + "b" * 64, most=5, LOG_LEVEL="DEBUG"),
            ),
            fakes.changed(service, "task-old", "delete"),
            fakes.changed(job, "sweep-expiry", "create", after={"schedule": "* * * * *"}),
            fakes.changed("google_monitoring_alert_policy", "a", "create"),
            fakes.changed("google_project_iam_member", "b", "create"),
            connections={"needed": 96, "limit": 400},
        )
    )
    assert told == [
        "DELETES function task-old",
        "new function health, 0 to 3 instances",
        "function task-notify: setting LOG_LEVEL: 'INFO' -> 'DEBUG'",
        "function task-notify: most instances 3 -> 5",
        "new code (f@bbbbbbbbbbbb) for 1: task-notify",
        "new schedule sweep-expiry: * * * * * (UTC)",
        "makes 1 alert, 1 grant",
        "database connections: 96 of 400 when every function runs at its most",
    ]


@pytest.mark.parametrize("kind", sorted(HOLDS_DATA))
@pytest.mark.parametrize("actions", [("delete",), ("delete", "create"), ("create", "delete")])
def test_a_plan_that_deletes_what_holds_data_is_refused(kind: str, actions: tuple[str, ...], tmp_path: Path) -> None:
    change = fakes.changed(kind, "atlas", *actions)
    assert len(deleted_data(_plan(change))) == 1
    setting = fakes.world(tmp_path)
    setting.terraform.planned.append({"resource_changes": [change]})
    with pytest.raises(Refused, match="the plan deletes atlas"):
        setting.world.changes()
    assert setting.terraform.applied == []


def test_a_queue_goes_only_once_nothing_waits_on_it(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    change = {"resource_changes": [fakes.changed("google_cloud_tasks_queue", "old", "delete")]}
    setting.terraform.planned.extend([change, change])
    setting.cloud.waiting.add("old")
    with pytest.raises(Refused, match="tasks still wait"):
        setting.world.changes()
    setting.cloud.waiting.clear()
    found = setting.world.changes()
    assert found is not None
    assert found[0] == ["DELETES queue old"]


def test_an_empty_plan_is_no_change(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    setting.terraform.planned.append({"resource_changes": [fakes.changed("google_storage_bucket", "b", "no-op")]})
    assert setting.world.changes() is None
