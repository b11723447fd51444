"""Grants that no node has confirmed yet (every minute): the retry of every `task_provision`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import functions_framework.aio

from lib import bootstrap, failpoints, log
from lib.db import StatementFailed
from lib.domain import health_snapshot, provisioning
from lib.nodes.converge import Nodes
from lib.settings import plain
from lib.sweeps import runner

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
    try:
        await _activate(run)
    finally:
        # the first alert of all, whatever became of the rest: access that is paid and that no node has
        late = await run.db.run(health_snapshot.overdue, _OVERDUE_S)
        if late.count:
            log.error("paid_not_applied", count=late.count, oldest_s=round(late.oldest_s))


async def _activate(run: Run) -> None:
    node = plain.first_node()
    if node:
        await run.db.run(provisioning.ensure_first_node, node.url, node.key_name, node.pins)
    nodes = Nodes(run.db, bootstrap.node_transport(), bootstrap.task_queue(), operation="activation")
    placed = _PAGE
    while placed == _PAGE and await run.next_page():
        # a page of what a new node lacks, then what is due: filling a node delays no other customer's key
        placed = await _place(run)
        failpoints.reach("activation.before-claim")
        await nodes.sweep(run, wanted=True)
    if await run.next_page() and await nodes.look(run):
        await nodes.sweep(run, wanted=True)


async def _place(run: Run) -> int:
    """A page of what nodes lack; how many subscriptions. One that can't be placed delays no other, in whatever page it stands."""
    try:
        return (await run.db.run(provisioning.place, subscription_id=None, page=_PAGE)).subscriptions
    except StatementFailed:
        await run.one_by_one(
            provisioning.to_be_placed,
            provisioning.FIRST_UNPLACED,
            _PAGE,
            lambda one: run.db.run(provisioning.place, subscription_id=one.id, page=1),
        )
        return 0
