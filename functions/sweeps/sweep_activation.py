"""Grants that no node has confirmed yet (every minute): the retry of every `task_provision`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import functions_framework.aio

from lib import bootstrap, failpoints, log
from lib.domain import health_snapshot, provisioning
from lib.nodes.converge import converge
from lib.settings import plain
from lib.sweeps import runner
from lib.tasks.enqueue import enqueue

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from lib.sweeps.runner import Run

_PAGE = 400
_OVERDUE_S = 60.0


@functions_framework.aio.http
async def sweep_activation(request: Request) -> Response:
    """See docs/interface.md, Responses."""
    return await runner.serve(request, _work)


async def _work(run: Run) -> None:
    await _activate(run)
    late = await run.db.run(health_snapshot.overdue, _OVERDUE_S)
    if late.count:
        # the first alert of all: a customer has paid access that no node has applied
        log.error("paid_not_applied", count=late.count, oldest_s=round(late.oldest_s))


async def _activate(run: Run) -> None:
    node = plain.first_node()
    if node:
        await run.db.run(provisioning.ensure_first_node, node.url, node.key_name)
    spread = _PAGE
    while spread == _PAGE and await run.next_page():
        # a page of what a new node lacks, then what is due: filling a node delays no customer's key
        spread = await run.db.run(provisioning.spread, subscription_id=None, page=_PAGE)
        await _apply(run)


async def _apply(run: Run) -> None:
    while await run.next_page():
        failpoints.reach("activation.before-claim")
        works = await run.db.run(provisioning.claim_to_add, uuid.uuid4(), _PAGE)
        failpoints.reach("activation.after-claim")
        if not works:
            return
        run.claimed += len(works)
        result = await converge(
            run.db, bootstrap.http_client(), works, operation="activation", correlation_id=log.correlation.get()
        )
        run.done += result.done
        run.failed += result.failed
        await enqueue(bootstrap.task_queue(), result.follow_up, after="activation")
