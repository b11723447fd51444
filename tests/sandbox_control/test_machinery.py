"""What the control page says of queues: how long a task has been due, not how long it has been planned."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from google.cloud.tasks_v2.types import Task

from sandbox.clock import Clock
from sandbox.cloudtasks import CloudTasks, Queue
from sandbox.control.machinery import Machinery

if TYPE_CHECKING:
    from sandbox.system import System


def _plan(tasks: CloudTasks, after: timedelta) -> None:
    message: Any = Task.pb(Task())
    message.http_request.url = "http://127.0.0.1:1/nobody-listens"
    message.schedule_time.FromDatetime(tasks.clock.now() + after)
    tasks.create("projects/p/locations/l/queues/q", message)


async def test_a_task_is_old_from_when_it_was_due_and_a_retry_makes_it_no_younger() -> None:
    clock = Clock()
    tasks = CloudTasks([Queue("q", min_backoff=3600, max_backoff=3600)], clock=clock)
    machinery = Machinery(cast("System", SimpleNamespace(tasks=tasks, clock=clock)))

    def oldest_s() -> int:
        return cast("int", machinery.queues()[0]["oldest_s"])

    await tasks.start()
    try:
        _plan(tasks, timedelta(hours=2))
        clock.travel(timedelta(hours=1))
        assert oldest_s() == 0
        tasks.pause("q")
        clock.travel(timedelta(hours=2))
        assert 3600 <= oldest_s() < 3660
        tasks.resume("q")
        async with asyncio.timeout(10):
            while not any(attempt.duration is not None for attempt in tasks.attempts):
                await asyncio.sleep(0.01)
        clock.travel(timedelta(minutes=5))
        assert 300 <= oldest_s() < 360  # the next attempt is planned for later
    finally:
        await tasks.stop()
