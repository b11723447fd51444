"""Settle one payment event that could not be settled when it came (queue `payments`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import functions_framework.aio

from lib import bootstrap
from lib.domain import inbox
from lib.payments import registry
from lib.payments.reporting import report
from lib.settings import pricelist
from lib.tasks.enqueue import enqueue
from lib.web import task

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


@functions_framework.aio.http
async def task_settle(request: Request) -> Response:
    """Body: `outbox_id`, `event_id`. 500 while it still can't be settled: the queue retries, then `sweep_outbox` does."""
    return await task.serve(request, ("outbox_id", "event_id"), _settle)


async def _settle(body: dict[str, Any]) -> dict[str, Any]:
    db = bootstrap.database()
    stored = await db.run(inbox.read_event, body["event_id"])
    if stored is None:
        raise task.Poisoned("no such event")
    event = registry.read_again(stored)
    received = await db.run(inbox.settle_again, body["event_id"], event, pricelist.load(), body["outbox_id"])
    report(event.provider, "task", received)
    await enqueue(bootstrap.task_queue(), received.follow_up, after="settle")
    return {"outcome": received.outcome}
