"""Access that ended, and clients that must still go from their nodes (every minute)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import functions_framework.aio

from lib import bootstrap, failpoints, log
from lib.db import StatementFailed
from lib.domain import subscriptions
from lib.nodes.converge import Nodes
from lib.sweeps import runner
from lib.tasks.enqueue import enqueue

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from lib.domain.subscriptions import Ended
    from lib.sweeps.runner import Run

_PAGE = 400


@functions_framework.aio.http
async def sweep_expiry(request: Request) -> Response:
    """See docs/interface.md, Responses."""
    return await runner.serve(request, _work)


async def _work(run: Run) -> None:
    """First end what is over, then bring the nodes to it: a node that hangs delays no end in the books."""
    try:
        while await run.next_page():
            failpoints.reach("expiry.before-claim")
            ended = await run.db.run(subscriptions.expire, _PAGE, log.correlation.get())
            if not ended.count:
                break
            await _tell(run, ended)
    except StatementFailed:
        # a page is one statement: a row that it can't be done for is found, and passed over, one by one
        await run.one_by_one(subscriptions.due_to_expire, 0, _PAGE, lambda one: _end_one(run, one))
    nodes = Nodes(run.db, bootstrap.node_transport(), bootstrap.task_queue(), operation="expiry")
    await nodes.sweep(run, wanted=False)


async def _end_one(run: Run, subscription_id: int) -> None:
    await _tell(run, await run.db.run(subscriptions.expire_one, subscription_id, log.correlation.get()))


async def _tell(run: Run, ended: Ended) -> None:
    run.claimed += ended.count
    run.done += ended.count
    log.info("access_ended", count=ended.count, told=len(ended.follow_up))
    await enqueue(bootstrap.task_queue(), ended.follow_up, after="expiry")
