"""Time that goes by as it would by itself: in steps, each followed by the sweeps that are due and by everything they cause.

`System.travel` jumps: afterwards all that should have happened meanwhile happens at once, the reminder with the end it was
to remind of. Here it happens in its order.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from sandbox.cloud.scheduler import Run, Scheduler
    from sandbox.system.system import System

STEP = timedelta(hours=1)
"""Whatever lies further apart than this happens in its order; a day of it takes some 5 s of real time."""
_SETTLED_WITHIN_S = 30.0
_TURNS = 20  # of the event loop
_STOPS = 60  # of one step; a call that is refused for ever and tried again every second must not make time stand still


@dataclass(slots=True)
class Progress:
    """How far it is.

    Attributes:
        duration: what was asked for.
        step: how much at a time.
        passed: sandbox time gone by so far.
        steps: steps made.
        sweeps: runs of sweeps that answered 200.
        failures: the last words of those that did not, by sweep.
        stopped: it was asked to stop before its end.
    """

    duration: timedelta
    step: timedelta
    passed: timedelta = timedelta(0)
    steps: int = 0
    sweeps: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    stopped: bool = False


async def pass_time(
    system: System,
    duration: timedelta,
    step: timedelta = STEP,
    *,
    told: Callable[[Progress], None] | None = None,
    stop: asyncio.Event | None = None,
) -> Progress:
    """Let `duration` of the sandbox's time go by.

    A step ends after `step`; on the way it pauses wherever a stand-in waits for a moment (a task's retry, a webhook's),
    until what follows from that has settled. At its end each job of the scheduler that had a tick meanwhile runs once, as
    after any gap (or as its faults say); one that is paused just then lets it pass. The scheduler itself fires nothing until all is
    over, whether it is on or off.

    Args:
        system: a started one.
        duration: more than nothing.
        step: more than nothing; what is left at the end may be less.
        told: is given the progress after each step, always the same object.
        stop: set, it ends after the step that it is in.

    Raises:
        ValueError: a duration that goes nowhere.
        AssertionError: what a step caused has not settled within 30 real seconds.
    """
    if duration <= timedelta(0) or step <= timedelta(0):
        raise ValueError("time goes forward only")
    progress = Progress(duration, step)
    began = system.clock.now()
    end = began + duration
    scheduler = system.scheduler
    with _held(scheduler):
        await system.settled(_SETTLED_WITHIN_S)
        while (seen := system.clock.now()) < end:
            if stop is not None and stop.is_set():
                progress.stopped = True
                break
            await _reach(system, min(seen + step, end))
            jobs = [name for name in scheduler.jobs if not scheduler.is_paused(name)]
            for runs in await asyncio.gather(*(scheduler.fire(name, seen) for name in jobs)):
                for run in runs:
                    _note(progress, run)
            await system.settled(_SETTLED_WITHIN_S)
            progress.steps += 1
            progress.passed = min(system.clock.now() - began, duration)
            if told is not None:
                told(progress)
    return progress


async def _reach(system: System, moment: datetime) -> None:
    """Travel to the moment by way of every earlier one that a stand-in sleeps until."""
    for _ in range(_STOPS):
        alarm = await _next_alarm(system)
        if alarm is None or alarm >= moment:
            break
        await _travel_to(system, alarm)
        await system.settled(_SETTLED_WITHIN_S)
    await _travel_to(system, moment)


async def _next_alarm(system: System) -> datetime | None:
    for _ in range(_TURNS):  # who has just finished gets to say what it waits for next
        await asyncio.sleep(0)
    return system.clock.next_alarm()


async def _travel_to(system: System, moment: datetime) -> None:
    left = moment - system.clock.now()
    if left > timedelta(0):  # the real seconds of the last step count too
        await asyncio.shield(system.travel(left))  # half of it would leave two clocks


@contextmanager
def _held(scheduler: Scheduler) -> Iterator[None]:
    scheduler.hold()
    try:
        yield
    finally:
        scheduler.let_go()


def _note(progress: Progress, run: Run) -> None:
    if run.ok:
        progress.sweeps += 1
    else:
        progress.failures[run.job] = run.reason
