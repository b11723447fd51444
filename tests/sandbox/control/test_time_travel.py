"""Time that passes in steps: everything at its moment, nothing twice, and it can be stopped."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from google.cloud.tasks_v2.types import Task
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from sandbox.cloud.cloudtasks import CloudTasks, Queue
from sandbox.cloud.scheduler import Job, Scheduler
from sandbox.stand_in.server import Server
from sandbox.system.system import System
from sandbox.system.time_travel import pass_time
from tests.still_clock import StillClock
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from sandbox.system.time_travel import Progress

_HOUR = timedelta(hours=1)


class _Machinery:
    """The parts of a system that time passes for, around one function that writes down who came when."""

    def __init__(self) -> None:
        self.clock = StillClock()  # noon: what a daily job does depends on when a test begins
        self.came: list[tuple[str, datetime]] = []
        self.answers: dict[str, list[int]] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.server = Server(Starlette(routes=[Route("/{name}", self._function, methods=["POST"])]))
        self.tasks = CloudTasks([Queue("q", min_backoff=600, max_backoff=600)], clock=self.clock)
        far_off = self.clock.now() + timedelta(hours=12)  # whatever time of day the test runs at
        self.scheduler = Scheduler(
            [
                Job("minute", "* * * * *", f"{self.server.url}/minute"),
                Job("daily", f"0 {far_off.hour} * * *", f"{self.server.url}/daily"),
            ],
            clock=self.clock,
        )

    async def _function(self, request: Request) -> Response:
        name = request.path_params["name"]
        self.came.append((name, self.clock.now()))
        await self.gate.wait()
        planned = self.answers.get(name, [])
        return Response(status_code=planned.pop(0) if planned else 200)

    async def travel(self, by: timedelta) -> None:
        self.clock.travel(by)

    async def settled(self, timeout_s: float = 10.0) -> None:
        await self.tasks.idle(timeout_s)

    def plan(self, name: str, after: timedelta) -> None:
        message: Any = Task.pb(Task())
        message.http_request.url = f"{self.server.url}/{name}"
        message.schedule_time.FromDatetime(self.clock.now() + after)
        self.tasks.create("projects/p/locations/l/queues/q", message)

    def hours(self, name: str, since: datetime) -> list[float]:
        return [round((when - since) / _HOUR, 2) for who, when in self.came if who == name]


@asynccontextmanager
async def _machinery() -> AsyncIterator[tuple[_Machinery, System]]:
    made = _Machinery()
    await made.server.start()
    await made.tasks.start()
    yield made, cast("System", made)
    await made.scheduler.stop()
    await made.tasks.stop()
    await made.server.stop()


@pytest.mark.parametrize("scheduler_on", [False, True])
async def test_a_day_of_hours_fires_each_job_when_it_is_due_and_once(scheduler_on: bool) -> None:  # noqa: FBT001 - a parameter
    async with _machinery() as (made, system):
        if scheduler_on:
            await made.scheduler.start()
        began = made.clock.now()
        seen: list[timedelta] = []
        progress = await pass_time(system, timedelta(days=1), told=lambda now: seen.append(now.passed))
        assert made.hours("minute", began) == [float(hour) for hour in range(1, 25)]
        assert len(made.hours("daily", began)) == 1
        assert (progress.steps, progress.sweeps, progress.failures, progress.stopped) == (24, 25, {}, False)
        assert timedelta(hours=24) <= made.clock.now() - began < timedelta(hours=24, minutes=1)
        assert len(seen) == 24
        assert seen == sorted(seen)
        assert not made.scheduler.is_paused("minute")


async def test_what_is_planned_between_steps_happens_at_its_moment_its_retries_too() -> None:
    async with _machinery() as (made, system):
        began = made.clock.now()
        made.answers["late"] = [500, 500]
        made.plan("late", timedelta(minutes=90))
        await pass_time(system, timedelta(hours=3))
        assert made.hours("late", began) == [1.5, 1.67, 1.83]  # ten minutes' backoff
        order = [name for name, _ in made.came]
        assert order == ["minute", "late", "late", "late", "minute", "minute"]


async def test_a_paused_job_lets_it_pass_and_stays_paused() -> None:
    async with _machinery() as (made, system):
        made.scheduler.pause("minute")
        await pass_time(system, timedelta(hours=2))
        assert [name for name, _ in made.came if name == "minute"] == []
        assert made.scheduler.is_paused("minute")


async def test_the_scheduler_is_held_meanwhile_and_no_job_is_paused() -> None:
    async with _machinery() as (made, system):
        await made.scheduler.start()
        began = made.clock.now()
        seen: list[tuple[bool, bool]] = []

        def told(_now: Progress) -> None:
            seen.append((made.scheduler.held, made.scheduler.is_paused("minute")))
            made.scheduler.resume("minute")  # as a person may; the schedule keeps quiet

        await pass_time(system, timedelta(hours=3), told=told)
        assert seen == [(True, False)] * 3
        assert made.hours("minute", began) == [1.0, 2.0, 3.0]
        assert not made.scheduler.held

        def another_minute_has_its_tick() -> bool:  # it counts ticks from when it notices
            made.clock.travel(timedelta(minutes=1))
            return len(made.hours("minute", began)) >= 4

        await until(another_minute_has_its_tick)


async def test_switching_the_scheduler_off_meanwhile_cuts_no_sweep() -> None:
    async with _machinery() as (made, system):
        await made.scheduler.start()
        made.gate.clear()
        travelling = asyncio.create_task(pass_time(system, _HOUR))
        await until(lambda: made.came)
        await System.switch_scheduler(system, on=False)
        made.gate.set()
        progress = await travelling
        assert (len(made.hours("minute", made.clock.now())), progress.failures) == (1, {})


async def test_ticks_that_are_to_be_missed_or_doubled_are() -> None:
    async with _machinery() as (made, system):
        began = made.clock.now()
        made.scheduler.miss_next("minute")
        await pass_time(system, timedelta(hours=2))
        assert made.hours("minute", began) == [2.0]
        made.scheduler.double_next("minute")
        progress = await pass_time(system, timedelta(hours=2))
        assert made.hours("minute", began) == [2.0, 3.0, 3.0, 4.0]
        assert progress.sweeps == 3


async def test_it_stops_after_the_step_that_it_is_in_and_says_so() -> None:
    async with _machinery() as (made, system):
        stop = asyncio.Event()

        def told(now: Progress) -> None:
            if now.steps == 2:
                stop.set()

        began = made.clock.now()
        progress = await pass_time(system, timedelta(days=30), told=told, stop=stop)
        assert progress.stopped
        assert progress.steps == 2
        assert made.clock.now() - began < timedelta(hours=3)


async def test_a_sweep_that_fails_is_named_and_time_goes_on() -> None:
    async with _machinery() as (made, system):
        made.answers["minute"] = [503]
        progress = await pass_time(system, timedelta(hours=2))
        assert progress.failures == {"minute": "HTTP status code 503"}
        assert made.hours("minute", made.clock.now() - timedelta(hours=2)) == [1.0, 2.0]


@pytest.mark.parametrize(("duration", "step"), [(0, 1), (-1, 1), (1, 0)])
async def test_time_that_goes_nowhere_is_refused(duration: int, step: int) -> None:
    async with _machinery() as (_, system):
        with pytest.raises(ValueError, match="forward"):
            await pass_time(system, timedelta(hours=duration), timedelta(hours=step))


async def test_a_jump_whose_answer_was_lost_is_made_up_for_by_the_next() -> None:
    ahead = timedelta(0)
    lost = [True, False]

    def travel(by: timedelta) -> timedelta:
        nonlocal ahead
        ahead += by
        if lost.pop(0):
            raise ConnectionResetError("killed after the commit")
        return ahead

    clock = StillClock()
    system = cast(
        "System",
        SimpleNamespace(
            clock=clock, database=SimpleNamespace(travel=travel), nodes=SimpleNamespace(set_clocks=lambda _: None)
        ),
    )
    with pytest.raises(ConnectionResetError):
        await System.travel(system, _HOUR)
    await System.travel(system, _HOUR)
    assert clock.offset == ahead == 2 * _HOUR
