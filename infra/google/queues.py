"""Cloud Tasks' queues and Cloud Scheduler's jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.google.client import GoogleError

if TYPE_CHECKING:
    from infra.google.client import Google


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
