"""From a committed outbox row to a task. Failing here loses nothing: `sweep_outbox` makes what was not made."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from lib import failpoints, function_table, log
from lib.domain import outbox
from lib.tasks.queue import QueueUnavailable, Task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lib.db import Database
    from lib.domain.outbox import Item
    from lib.tasks.queue import TaskQueue

_AT_ONCE = 16


def task_of(item: Item) -> Task:
    """The task of an outbox row; its name makes a second one impossible."""
    function = function_table.load().functions[item.target]
    return Task(
        queue=item.queue,
        name=item.task_name,
        service=function.service,
        body=json.dumps(item.body).encode(),
        deadline_s=function.deadline_s or function.timeout_s,
        at=item.not_before,
    )


async def enqueue(queue: TaskQueue, items: Iterable[Item], *, after: str) -> list[Item]:
    """Make the tasks, several at once; the items whose task exists now.

    `after` names the committed work, for its failpoint: a crash right here is what `sweep_outbox` is for.
    """
    failpoints.reach(f"{after}.after-commit")
    gate = asyncio.Semaphore(_AT_ONCE)
    made: list[Item] = []

    async def make(item: Item) -> None:
        async with gate:
            try:
                await queue.create(task_of(item))
            except QueueUnavailable as error:
                log.warning("enqueue_failed", outbox_id=item.id, queue=item.queue, error=str(error))
            except Exception as error:  # noqa: BLE001 -- a row that no task can be made of (of a later release, say) must not stop the others
                log.exception("enqueue_failed", outbox_id=item.id, queue=item.queue, error=type(error).__name__)
            else:
                made.append(item)

    await asyncio.gather(*(make(item) for item in items))
    return made


async def enqueue_put_off(db: Database, queue: TaskQueue, item: Item | None) -> None:
    """Let the queue itself bring back work that was put off briefly while a customer waits (flood control).

    A person who waits for a key is not to wait for the next minute's sweep. Failing here, or a crash, leaves it to the sweep.
    """
    if item is not None:
        await db.run(outbox.mark_enqueued, await enqueue(queue, [item], after="put-off"))
