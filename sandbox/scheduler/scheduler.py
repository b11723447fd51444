"""Jobs, their ticks, and the calls that follow from them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx
from cronsim import CronSim, CronSimError

from sandbox.cloudtasks.oidc import Oidc, test_key_signer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sandbox.clock import Clock

_DEADLINE_RANGE_S = (15.0, 1800.0)
_RETRY_LIMIT = 5
_RUNS_KEPT = 20_000
_CRON_FIELDS = 5


@dataclass(frozen=True, slots=True)
class Job:
    """One job; the defaults are the real service's.

    `schedule` is unix-cron (five fields) in UTC. Durations are seconds. `attempt_deadline` is 15 to 1800. Retries of a failed
    tick come after `min_backoff`, doubled at most `max_doublings` times up to `max_backoff`, and never past the next tick.
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

    def __post_init__(self) -> None:
        """Refuse what the real service refuses."""
        low, high = _DEADLINE_RANGE_S
        if not low <= self.attempt_deadline <= high:
            raise ValueError(f"{self.name}: attempt_deadline must be {low:.0f} to {high:.0f} seconds")
        if not 0 <= self.retry_count <= _RETRY_LIMIT:
            raise ValueError(f"{self.name}: retry_count must be 0 to {_RETRY_LIMIT}")
        try:
            if len(self.schedule.split()) != _CRON_FIELDS:
                raise CronSimError("five fields wanted")
            CronSim(self.schedule, datetime(2026, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            raise ValueError(f"{self.name}: bad schedule {self.schedule!r}: {error}") from error

    def next_tick(self, after: datetime) -> datetime:
        """The first scheduled moment later than `after`."""
        return next(CronSim(self.schedule, after))

    def backoff(self, retries: int) -> float:
        """Seconds before the next attempt of a failed tick."""
        return min(self.min_backoff * 2.0 ** min(retries, self.max_doublings), self.max_backoff)


@dataclass(slots=True)
class Run:
    """One call as it was made. `status` is None while it runs and when no response came; `duration` is in real seconds."""

    job: str
    tick: datetime
    start: datetime
    attempt: int
    status: int | None = None
    reason: str = ""
    body: bytes = b""
    duration: float | None = None

    @property
    def ok(self) -> bool:
        """Answered 2xx."""
        return self.status is not None and HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


@dataclass(slots=True)
class _State:
    job: Job
    paused: bool = False
    outstanding: asyncio.Lock = field(default_factory=asyncio.Lock)
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Scheduler:
    """Fires each job at its ticks.

    A job never has two executions outstanding: a run that takes longer than a minute delays the next one. Ticks that were missed
    (by a pause, a long run, time travel) are not made up for one by one: the job fires once, with the latest of them.

    Args:
        jobs: what to run; names are unique.
        clock: the sandbox's.
        deadline_limit: real seconds that no attempt may outlast whatever its own deadline says; for tests.
    """

    def __init__(self, jobs: Iterable[Job], *, clock: Clock, deadline_limit: float | None = None) -> None:
        self.clock = clock
        self.runs: list[Run] = []
        self.signer = test_key_signer()
        self._deadline_limit = deadline_limit
        self._states: dict[str, _State] = {}
        for job in jobs:
            if job.name in self._states:
                raise ValueError(f"two jobs are called {job.name}")
            self._states[job.name] = _State(job)
        self._loops: list[asyncio.Task[None]] = []
        self._client: httpx.AsyncClient | None = None

    @property
    def jobs(self) -> dict[str, Job]:
        """All jobs by name."""
        return {name: state.job for name, state in self._states.items()}

    async def start(self) -> None:
        """Begin to fire; the first ticks are those after now."""
        if not self._loops:
            now = self.clock.now()  # not in the loops: they begin to run later, and the clock may have jumped by then
            self._loops = [asyncio.create_task(self._fire(state, now)) for state in self._states.values()]

    async def stop(self) -> None:
        """Fire no more and cut what is under way."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops = []
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def pause(self, name: str) -> None:
        """Let the job's ticks pass."""
        self._set_paused(name, paused=True)

    def resume(self, name: str) -> None:
        """Fire again, from the next tick on."""
        self._set_paused(name, paused=False)

    def is_paused(self, name: str) -> bool:
        """Whether the job is paused."""
        return self._states[name].paused

    def _set_paused(self, name: str, *, paused: bool) -> None:
        state = self._states[name]
        state.paused = paused
        state.changed.set()

    async def run_now(self, name: str) -> Run:
        """Execute the job now, after the run that is outstanding if there is one; KeyError when there is no such job.

        A paused job runs too, as by the console's "force run".
        """
        state = self._states[name]
        async with state.outstanding:
            return await self._attempt(state.job, self.clock.now(), 1)

    async def _fire(self, state: _State, seen: datetime) -> None:
        job = state.job
        while True:
            await self._wait(state, job.next_tick(seen))
            now = self.clock.now()
            if state.paused:
                await state.changed.wait()
                seen = self.clock.now()
                continue
            if job.next_tick(seen) > now:
                continue
            async with state.outstanding:  # a forced run may have taken its time
                now = self.clock.now()
                tick = _latest_tick(job, seen, now)
                seen = tick
                await self._execute(state, tick)

    async def _execute(self, state: _State, tick: datetime) -> None:
        job = state.job
        for retries in range(job.retry_count + 1):
            run = await self._attempt(job, tick, retries + 1)
            again = self.clock.now() + timedelta(seconds=job.backoff(retries))
            if run.ok or retries == job.retry_count or again >= job.next_tick(tick) or state.paused:
                return
            await self.clock.sleep_until(again)
            if self.clock.now() >= job.next_tick(tick):
                return

    async def _wait(self, state: _State, moment: datetime) -> None:
        state.changed.clear()
        waits: set[asyncio.Task[Any]] = {
            asyncio.create_task(state.changed.wait()),
            asyncio.create_task(self.clock.sleep_until(moment)),
        }
        try:
            if not state.paused:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _attempt(self, job: Job, tick: datetime, attempt: int) -> Run:
        if self._client is None:
            limits = httpx.Limits(max_connections=None)
            self._client = httpx.AsyncClient(timeout=httpx.Timeout(None, connect=10), limits=limits, trust_env=False)
        run = Run(job.name, tick, self.clock.now(), attempt)
        self.runs.append(run)
        if len(self.runs) > _RUNS_KEPT:
            del self.runs[: _RUNS_KEPT // 4]
        deadline = (
            job.attempt_deadline if self._deadline_limit is None else min(job.attempt_deadline, self._deadline_limit)
        )
        began = time.monotonic()
        try:
            async with asyncio.timeout(deadline):
                response = await self._client.request(
                    job.method, job.url, content=job.body or None, headers=self._headers(job, tick)
                )
            run.status, run.body = response.status_code, response.content
            if not run.ok:
                run.reason = f"HTTP status code {response.status_code}"
        except TimeoutError:
            run.reason = "DEADLINE_EXCEEDED"
        except httpx.HTTPError as error:
            run.reason = f"UNAVAILABLE: {type(error).__name__}"
        except asyncio.CancelledError:
            run.reason = "CANCELLED: the sandbox stopped"
            raise
        finally:
            run.duration = time.monotonic() - began
        return run

    def _headers(self, job: Job, tick: datetime) -> dict[str, str]:
        headers = {"Content-Type": "application/octet-stream"} if job.method in {"POST", "PUT", "PATCH"} else {}
        headers = {
            name: value for name, value in headers.items() if name.lower() not in {own.lower() for own in job.headers}
        }
        headers |= {
            name: value for name, value in job.headers.items() if not name.lower().startswith("x-cloudscheduler")
        }
        headers |= {
            "User-Agent": "Google-Cloud-Scheduler",
            "X-CloudScheduler": "true",
            "X-CloudScheduler-JobName": job.name,
            "X-CloudScheduler-ScheduleTime": tick.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        }
        if job.oidc is not None:
            headers["Authorization"] = f"Bearer {self.signer.token(job.oidc, job.url)}"
        return headers


def _latest_tick(job: Job, seen: datetime, now: datetime) -> datetime:
    """The last scheduled moment in (seen, now]; there is one. Walks back from `now`, so that a year's jump costs nothing."""
    tick = job.next_tick(seen)
    span = timedelta(minutes=1)
    while now - span > seen:
        candidate = job.next_tick(now - span)
        if candidate <= now:
            tick = candidate
            break
        span *= 2
    while (later := job.next_tick(tick)) <= now:
        tick = later
    return tick
