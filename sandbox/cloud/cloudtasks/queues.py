"""What a queue is and what it keeps: configuration, tasks, the retry schedule, the rate it may dispatch at."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from google.cloud.tasks_v2.types import queue as queue_types

from sandbox.cloud.cloudtasks.faults import Doubling

if TYPE_CHECKING:
    from collections.abc import Iterable

RETENTION = timedelta(days=31)  # a task is deleted then, whether it ran or not
_SLOWDOWN_START = 20.0  # dispatches/s that a slowed queue begins to be halved from
_SLOWDOWN_FLOOR = 0.5
_SLOWDOWN_RECOVERY_S = 10.0  # sandbox seconds without trouble after which the enforced rate doubles
_RETRY_AFTER_LIMIT_S = 300.0
_OUTCOMES_SEEN, _MANY_ERRORS = 20, 18  # so many failures among so many last attempts slow a queue down as a 503 does
_WHOLE = 1.0 - 1e-6  # a token, but for rounding


# What UpdateQueue can change: path of its mask, field of `Queue`.
_PATHS = {
    "rate_limits.max_dispatches_per_second": "rate",
    "rate_limits.max_concurrent_dispatches": "max_concurrent",
    "retry_config.max_attempts": "max_attempts",
    "retry_config.max_retry_duration": "max_retry_duration",
    "retry_config.min_backoff": "min_backoff",
    "retry_config.max_backoff": "max_backoff",
    "retry_config.max_doublings": "max_doublings",
}
_OUTPUT_ONLY = frozenset({"name", "state", "purge_time", "rate_limits.max_burst_size"})


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue's configuration; the defaults are the real service's.

    Durations are seconds. `rate` is dispatches per second. `max_attempts` counts the first one, -1 is unlimited;
    `max_retry_duration` 0 is unlimited.
    """

    name: str
    max_concurrent: int = 1000
    rate: float = 500.0
    max_attempts: int = 100
    min_backoff: float = 0.1
    max_backoff: float = 3600.0
    max_doublings: int = 16
    max_retry_duration: float = 0.0

    @property
    def max_burst(self) -> int:
        """Size of the token bucket; the real service derives it from the rate too (500/s: 100)."""
        return max(1, min(500, math.ceil(self.rate / 5)))

    def backoff(self, retries: int) -> float:
        """Seconds between a failed attempt and the next one, `retries` being the retries made before.

        Starts at `min_backoff`, doubles `max_doublings` times, then grows linearly, never beyond `max_backoff`
        (10, 300, 3: 10, 20, 40, 80, 160, 240, 300, 300, ...). No longer than any task lives.
        """
        if retries <= self.max_doublings:
            wait = self.min_backoff * 2.0 ** min(retries, 64)
        else:
            wait = self.min_backoff * 2.0 ** min(self.max_doublings, 64) * (retries - self.max_doublings + 1)
        return min(wait, self.max_backoff, RETENTION.total_seconds())

    def is_used_up(self, attempts: int, first_attempt: datetime, now: datetime) -> bool:
        """Whether a task that failed `attempts` times is given up.

        Only when the attempts **and** the duration are used up; an unlimited one of the two leaves it to the other,
        and the retention ends what both leave open.
        """
        if now - first_attempt >= RETENTION:
            return True
        limits = []
        if self.max_attempts != -1:
            limits.append(attempts >= self.max_attempts)
        if self.max_retry_duration > 0:
            limits.append((now - first_attempt).total_seconds() >= self.max_retry_duration)
        return bool(limits) and all(limits)

    def message(self, full_name: str, *, paused: bool, purged: datetime | None) -> Any:
        """The API's `Queue` message."""
        made = queue_types.Queue.pb(queue_types.Queue())
        made.name = full_name
        made.rate_limits.max_dispatches_per_second = self.rate
        made.rate_limits.max_burst_size = self.max_burst
        made.rate_limits.max_concurrent_dispatches = self.max_concurrent
        made.retry_config.max_attempts = self.max_attempts
        made.retry_config.max_doublings = self.max_doublings
        for name in ("min_backoff", "max_backoff", "max_retry_duration"):
            getattr(made.retry_config, name).FromTimedelta(timedelta(seconds=getattr(self, name)))
        made.state = queue_types.Queue.State.PAUSED if paused else queue_types.Queue.State.RUNNING
        if purged is not None:
            made.purge_time.FromDatetime(purged)
        return made

    @classmethod
    def from_message(cls, name: str, message: Any) -> Queue:
        """Configuration out of a CreateQueue request; what is unset takes the default."""
        chosen: dict[str, Any] = {}
        if message.HasField("rate_limits"):
            limits = message.rate_limits
            if limits.max_dispatches_per_second:
                chosen["rate"] = limits.max_dispatches_per_second
            if limits.max_concurrent_dispatches:
                chosen["max_concurrent"] = limits.max_concurrent_dispatches
        if message.HasField("retry_config"):
            chosen |= _retry_fields(message.retry_config)
        return cls(name, **chosen)

    def retrying_as(self, retry: Any) -> Queue:
        """The queue to a task with a RetryConfig of its own, which stands in for the queue's as a whole."""
        return replace(Queue(self.name, self.max_concurrent, self.rate), **_retry_fields(retry))

    def changed(self, message: Any, paths: Iterable[str]) -> Queue:
        """Configuration after an UpdateQueue request; no paths are all of them, output-only ones change nothing.

        Raises:
            ValueError: a path that is no field of a queue.
        """
        wanted = Queue.from_message(self.name, message)
        changes: dict[str, Any] = {}
        for path in paths or ("rate_limits", "retry_config"):
            covered = [known for known in _PATHS if known == path or known.startswith(f"{path}.")]
            if not covered and path not in _OUTPUT_ONLY:
                raise ValueError(path)
            changes |= {_PATHS[known]: getattr(wanted, _PATHS[known]) for known in covered}
        return replace(self, **changes)


