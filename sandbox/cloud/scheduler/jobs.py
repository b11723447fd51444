"""What a job is: when it ticks, whom it calls, how it is tried again."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.cloud.cloudtasks.oidc import Oidc

_DEADLINE_RANGE_S = (15.0, 1800.0)
_RETRY_LIMIT = 5
_CRON_FIELDS = 5


@dataclass(frozen=True, slots=True)
class Job:
    """One job; the defaults are the real service's.

    `schedule` is unix-cron (five fields) by the clocks of `time_zone`. Durations are seconds. `attempt_deadline` is 15 to 1800,
    and real time. Retries of a failed tick come after `min_backoff`, doubled at most `max_doublings` times and linear from there,
    up to `max_backoff`, and never past the next tick.
    """

    name: str
    schedule: str
    url: str
    attempt_deadline: float = 180.0
    oidc: Oidc | None = None
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    retry_count: int = 0
    min_backoff: float = 5.0
    max_backoff: float = 3600.0
    max_doublings: int = 5
    time_zone: str = "Etc/UTC"

    def __post_init__(self) -> None:
        """Refuse what the real service refuses."""
        low, high = _DEADLINE_RANGE_S
        if not low <= self.attempt_deadline <= high:
            raise ValueError(f"{self.name}: attempt_deadline must be {low:.0f} to {high:.0f} seconds")
        if not 0 <= self.retry_count <= _RETRY_LIMIT:
            raise ValueError(f"{self.name}: retry_count must be 0 to {_RETRY_LIMIT}")
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{self.name}: no time zone {self.time_zone!r}") from error
        try:
            if len(self.schedule.split()) != _CRON_FIELDS:
                raise CronSimError("five fields wanted")
            CronSim(self.schedule, datetime(2026, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            raise ValueError(f"{self.name}: bad schedule {self.schedule!r}: {error}") from error

    def next_tick(self, after: datetime) -> datetime:
        """The first scheduled moment later than `after`, UTC."""
        return next(CronSim(self.schedule, after.astimezone(ZoneInfo(self.time_zone)))).astimezone(UTC)

    def latest_tick(self, seen: datetime, now: datetime) -> datetime:
        """The last scheduled moment in (seen, now]; there is one. Walks back from `now`, so that a year's jump costs nothing."""
        tick = self.next_tick(seen)
        span = timedelta(minutes=1)
        while now - span > seen:
            candidate = self.next_tick(now - span)
            if candidate <= now:
                tick = candidate
                break
            span *= 2
        while (later := self.next_tick(tick)) <= now:
            tick = later
        return tick

    def backoff(self, retries: int) -> float:
        """Seconds before the next attempt of a failed tick."""
        step = self.min_backoff * 2.0 ** min(retries, self.max_doublings)
        return min(step * max(1, retries - self.max_doublings + 1), self.max_backoff)
