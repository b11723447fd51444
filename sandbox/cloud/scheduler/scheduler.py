"""Jobs on the sandbox's clock: when they fire, what goes wrong with it on purpose, and the calls that follow."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx

from sandbox.cloud.cloudtasks.oidc import test_key_signer
from sandbox.cloud.scheduler.faults import TickFaults
from sandbox.stand_in.outgoing import outgoing_client

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox.cloud.scheduler.jobs import Job
    from sandbox.stand_in.clock import Clock

_RUNS_KEPT = 20_000
_MISSED_KEPT = 1_000


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

    A job never has two executions outstanding, unless `double_next` says so: a run that takes longer than a minute delays the next
    one. Ticks that were missed (by a pause, a long run, time travel) are not made up for one by one: the job fires once, with the
    latest of them. `faults` is what goes wrong on purpose, `missed` the last ticks that never came because of it.

    Args:
        jobs: what to run; names are unique.
        clock: the sandbox's.
        deadline_limit: real seconds that no attempt may outlast whatever its own deadline says; for tests.
    """

    def __init__(self, jobs: Iterable[Job], *, clock: Clock, deadline_limit: float | None = None) -> None:
        self.clock = clock
        self.runs: list[Run] = []
        self.faults = TickFaults()
        self.missed: deque[tuple[str, datetime]] = deque(maxlen=_MISSED_KEPT)
        self.signer = test_key_signer()
        self._deadline_limit = deadline_limit
        self._states: dict[str, _State] = {}
        for job in jobs:
            if job.name in self._states:
                raise ValueError(f"two jobs are called {job.name}")
            self._states[job.name] = _State(job)
        self._loops: list[asyncio.Task[None]] = []
        self._client: httpx.AsyncClient | None = None
        self._held = False

    @property
    def jobs(self) -> dict[str, Job]:
        """All jobs by name."""
        return {name: state.job for name, state in self._states.items()}

    async def start(self) -> None:
        """Begin to fire; the first ticks are those after now."""
        if not self._loops:
            now = self.clock.now()  # not in the loops: they begin to run later, and the clock may have jumped by then
            self._loops = [asyncio.create_task(self._fire(state, now)) for state in self._states.values()]

    async def halt(self) -> None:
        """Fire no more and cut what the schedule has under way; what others run or fire goes on."""
        loops, self._loops = self._loops, []  # who starts it meanwhile gets loops of their own
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)

    async def stop(self) -> None:
        """Fire no more and cut everything that is under way."""
        await self.halt()
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

    @property
    def held(self) -> bool:
        """Whether a caller who lets time pass fires the jobs (`fire`)."""
        return self._held

    def hold(self) -> None:
        """Fire nothing by itself until `let_go`; whether a job is paused is another matter and stays as it is."""
        self._set_held(held=True)

    def let_go(self) -> None:
        """Fire again, from the next tick on."""
        self._set_held(held=False)

    def _set_held(self, *, held: bool) -> None:
        self._held = held
        for state in self._states.values():
            state.changed.set()

    def _quiet(self, state: _State) -> bool:
        return self._held or state.paused

    def miss_next(self, name: str, count: int = 1) -> None:
        """Let the job's next ticks never come, without a trace to the job. KeyError when there is no such job."""
        self.faults.miss_next(self._states[name].job.name, count)

    def double_next(self, name: str, count: int = 1) -> None:
        """Let the job's next ticks come twice, both executions at once, as at-least-once delivery may do."""
        self.faults.double_next(self._states[name].job.name, count)

    def delay_next(self, name: str, seconds: float, count: int = 1) -> None:
        """Let the job's next ticks come so many seconds of sandbox time late, still with their own schedule time."""
        self.faults.delay_next(self._states[name].job.name, seconds, count)

    async def run_now(self, name: str) -> Run:
        """Execute the job now, after the run that is outstanding if there is one; KeyError when there is no such job.

        A paused job runs too, as by the console's "force run".
        """
        state = self._states[name]
        async with state.outstanding:
            return await self._attempt(state.job, self.clock.now(), 1)

    async def fire(self, name: str, seen: datetime) -> list[Run]:
        """What the schedule does for ticks after `seen`, for a caller who lets time pass; KeyError when there is no such job.

        One execution for the latest of them, or as many as `faults` say; none when there was no tick. `seen` being long ago
        already, nothing comes late.
        """
        state, now = self._states[name], self.clock.now()
        if state.job.next_tick(seen) > now:
            return []
        tick = state.job.latest_tick(seen, now)
        fate = self.faults.fate(name)
        if not fate.executions:
            self.missed.append((name, tick))
            return []
        async with state.outstanding:
            return list(await asyncio.gather(*(self._attempt(state.job, tick, 1) for _ in range(fate.executions))))

    async def _fire(self, state: _State, seen: datetime) -> None:
        job = state.job
        while True:
            await self._wait(state, job.next_tick(seen))
            now = self.clock.now()
            if self._quiet(state):
                await state.changed.wait()
                seen = self.clock.now()
                continue
            if job.next_tick(seen) > now:
                continue
            tick = job.latest_tick(seen, now)
            fate = self.faults.fate(job.name)
            if not fate.executions:
                self.missed.append((job.name, tick))
                seen = tick
                continue
            await self.clock.sleep(fate.late_s)
            async with state.outstanding:
                if not fate.late_s:  # a forced run may have taken its time
                    tick = job.latest_tick(seen, self.clock.now())
                seen = tick
                await asyncio.gather(*(self._execute(state, tick) for _ in range(fate.executions)))

    async def _execute(self, state: _State, tick: datetime) -> None:
        job = state.job
        for retries in range(job.retry_count + 1):
            run = await self._attempt(job, tick, retries + 1)
            again = self.clock.now() + timedelta(seconds=job.backoff(retries))
            if run.ok or retries == job.retry_count or again >= job.next_tick(tick) or self._quiet(state):
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
            if not self._quiet(state):
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _attempt(self, job: Job, tick: datetime, attempt: int) -> Run:
        if self._client is None:
            self._client = outgoing_client()
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
