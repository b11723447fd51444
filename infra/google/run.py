"""Cloud Run: whether services serve their newest revision, and the job that migrates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.google.client import Google

_LATEST: Final = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
_WHOLE: Final = 100


@dataclass(frozen=True, slots=True)
class Service:
    """A service as a look at it shows it.

    Attributes:
        name: kebab-case, as in URLs.
        image: of its newest template; by digest once a release pinned it.
        why: what its condition says when it is not ready.
        latest_created: name of the newest revision.
        latest_ready: name of the newest that could start.
        on_latest: per cent of traffic that go to the newest ready one.
        settled: what was asked for last has been seen to.
    """

    name: str
    uri: str
    image: str
    ready: bool
    why: str
    latest_created: str
    latest_ready: str
    on_latest: int
    settled: bool

    @property
    def serves_newest(self) -> bool:
        """All of its traffic goes to the newest revision, which is ready."""
        return self.ready and self.latest_created == self.latest_ready != "" and self.on_latest == _WHOLE


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a job.

    Attributes:
        name: full.
        why: what it says when it failed.
        log_uri: where its log is.
    """

    name: str
    ended: bool
    succeeded: bool
    why: str
    log_uri: str


def services(google: Google, region: str) -> list[Service]:
    """Every service of the region.

    Raises:
        infra.google.client.GoogleError
    """
    collection = google.api("run").projects().locations().services()
    first = collection.list(parent=f"projects/{google.project}/locations/{region}")
    return [_service(row) for row in google.pages(collection, first, "services")]


def run_job(google: Google, region: str, job: str, arguments: Sequence[str] | None = None) -> str:
    """Begin an execution; its full name. Not repeated by itself: each call begins one more.

    Args:
        google: the project.
        region: of the job.
        job: its name.
        arguments: in place of the job's own.

    Raises:
        infra.google.client.GoogleError: 404: there is no such job.
    """
    body: dict[str, Any] = {}
    if arguments is not None:
        body["overrides"] = {"containerOverrides": [{"args": list(arguments)}]}
    name = f"projects/{google.project}/locations/{region}/jobs/{job}"
    begun = google.execute(google.api("run").projects().locations().jobs().run(name=name, body=body), repeatable=False)
    return str(begun["metadata"]["name"])


def execution(google: Google, name: str) -> Execution:
    """An execution as it is now.

    Raises:
        infra.google.client.GoogleError
    """
    return _execution(google.execute(google.api("run").projects().locations().jobs().executions().get(name=name)))


def executions(google: Google, region: str, job: str) -> list[Execution]:
    """Executions of a job, the newest first.

    Raises:
        infra.google.client.GoogleError
    """
    collection = google.api("run").projects().locations().jobs().executions()
    parent = f"projects/{google.project}/locations/{region}/jobs/{job}"
    return [_execution(row) for row in google.pages(collection, collection.list(parent=parent), "executions")]


def _service(row: dict[str, Any]) -> Service:
    condition = row.get("terminalCondition", {})
    containers = row.get("template", {}).get("containers", [{}])
    newest = row.get("latestReadyRevision", "").rpartition("/")[2]
    traffic = [
        one.get("percent", 0)
        for one in row.get("trafficStatuses", ())
        if one.get("type") == _LATEST or one.get("revision", "").rpartition("/")[2] == newest
    ]
    return Service(
        name=row["name"].rpartition("/")[2],
        uri=row.get("uri", ""),
        image=containers[0].get("image", ""),
        ready=condition.get("state") == "CONDITION_SUCCEEDED",
        why=condition.get("message", ""),
        latest_created=row.get("latestCreatedRevision", "").rpartition("/")[2],
        latest_ready=newest,
        on_latest=sum(traffic),
        settled=not row.get("reconciling") and row.get("observedGeneration") == row.get("generation"),
    )


def _execution(row: dict[str, Any]) -> Execution:
    failed = [one for one in row.get("conditions", ()) if one.get("state") == "CONDITION_FAILED"]
    ended = "completionTime" in row
    return Execution(
        name=row["name"],
        ended=ended,
        succeeded=ended and not failed and not row.get("failedCount") and bool(row.get("succeededCount")),
        why="; ".join(one.get("message", "") for one in failed),
        log_uri=row.get("logUri", ""),
    )
