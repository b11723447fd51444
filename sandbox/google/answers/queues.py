"""Cloud Tasks' queues and Cloud Scheduler's jobs, as Terraform made them, with what was told of their state."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sandbox.google.cloud import paged
from sandbox.google.refusals import missing

if TYPE_CHECKING:
    from sandbox.google.cloud import Call, Cloud

Row = dict[str, Any]


def _queue(cloud: Cloud, row: Row) -> Row:
    limits, retry = row["rate_limits"][0], row["retry_config"][0]
    return {
        "name": f"projects/{cloud.project}/locations/{row['location']}/queues/{row['name']}",
        "state": "PAUSED" if row["name"] in cloud.facts().get("paused_queues", ()) else "RUNNING",
        "rateLimits": {
            "maxDispatchesPerSecond": limits["max_dispatches_per_second"],
            "maxConcurrentDispatches": int(limits["max_concurrent_dispatches"]),
        },
        "retryConfig": {
            "maxAttempts": int(retry["max_attempts"]),
            "maxRetryDuration": retry["max_retry_duration"],
            "minBackoff": retry["min_backoff"],
            "maxBackoff": retry["max_backoff"],
            "maxDoublings": int(retry["max_doublings"]),
        },
    }


_REGIONS = ("asia-northeast1", "europe-west1", "europe-west3", "us-central1", "us-east1")


def list_locations(call: Call) -> Row:
    """...projects.locations.list: some of the regions that have queues and schedules."""
    call.cloud.assert_ours(call.path["name"])
    rows = [{"name": f"{call.path['name']}/locations/{one}", "locationId": one} for one in _REGIONS]
    return paged(call, rows, "locations")


def list_tasks(call: Call) -> Row:
    """cloudtasks.projects.locations.queues.tasks.list: as many as were told to wait there."""
    queue = get_queue(replace(call, path={"name": call.path["parent"]}))
    waiting = int(call.cloud.facts().get("tasks_waiting", {}).get(queue["name"].rpartition("/")[2], 0))
    rows = [{"name": f"{queue['name']}/tasks/{number}"} for number in range(waiting)]
    return paged(call, rows, "tasks", default=1000)


def list_queues(call: Call) -> Row:
    """cloudtasks.projects.locations.queues.list."""
    call.cloud.assert_ours(call.path["parent"])
    location = call.path["parent"].rpartition("/")[2]
    rows = [row for row in call.cloud.terraform.of("google_cloud_tasks_queue") if row["location"] == location]
    return paged(call, [_queue(call.cloud, row) for row in rows], "queues")


def get_queue(call: Call) -> Row:
    """cloudtasks.projects.locations.queues.get."""
    call.cloud.assert_ours(call.path["name"])
    row = call.cloud.terraform.named("google_cloud_tasks_queue", call.path["name"].rpartition("/")[2])
    if row is None:
        raise missing("Queue does not exist.")
    return _queue(call.cloud, row)


def _job(cloud: Cloud, row: Row) -> Row:
    told = cloud.facts().get("scheduler_jobs", {}).get(row["name"], {})
    target = row["http_target"][0]
    job: Row = {
        "name": f"projects/{cloud.project}/locations/{row['region']}/jobs/{row['name']}",
        "description": row.get("description") or "",
        "schedule": row["schedule"],
        "timeZone": row["time_zone"],
        "state": told.get("state", "ENABLED"),
        "attemptDeadline": row["attempt_deadline"],
        "httpTarget": {"uri": target["uri"], "httpMethod": target["http_method"]},
    }
    if "last_attempt" in told:
        job["lastAttemptTime"] = told["last_attempt"]
        job["status"] = {"code": told["code"]} if told.get("code") else {}
    return job


def list_jobs(call: Call) -> Row:
    """cloudscheduler.projects.locations.jobs.list."""
    call.cloud.assert_ours(call.path["parent"])
    location = call.path["parent"].rpartition("/")[2]
    rows = [row for row in call.cloud.terraform.of("google_cloud_scheduler_job") if row["region"] == location]
    return paged(call, [_job(call.cloud, row) for row in rows], "jobs")


def get_job(call: Call) -> Row:
    """cloudscheduler.projects.locations.jobs.get."""
    call.cloud.assert_ours(call.path["name"])
    row = call.cloud.terraform.named("google_cloud_scheduler_job", call.path["name"].rpartition("/")[2])
    if row is None:
        raise missing("Job not found.")
    return _job(call.cloud, row)


ANSWERS = {
    "cloudscheduler.projects.locations.list": list_locations,
    "cloudtasks.projects.locations.list": list_locations,
    "cloudtasks.projects.locations.queues.tasks.list": list_tasks,
    "cloudscheduler.projects.locations.jobs.get": get_job,
    "cloudscheduler.projects.locations.jobs.list": list_jobs,
    "cloudtasks.projects.locations.queues.get": get_queue,
    "cloudtasks.projects.locations.queues.list": list_queues,
}
