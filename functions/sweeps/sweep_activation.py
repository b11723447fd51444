"""Grants that no node has confirmed yet (every minute): the retry of every `task_provision`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import functions_framework.aio

from lib import bootstrap, failpoints, log
from lib.db import StatementFailed
from lib.domain import freezing, health_snapshot, provisioning
from lib.nodes.converge import Nodes
from lib.settings import plain
from lib.sweeps import runner
from lib.tasks.enqueue import enqueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from lib.db import Transaction
    from lib.domain.freezing import Thawed
    from lib.domain.provisioning import Paged
    from lib.sweeps.runner import Run

_PAGE = 400
_MOST_TAKEN_OFF = 25
"""Pages of a draining node's customers in one run: where none can be taken off, the next run goes on after them."""
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
    await _thaw(run)
    nodes = Nodes(run.db, bootstrap.node_transport(), bootstrap.task_queue(), operation="activation")
    await _fill(run, nodes)
    if await run.next_page() and await nodes.look(run):
        await _fill(run, nodes)


async def _fill(run: Run, nodes: Nodes) -> None:
    """A page of what nodes lack or lost, and of what is taken off them, then what is due: no node's filling delays another customer's key."""
    pages, full = 0, True
    while full and await run.next_page():
        full = await _place(run)
        for node_id in await run.db.run(provisioning.that_lost_state):
            full |= await _paged(run, node_id, provisioning.forget, provisioning.pass_over_forget)
        for node_id in await run.db.run(provisioning.draining) if pages < _MOST_TAKEN_OFF else ():
            full |= await _paged(run, node_id, provisioning.take_off, provisioning.pass_over_take_off)
        pages += 1
        failpoints.reach("activation.before-claim")
        await nodes.sweep(run, wanted=True)


async def _thaw(run: Run) -> None:
    """Freezes that are over: their clients are due at once, for what follows."""
    try:
        while await run.next_page():
            thawed = await run.db.run(freezing.thaw_due, _PAGE, log.correlation.get())
            if not thawed.count:
                break
            await _tell(run, thawed)
    except StatementFailed:
        await run.one_by_one(freezing.due_to_thaw, 0, _PAGE, lambda one: _thaw_one(run, one))


async def _thaw_one(run: Run, subscription_id: int) -> None:
    await _tell(run, await run.db.run(freezing.thaw_one_due, subscription_id, log.correlation.get()))


async def _tell(run: Run, thawed: Thawed) -> None:
    run.claimed += thawed.count
    run.done += thawed.count
    log.info("access_thawed", count=thawed.count)
    await enqueue(bootstrap.task_queue(), thawed.follow_up, after="activation")


async def _paged(
    run: Run,
    node_id: int,
    work: Callable[[Transaction, int, int], Paged],
    pass_over: Callable[[Transaction, int], None],
) -> bool:
    """A page of one node's customers; whether it was full. One whose row refuses it stops no other."""
    try:
        return (await run.db.run(work, node_id, _PAGE)).looked_at == _PAGE
    except StatementFailed:
        return await _one_by_one(run, node_id, work, pass_over)


async def _one_by_one(
    run: Run,
    node_id: int,
    work: Callable[[Transaction, int, int], Paged],
    pass_over: Callable[[Transaction, int], None],
) -> bool:
    for _ in range(_PAGE):
        looked_at = 1
        async with run.item(node_id=node_id):
            try:
                looked_at = (await run.db.run(work, node_id, 1)).looked_at
            except StatementFailed:
                await run.db.run(pass_over, node_id)
                raise
        if not looked_at:
            return False
    return True


async def _place(run: Run) -> bool:
    """A page of what nodes lack; whether it was full. One that can't be placed delays no other, in whatever page it stands."""
    try:
        return (await run.db.run(provisioning.place, subscription_id=None, page=_PAGE)).subscriptions == _PAGE
    except StatementFailed:
        await run.one_by_one(
            provisioning.to_be_placed,
            provisioning.FIRST_UNPLACED,
            _PAGE,
            lambda one: run.db.run(provisioning.place, subscription_id=one.id, page=1),
        )
        return False
