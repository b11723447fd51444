"""What the control page says of queues and functions, at odd moments too."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from google.cloud.tasks_v2.types import Task

from sandbox.cloud.cloudtasks import CloudTasks, Queue
from sandbox.control.actions import Actions
from sandbox.control.asking import RefusedError
from sandbox.control.machinery import Machinery
from sandbox.processes.child import Process, bare_environment
from sandbox.stand_in.clock import Clock
from sandbox.state.ports import free_port
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

    from sandbox.control.time_travel import TimeTravel
    from sandbox.system.system import System


def _plan(tasks: CloudTasks, after: timedelta) -> None:
    message: Any = Task.pb(Task())
    message.http_request.url = "http://127.0.0.1:1/not-listening"
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
        await until(lambda: any(attempt.duration is not None for attempt in tasks.attempts))
        clock.travel(timedelta(minutes=5))
        assert 300 <= oldest_s() < 360  # the next attempt is planned for later
    finally:
        await tasks.stop()


async def test_a_function_whose_start_has_just_begun_is_shown_and_is_not_frozen(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    process = Process(argv, cwd=tmp_path, env=bare_environment({}), log=tmp_path / "log", port=free_port())
    fleet = SimpleNamespace(chosen=lambda: [process], processes={"health": [process]})
    system = cast("System", SimpleNamespace(fleet=fleet, gateway=SimpleNamespace(passed=[])))
    machinery, actions = Machinery(system), Actions(system, cast("TimeTravel", None))
    freezing = cast("Request", SimpleNamespace(path_params={"name": "health", "instance": 0, "what": "freeze"}))
    launching = asyncio.create_task(process.launch())
    try:
        async with asyncio.timeout(10):
            while not process.running:
                await asyncio.sleep(0)
        machinery.look()
        (shown,) = machinery.functions()
        assert (shown["state"], shown["pid"], shown["workers"]) == ("up", None, [])
        with pytest.raises(RefusedError, match="just begun"):
            await actions.function(freezing)
        await launching
        machinery.look()
        (shown,) = machinery.functions()
        assert shown["pid"] == process.pid
    finally:
        await process.kill()
