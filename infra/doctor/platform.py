"""Queues and schedules of the local system, over the same REST APIs that the cloud's are read by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from infra.doctor.check import WrongError

if TYPE_CHECKING:
    from infra.doctor.deployment import Json

_TIMEOUT_S = 5.0
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class LocalPlatform:
    """The stand-ins of Cloud Tasks and Cloud Scheduler.

    Attributes:
        queues_at: base URL of the Cloud Tasks API.
        jobs_at: base URL of the Cloud Scheduler API.
        parent: `projects/<project>/locations/<region>`.
    """

    queues_at: str
    jobs_at: str
    parent: str

    def queues(self) -> list[Json]:
        """See `Platform.queues`. Raises: WrongError."""
        return _listed(f"{self.queues_at}/v2/{self.parent}/queues", "queues")

    def tasks(self, queue: str) -> list[Json]:
        """See `Platform.tasks`. Raises: WrongError."""
        return _listed(f"{self.queues_at}/v2/{self.parent}/queues/{queue}/tasks?pageSize={_PAGE}", "tasks")

    def jobs(self) -> list[Json]:
        """See `Platform.jobs`. Raises: WrongError."""
        return _listed(f"{self.jobs_at}/v1/{self.parent}/jobs", "jobs")


def _listed(url: str, items: str) -> list[Json]:
    try:
        response = httpx.get(url, timeout=_TIMEOUT_S, trust_env=False)
        response.raise_for_status()
        found: list[Json] = response.json().get(items, [])
    except (httpx.HTTPError, ValueError) as error:
        raise WrongError(f"the list of {items} can't be had: {type(error).__name__}") from None
    return found
