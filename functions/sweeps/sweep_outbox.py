"""Follow-up work whose task was never made, or was and is not done (every minute); prunes rows past their retention."""

from __future__ import annotations

from typing import TYPE_CHECKING

import functions_framework.aio

from lib import bootstrap, function_table, log
from lib.domain import outbox, retention
from lib.sweeps import runner
from lib.tasks.enqueue import enqueue

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from lib.domain.outbox import Item
    from lib.function_table import Queue
    from lib.sweeps.runner import Run

_PAGE = 500
_FRESH_S = 30.0
"""Younger rows are still being enqueued by the process that committed them."""
_AGAIN_S = 30.0
"""A run drives again no more than a queue dispatches in so many seconds."""


@functions_framework.aio.http
async def sweep_outbox(request: Request) -> Response:
    """See docs/interface.md, Responses."""
    return await runner.serve(request, _work)


async def _work(run: Run) -> None:
    for step in (_enqueue_forgotten, _drive_again, _prune):
        async with run.item(step=step.__name__.strip("_")):
            await step(run)


async def _enqueue_forgotten(run: Run) -> None:
    after = 0
    while await run.next_page():
        items = await run.db.run(outbox.never_enqueued, after, _PAGE, _FRESH_S)
        if not items:
            return
        await _enqueue(run, items)
        after = items[-1].id


async def _drive_again(run: Run) -> None:
    table = function_table.load()
    for queue in table.worked_queues():
        if not await run.next_page():
            return
        async with run.item(queue=queue.name):
            await _drive_again_on(run, queue, table.window_s(queue.name))


async def _drive_again_on(run: Run, queue: Queue, window_s: float) -> None:
    page = min(_PAGE, int(queue.rate_per_second * _AGAIN_S))
    items = await run.db.run(outbox.stuck, queue.name, page, window_s)
    if not items:
        return
    log.info("outbox_driven_again", queue=queue.name, count=len(items))
    await _enqueue(run, items)


async def _enqueue(run: Run, items: list[Item]) -> None:
    """Make their tasks; what the queue refused is found again by the next pass."""
    made = await enqueue(bootstrap.task_queue(), items, after="outbox")
    if made:
        await run.db.run(outbox.mark_enqueued, made)
    run.claimed += len(items)
    run.done += len(made)
    run.failed += len(items) - len(made)


async def _prune(run: Run) -> None:
    for rule in retention.RULES:
        async with run.item(table=rule.table):
            total, gone = 0, _PAGE
            while gone == _PAGE and await run.next_page():
                gone = await run.db.run(retention.prune, rule, _PAGE)
                total += gone
            if total:
                log.info("pruned", table=rule.table, rows=total)
