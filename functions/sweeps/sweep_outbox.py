"""Follow-up work whose task was never made, or was and is not done (every minute); prunes rows past their retention.

It also looks after what else would go wrong unseen, and says so in lines that are counted: work that is overdue all the same,
connections that run short, deliveries of Telegram that are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import functions_framework.aio

from lib import bootstrap, function_table, log
from lib.db import StatementFailed
from lib.domain import health_snapshot, outbox, retention, webhook_state
from lib.settings import plain
from lib.sweeps import runner
from lib.tasks.enqueue import enqueue
from lib.telegram import webhook_info

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
OVERDUE_S = 600.0
"""What is due for longer than any queue takes to retry, and the sweep to drive it again, is stuck."""
_SHORT_SHARE, _FULL_SHARE = 0.8, 0.9
"""So many open are told: of what functions may open together by the table, and of what the server takes."""


@functions_framework.aio.http
async def sweep_outbox(request: Request) -> Response:
    """See docs/interface.md, Responses."""
    return await runner.serve(request, _work)


async def _work(run: Run) -> None:
    for step in (_enqueue_forgotten, _drive_again, _tell_overdue, _tell_connections, _look_at_webhook, _prune):
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


async def _tell_overdue(run: Run) -> None:
    for queue in function_table.load().worked_queues():
        late = await run.db.run(outbox.overdue, queue.name, _PAGE, OVERDUE_S)
        if late.count:
            log.error("outbox_overdue", queue=queue.name, count=late.count, oldest_s=round(late.oldest_s))


async def _tell_connections(run: Run) -> None:
    """How many are open, against what the functions may open together, and what the server takes."""
    found = await run.db.run(health_snapshot.connections)
    may_be_open = function_table.load().connection_sum
    figures = {"in_use": found.in_use, "may_be_open": may_be_open, "limit": found.limit}
    if found.in_use > min(_SHORT_SHARE * may_be_open, _FULL_SHARE * found.limit):
        log.error("connections_short", **figures)
    else:
        log.info("connections_in_use", **figures)


async def _look_at_webhook(run: Run) -> None:
    """Ask Telegram whether it can deliver: from within, a bot that hears nothing looks like one that no customer writes to."""
    try:
        looked = await webhook_info.ask(bootstrap.http_client(), plain.telegram())
    except webhook_info.NoAnswer as error:
        log.warning("webhook_not_looked_at", error=str(error))
        return
    state = await run.db.run(webhook_state.note, looked)
    if state.refused:
        log.error(
            "telegram_deliveries_refused",
            pending=state.pending,
            webhook=state.is_set,
            error=state.last_error,
            since_s=round(state.refused_s or 0),
        )


async def _enqueue(run: Run, items: list[Item]) -> None:
    """Make their tasks; what the queue refused is found again by the next pass."""
    made = await enqueue(bootstrap.task_queue(), items, after="outbox")
    if made:
        await run.db.run(outbox.mark_enqueued, made)
    run.claimed += len(items)
    run.done += len(made)
    run.failed += len(items) - len(made)


async def _prune(run: Run) -> None:
    try:
        due = await run.db.run(retention.due)
    except StatementFailed:
        due = list(retention.RULES)  # one can't even be looked at: each by itself
    for rule in due:
        async with run.item(table=rule.table):
            total, gone = 0, _PAGE
            while gone == _PAGE and await run.next_page():
                gone = await run.db.run(retention.prune, rule, _PAGE)
                total += gone
            if total:
                log.info("pruned", table=rule.table, rows=total)
