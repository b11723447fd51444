"""Converge one subscription on its nodes, then send its key (queue `nodes`)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import functions_framework.aio

from lib import bootstrap, failpoints
from lib.domain import outbox, provisioning
from lib.nodes.converge import Nodes
from lib.settings import plain
from lib.web import task

if TYPE_CHECKING:
    from uuid import UUID

    from starlette.requests import Request
    from starlette.responses import Response

    from lib.db import Transaction
    from lib.domain.provisioning import Claimed
    from lib.settings.plain import FirstNodeSettings


@functions_framework.aio.http
async def task_provision(request: Request) -> Response:
    """Body: `outbox_id`, `subscription_id`."""
    return await task.serve(request, ("outbox_id", "subscription_id"), _provision)


def claim(
    tx: Transaction, outbox_id: int, subscription_id: int, me: UUID, first_node: FirstNodeSettings | None
) -> list[Claimed]:
    """What nodes still have to learn about the subscription, ours alone for the length of a lease.

    Nothing when this work is done: a second task of it is not to call a node that is down once more. Nothing to do
    finishes it here.
    """
    if not outbox.is_open(tx, outbox_id):
        return []
    provisioning.place(tx, subscription_id=subscription_id, page=1)
    claims = provisioning.claim_subscription(tx, subscription_id, me)
    if not claims and first_node is not None:  # perhaps there is no node at all yet, which is so once in a shop's life
        provisioning.ensure_first_node(tx, first_node.url, first_node.key_name, first_node.pins)
        provisioning.place(tx, subscription_id=subscription_id, page=1)
        claims = provisioning.claim_subscription(tx, subscription_id, me)
    if not claims:
        outbox.finish_with_commit(tx, outbox_id)
    return claims


async def _provision(body: dict[str, Any]) -> dict[str, Any]:
    db = bootstrap.database()
    first_node = plain.first_node()
    failpoints.reach("activation.before-claim")
    claims = await db.run(claim, body["outbox_id"], body["subscription_id"], uuid.uuid4(), first_node)
    failpoints.reach("activation.after-claim")
    # What a node refused has its own next time now, and sweep_activation is its retry: this task is over either way.
    nodes = Nodes(db, bootstrap.node_transport(), bootstrap.budgeted_queue(), operation="activation")
    result = await nodes.converge_each(claims, finishes=body["outbox_id"])
    return {"applied": result.done, "put_off": result.failed}
