"""Cloud Tasks' queues and Cloud Scheduler's jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.google.client import GoogleError

if TYPE_CHECKING:
    from infra.google.client import Google


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue, with what functions/table.json says of it. `state`: RUNNING, PAUSED or DISABLED."""

    name: str
    state: str
    rate_per_second: float
    max_concurrent: int
    max_attempts: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """A job of the scheduler.

    Attributes:
        state: ENABLED, PAUSED, DISABLED or UPDATE_FAILED.
        last_attempt: RFC 3339; "" before the first.
        last_code: of google.rpc.Code: 0 when the last attempt went well.
    """

    name: str
    schedule: str
    uri: str
    state: str
    last_attempt: str
    last_code: int


def regions(google: Google) -> frozenset[str]:
    """Regions that have both queues and schedules.

    Raises:
        infra.google.client.GoogleError
    """
    found = []
    for api in ("cloudtasks", "cloudscheduler"):
        collection = google.api(api).projects().locations()
        first = collection.list(name=f"projects/{google.project}")
        found.append({row["locationId"] for row in google.pages(collection, first, "locations")})
    return frozenset(found[0] & found[1])


def holds_work(google: Google, region: str, queue: str) -> bool:
    """Whether a task waits on the queue, or is being tried; False where there is no such queue.

    Raises:
        infra.google.client.GoogleError
    """
    tasks = google.api("cloudtasks").projects().locations().queues().tasks()
    parent = f"projects/{google.project}/locations/{region}/queues/{queue}"
    try:
        return bool(google.execute(tasks.list(parent=parent, pageSize=1)).get("tasks"))
    except GoogleError as error:
        if error.missing:
            return False
        raise


def queues(google: Google, region: str) -> list[Queue]:
    """Every queue of the region.

    Raises:
        infra.google.client.GoogleError
    """
    collection = google.api("cloudtasks").projects().locations().queues()
    first = collection.list(parent=f"projects/{google.project}/locations/{region}")
    return [_queue(row) for row in google.pages(collection, first, "queues")]


def schedules(google: Google, region: str) -> list[Schedule]:
    """Every job of the scheduler in the region.

    Raises:
        infra.google.client.GoogleError
    """
    collection = google.api("cloudscheduler").projects().locations().jobs()
    first = collection.list(parent=f"projects/{google.project}/locations/{region}")
    return [_schedule(row) for row in google.pages(collection, first, "jobs")]


def _queue(row: dict[str, Any]) -> Queue:
    limits = row.get("rateLimits", {})
    return Queue(
        name=row["name"].rpartition("/")[2],
        state=row.get("state", ""),
        rate_per_second=float(limits.get("maxDispatchesPerSecond", 0)),
        max_concurrent=int(limits.get("maxConcurrentDispatches", 0)),
        max_attempts=int(row.get("retryConfig", {}).get("maxAttempts", 0)),
    )


def _schedule(row: dict[str, Any]) -> Schedule:
    return Schedule(
        name=row["name"].rpartition("/")[2],
        schedule=row.get("schedule", ""),
        uri=row.get("httpTarget", {}).get("uri", ""),
        state=row.get("state", ""),
        last_attempt=row.get("lastAttemptTime", ""),
        last_code=int(row.get("status", {}).get("code", 0)),
    )
