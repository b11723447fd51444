"""Cloud Tasks and Cloud Scheduler of a run: at least once, late, refused; by the queues and schedules of the table."""

from __future__ import annotations

import asyncio
from datetime import UTC
from typing import TYPE_CHECKING

from lib import function_table
from lib.tasks.queue import QueueUnavailable
from simulation import processes

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from lib.tasks.queue import Task
    from simulation.event_log import EventLog
    from simulation.faults import Faults
    from simulation.functions import Functions
    from simulation.virtual_time import RunClock

_DISPATCH_S = 0.3
_LATE_S = 120.0
_OK = 200


class Queues:
    """In place of `lib.tasks.queue.TaskQueue`.

    Attributes:
        under_way: tasks that were made and are neither done nor given up.
    """

    def __init__(
        self, targets: Functions, faults: Faults, dice: random.Random, clock: RunClock, events: EventLog
    ) -> None:
        self._targets = targets
        self._faults = faults
        self._dice = dice
        self._clock = clock
        self._events = events
        self._names: set[str] = set()
        self._running: set[asyncio.Task[None]] = set()

    @property
    def under_way(self) -> int:
        """See above."""
        return len(self._running)

    async def create(self, task: Task) -> bool:
        """See `TaskQueue`."""
        processes.assert_alive()
        if self._faults.happens("task_refused"):
            if self._dice.random() < 0.5:  # noqa: PLR2004 -- half of them were made, and the answer lost
                self._make(task)
            raise QueueUnavailable("no answer")
        return self._make(task)

    def _make(self, task: Task) -> bool:
        if task.name in self._names:
            return False
        self._names.add(task.name)
        for _ in range(2 if self._faults.happens("task_twice") else 1):
            # without the context of the process that made it: it lives on when that dies
            running = asyncio.get_running_loop().create_task(self._deliver(task), context=_OUTSIDE.copy())
            self._running.add(running)
            running.add_done_callback(self._running.discard)
        return True

    async def _deliver(self, task: Task) -> None:
        queue = function_table.load().queues[task.queue]
        if task.at is not None:
            await asyncio.sleep(max(0.0, (task.at.astimezone(UTC) - self._clock.now()).total_seconds()))
        await asyncio.sleep(self._dice.uniform(0, _LATE_S if self._faults.happens("task_late") else _DISPATCH_S))
        began, pause = asyncio.get_running_loop().time(), queue.min_backoff_s
        for attempt in range(1, 1_000):
            answer = await self._targets.call(task.service.replace("-", "_"), task.body)
            if answer.status == _OK:
                return
            spent = asyncio.get_running_loop().time() - began
            if attempt >= queue.max_attempts and spent >= queue.max_retry_s:
                self._events.write(task.service, "task given up")
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, queue.max_backoff_s)


class Ticks:
    """The scheduler: between two ticks passes a minute or a whole rest, as the seed has it; each runs what would have run since.

    A shop in which nothing goes on looks the same after each of a hundred minutes; what is worth a tick is when one is late.
    """

    def __init__(
        self, targets: Functions, faults: Faults, dice: random.Random, clock: RunClock, longest_s: float
    ) -> None:
        self._targets = targets
        self._faults = faults
        self._dice = dice
        self._clock = clock
        self._longest_s = longest_s
        self._last: dict[str, int] = {}
        self._running: set[asyncio.Task[object]] = set()
        self.count = 0

    def due(self) -> list[str]:
        """Sweeps of which at least one tick of their schedule has come since they last ran."""
        now = int(self._clock.now().timestamp())
        found = []
        for row in function_table.load().functions.values():
            if row.trigger != "schedule" or row.name == "export_ledger":
                continue
            slot = now // (row.period_s or 60)
            if self._last.get(row.name) != slot:
                self._last[row.name] = slot
                found.append(row.name)
        return found

    async def run(self, sweeps: Sequence[str]) -> None:
        """These at once, and wait for their end."""
        self.count += 1
        at = self._clock.now().isoformat()
        works = []
        for name in sweeps:
            if self._faults.happens("tick_lost"):
                continue
            copies = 2 if self._faults.happens("tick_twice") else 1
            works += [self._targets.call(name, b"", {"X-CloudScheduler-ScheduleTime": at}) for _ in range(copies)]
        await asyncio.gather(*works)

    def pause_s(self) -> float:
        """Until the next tick: to a full minute."""
        wanted = self._dice.choice((60.0, 300.0, self._longest_s / 2, self._longest_s, self._longest_s))
        now = self._clock.now().timestamp()
        return max(1.0, (int((now + wanted) // 60) * 60) - now)


_OUTSIDE = __import__("contextvars").Context()
"""Of what no process does."""

__all__ = ["Queues", "Ticks"]