def _retry_fields(retry: Any) -> dict[str, Any]:
    """What a RetryConfig sets; the rest is the service's to choose."""
    chosen: dict[str, Any] = {name: getattr(retry, name) for name in ("max_attempts", "max_doublings")}
    chosen = {name: value for name, value in chosen.items() if value}
    for name in ("min_backoff", "max_backoff", "max_retry_duration"):
        if retry.HasField(name):
            chosen[name] = getattr(retry, name).ToTimedelta().total_seconds()
    return chosen


@dataclass(slots=True)
class StoredTask:
    """A task and what the headers of its next attempt need. `message` is the API's `Task` message."""

    queue: str
    message: Any
    execution_count: int = 0  # responses received other than 5xx
    previous_response: int = 0  # 504 for an attempt past its deadline, 0 for one that had no answer
    retry_reason: str = ""  # in words, for people
    attempts_running: int = 0  # more than one only when it was run by hand meanwhile
    doubled: Doubling = Doubling.NO
    entry: int = 0  # which heap entry is the valid one
    held_s: float = 0.0  # kept back beyond its time, on purpose

    @property
    def name(self) -> str:
        """Full resource name."""
        return str(self.message.name)

    @property
    def short_name(self) -> str:
        """The task id."""
        return self.name.rpartition("/")[2]

    @property
    def running(self) -> bool:
        """Being attempted."""
        return self.attempts_running > 0

    @property
    def eta(self) -> datetime:
        """When it may be attempted, aware UTC."""
        return as_datetime(self.message.schedule_time)

    @property
    def due(self) -> datetime:
        """When it will be, the queue permitting."""
        return self.eta + timedelta(seconds=self.held_s)

    @property
    def expires(self) -> datetime:
        """When it is deleted, whether it ran or not."""
        return as_datetime(self.message.create_time) + RETENTION


