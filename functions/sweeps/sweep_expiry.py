"""Access that ended, and clients that must still go from their nodes (every minute)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import functions_framework.aio

from lib import bootstrap, failpoints, log
from lib.domain import provisioning, subscriptions
from lib.nodes.converge import converge
from lib.sweeps import runner
from lib.tasks.enqueue import enqueue

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from lib.sweeps.runner import Run

_PAGE = 400


@functions_framework.aio.http
async def sweep_expiry(request: Request) -> Response:
    """See docs/interface.md, Responses."""
    return await runner.serve(request, _work)


async def _work(run: Run) -> None:
    """First end what is over, then bring the nodes to it: a node that hangs delays no customer's end in the books."""
    while await run.next_page():
        failpoints.reach("expiry.before-claim")
        told = await run.db.run(subscriptions.expire, _PAGE, log.correlation.get())
        if not told:
            break
        run.claimed += len(told)
        run.done += len(told)
        log.info("access_ended", count=len(told))
        await enqueue(bootstrap.task_queue(), told, after="expiry")
    while await run.next_page():
        works = await run.db.run(provisioning.claim_to_remove, uuid.uuid4(), _PAGE)
        failpoints.reach("expiry.after-claim")
        if not works:
            return
        result = await converge(
            run.db, bootstrap.http_client(), works, operation="expiry", correlation_id=log.correlation.get()
        )
        run.claimed += len(works)
        run.done += result.done
        run.failed += result.failed
