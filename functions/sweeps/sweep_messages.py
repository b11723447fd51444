"""Reminders before access ends, and a trial's messages (every five minutes; product.md#messages)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import functions_framework.aio

from lib import bootstrap, failpoints, log
from lib.db import StatementFailed
from lib.domain import outbox, reminders
from lib.settings import plain, pricelist
from lib.sweeps import runner
from lib.tasks.enqueue import enqueue

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from lib.domain.reminders import Looked
    from lib.sweeps.runner import Run

_PAGE = 500
_MOST = 240 * reminders.PER_SECOND
"""Messages of one run: what is sent before the next. The rest is due still, and Telegram takes no more for any hurry."""


@functions_framework.aio.http
async def sweep_messages(request: Request) -> Response:
    """See docs/interface.md, Responses."""
    return await runner.serve(request, _work)


async def _work(run: Run) -> None:
    told = _Told(run)
    try:
        while told.count < _MOST and await run.next_page():
            failpoints.reach("messages.before-claim")
            looked = await run.db.run(reminders.look_at, _PAGE, told.terms, told.count)
            if not looked.count:
                return
            await told.hand_on(looked)
    except StatementFailed:
        # a page is one statement: a row that it can't be done for is found, and passed over, one by one
        await run.one_by_one(reminders.due, 0, _PAGE, told.one)


class _Told:
    """What a run has queued so far."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.terms = reminders.Terms(pricelist.load(), plain.zone().key, log.correlation.get())
        self.count = 0

    async def one(self, subscription_id: int) -> None:
        if self.count < _MOST:
            await self.hand_on(await self._run.db.run(reminders.look_at_one, subscription_id, self.terms, self.count))

    async def hand_on(self, looked: Looked) -> None:
        """Tasks with a time of their own each: what the queue refuses is made by `sweep_outbox` when it is due."""
        self.count += len(looked.follow_up)
        self._run.claimed += looked.count
        self._run.done += looked.count
        if not looked.follow_up:
            return
        made = await enqueue(bootstrap.task_queue(), looked.follow_up, after="messages")
        if made:
            await self._run.db.run(outbox.mark_enqueued, made)
        log.info("reminders_queued", count=len(looked.follow_up))