@dataclass(slots=True)
class Attempt:
    """One attempt as it was made, kept for people and tests.

    `status` is None while it runs and when no response came (`reason` says why); `duration` is in real seconds, `start` in the
    sandbox's time.
    """

    queue: str
    task: str
    attempt: int
    url: str
    start: datetime
    body: bytes
    headers: dict[str, str]
    status: int | None = None
    reason: str = ""
    duration: float | None = None

    @property
    def running(self) -> bool:
        """Not answered yet."""
        return self.duration is None


def as_datetime(timestamp: Any) -> datetime:
    """A protobuf Timestamp as an aware datetime."""
    moment: datetime = timestamp.ToDatetime(tzinfo=UTC)
    return moment


@dataclass(slots=True)
class Throttle:
    """How fast a queue may dispatch right now: a token bucket, and the slowdown that 429, 503 and many errors cause.

    All times are the sandbox's.
    """

    rate: float
    burst: int
    tokens: float = field(init=False)
    enforced: float = field(init=False)
    _filled: datetime | None = None
    _held_until: datetime | None = None
    _troubled: datetime | None = None
    _outcomes: deque[bool] = field(default_factory=lambda: deque(maxlen=_OUTCOMES_SEEN))

    def __post_init__(self) -> None:
        self.tokens = float(self.burst)
        self.enforced = self.rate

    def wait(self, now: datetime) -> float:
        """Seconds until the next dispatch is allowed, no more than any task lives; 0 takes nothing yet."""
        self._fill(now)
        held = 0.0 if self._held_until is None else (self._held_until - now).total_seconds()
        missing = (1.0 - self.tokens) / self.enforced if self.tokens < _WHOLE else 0.0
        return min(max(held, missing, 0.0), RETENTION.total_seconds())

    def take(self) -> None:
        """Use up one dispatch."""
        self.tokens -= 1.0

    def trouble(self, status: int, retry_after: float, now: datetime) -> None:
        """The worker answered 429 or 503: the whole queue slows down."""
        if status not in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
            return
        self._slow_down(now)
        self.tokens = min(self.tokens, 0.0)
        if retry_after > 0:
            hold = now + timedelta(seconds=min(retry_after, _RETRY_AFTER_LIMIT_S))
            self._held_until = max(hold, self._held_until or hold)

    def outcome(self, *, ok: bool, now: datetime) -> None:
        """One more attempt ended: a queue whose attempts nearly all fail slows down, whatever they failed with."""
        self._outcomes.append(ok)
        if self._outcomes.count(False) >= _MANY_ERRORS:
            self._outcomes.clear()
            self._slow_down(now)

    def slow_start(self, now: datetime) -> None:
        """Dispatch as a queue that is new, or was idle: slowly at first."""
        self._slow_down(now)

    def configure(self, rate: float, burst: int) -> None:
        """Other limits from now on; a slowdown goes on under them."""
        self.enforced = rate if self.enforced >= self.rate else min(self.enforced, rate)
        self.rate, self.burst = rate, burst
        self.tokens = min(self.tokens, float(burst))

    def _slow_down(self, now: datetime) -> None:
        self._fill(now)
        slower = max(_SLOWDOWN_FLOOR, min(self.enforced, self.rate, _SLOWDOWN_START) / 2)
        self.enforced = min(slower, self.rate)
        self._troubled = now

    def _fill(self, now: datetime) -> None:
        if self._troubled is not None:
            doublings = int((now - self._troubled).total_seconds() // _SLOWDOWN_RECOVERY_S)
            if doublings > 0:
                self.enforced = min(self.rate, self.enforced * 2.0 ** min(doublings, 32))
                self._troubled = None if self.enforced >= self.rate else now
        passed = 0.0 if self._filled is None else (now - self._filled).total_seconds()
        slowed = self.enforced < self.rate
        limit = 1.0 if slowed else float(self.burst)
        self.tokens = min(limit, self.tokens + max(passed, 0.0) * self.enforced)
        self._filled = now
