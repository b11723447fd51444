"""A paid webhook when every function on its way sleeps: each is started by what first calls it, as the platform does.

The queue's stand-in would find no process and come again with its backoff; the platform's front end holds a request until an instance
has started. So a queue is paused until its function answers, and the function is started when its first task is there.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

from bench import consumption
from bench.launch import UselessAnswerError, ask
from sandbox.processes.child import answers
from sandbox.system.customer import link_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bench.buyers import Paid
    from sandbox.system.system import System

_WEBHOOK = "cryptobot_webhook"
_FOLLOWS = {"nodes": "task_provision", "messages": "task_notify"}
_LOOK_S = 0.002
_GIVE_UP_S = 60.0


async def cold_key(system: System, paid: Paid) -> tuple[float, float]:
    """Seconds from the webhook to the key in the chat, and CPU seconds of the three functions by then.

    Raises:
        UselessAnswerError: the webhook did not settle.
        AssertionError: no key came.
    """
    await system.settled()
    asleep = [_WEBHOOK, *_FOLLOWS.values()]
    await system.fleet.stop(asleep)
    for queue in _FOLLOWS:
        system.tasks.pause(queue)
    began = time.perf_counter()
    async with asyncio.timeout(_GIVE_UP_S), asyncio.TaskGroup() as starting:
        for queue, target in _FOLLOWS.items():
            starting.create_task(_awake_with_first_task(system, queue, target))
        process = system.fleet.processes[_WEBHOOK][0]
        await process.launch()
        body = await asyncio.to_thread(ask, process.port, "POST", paid.body, paid.headers)
        if json.loads(body).get("outcome") != "settled":
            raise UselessAnswerError(f"the webhook answered {body[:300]!r}")
        await paid.user.wait_for(lambda messages: any(link_of(message) for message in messages), _GIVE_UP_S)
        took = time.perf_counter() - began
    cpu = consumption.cpu_s(process for target in asleep for process in system.fleet.processes[target])
    return took, cpu


async def _awake_with_first_task(system: System, queue: str, target: str) -> None:
    async def waiting() -> bool:
        return any(task.queue == queue for task in system.tasks.tasks.values())

    await _until(waiting)
    process = system.fleet.processes[target][0]
    await process.launch()
    await _until(lambda: answers(process.port))
    system.tasks.resume(queue)


async def _until(true: Callable[[], Awaitable[bool]]) -> None:
    while True:
        if await true():
            return
        await asyncio.sleep(_LOOK_S)
