"""Compare what nodes list with what Postgres wants, and mend it (`lib.domain.reconcile_nodes`); no transaction is open during a call.

Its calls count for a breaker of their own: a node that lists slowly is let alone by this sweep and goes on taking grants.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from lib import failpoints, log, side_by_side
from lib.domain import reconcile_nodes
from lib.domain.reconcile_nodes import Stretch
from lib.nodes import keys
from lib.nodes.client import NodeClient
from lib.nodes.transport import NodeError
from lib.settings import plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from lib.db import Database
    from lib.domain.provisioning import Node
    from lib.nodes.transport import Transport
    from lib.sweeps.runner import Run

T = TypeVar("T")
PAGE = 1000
"""Clients a call; the most that a node lists at once (docs/node.md)."""
_ROWS = 2 * PAGE
_NODES_AT_ONCE = 16
_END = 1
"""What a cursor says of a node whose list was read to its end by an earlier run of the same tick."""


@dataclass(slots=True)
class _Found:
    """What one node's list came to."""

    clients: int = 0
    orphan: int = 0
    taken_back: int = 0
    others: int = 0


@dataclass(slots=True)
class Reconciling:
    """One run over every node.

    Attributes:
        silent: ids of nodes that did not answer; they are asked nothing more in this run.
    """

    db: Database
    transport: Transport
    run: Run
    silent: set[int] = field(default_factory=set)

    async def every_node(self) -> None:
        """Compare every node that may be asked, several at once; then remove what is due, in the run that ends the tick's lists.

        Raises:
            Unavailable, lib.db.lock.LockLost: Postgres is the trouble; every node's work had its turn.
        """
        nodes = await self.db.run(reconcile_nodes.may_be_listed)
        gate = asyncio.Semaphore(_NODES_AT_ONCE)

        async def one(node: Node) -> None:
            async with gate, self.run.item(node_id=node.id):
                await self._compare(node)

        await side_by_side.all_of(one(node) for node in nodes)
        if not self.run.more:
            await self._remove(nodes)

    async def _compare(self, node: Node) -> None:
        """Page by page, from where an earlier run of this tick stopped."""
        at, ended = f"node {node.id}", f"node {node.id} ended"
        if ended in self.run.cursors:
            return
        found = _Found()
        after = str(self.run.cursors.get(at, ""))
        while await self.run.next_page():
            page = await self._call(node, lambda client, after=after: client.page(after, PAGE))  # type: ignore[misc] # bound now
            if page is None:
                return
            stretch = Stretch(node.id, after, page.last, page.clients)
            found.orphan += await self.db.run(reconcile_nodes.note, stretch)
            found.taken_back += await self._take_back(node, stretch)
            found.others += len(page.others)
            found.clients += len(page.clients)
            self.run.claimed += len(page.clients)
            self.run.done += len(page.clients)
            if page.clients:
                # a cursor is a number: of a page that ends among others' names, the last of Atlas's, which stands before them
                self.run.cursors[at] = page.clients[-1].client
            if page.last is None:
                self.run.cursors[ended] = _END
                await self.db.run(reconcile_nodes.answered, node.id)
                break
            after = page.last
        self._tell(node, found)

    async def _take_back(self, node: Node, stretch: Stretch) -> int:
        """Page by page as well: a node that holds nothing leaves a stretch of all its rows."""
        taken = 0
        while await self.run.next_page():
            page = await self.db.run(reconcile_nodes.take_back, stretch, node.asked_at, _ROWS)
            taken += page.taken
            if page.looked < _ROWS or page.last is None:
                break
            stretch = Stretch(stretch.node_id, page.last, stretch.last, stretch.listed)
        return taken

    async def _remove(self, nodes: Sequence[Node]) -> None:
        """Orphans past their grace, no more than a run may, of the nodes that answered."""
        known = await self.db.run(reconcile_nodes.orphan_count)
        if known > reconcile_nodes.MOST_REMOVALS:
            log.error("reconcile_orphan_clients", count=known, most=reconcile_nodes.MOST_REMOVALS)
        by_id = {node.id: node for node in nodes if node.id not in self.silent}
        failpoints.reach("reconcile.before-claim")
        ripe = await self.db.run(reconcile_nodes.ripe, by_id.keys())

        async def one(node_id: int, clients: Sequence[int]) -> None:
            async with self.run.item(node_id=node_id):
                await self._remove_from(by_id[node_id], clients)

        await side_by_side.all_of(one(node_id, clients) for node_id, clients in ripe.items())

    async def _remove_from(self, node: Node, clients: Sequence[int]) -> None:
        works = await self.db.run(reconcile_nodes.claim, node.id, clients, uuid.uuid4())
        failpoints.reach("reconcile.after-claim")
        if not works:
            return
        said = await self._call(node, lambda client: client.apply(works))
        failpoints.reach("reconcile.after-call")
        if said is None:
            self.run.failed += len(works)
            return  # the claims end by themselves, and the orphans are listed again or are gone
        for answer in said.answers:
            if answer.error:
                log.warning(
                    "node_item_failed", node=node.name, subscription_id=answer.subscription_id, error=answer.error
                )
        removed = await self.db.run(reconcile_nodes.record_removals, node.id, said.answers)
        self.run.done += removed
        self.run.failed += len(works) - removed
        log.warning("reconcile_removed", node=node.name, count=removed, failed=len(works) - removed)

    async def _call(self, node: Node, call: Callable[[NodeClient], Awaitable[T]]) -> T | None:
        """What the node answered; None when it did not: logged, and counted by this sweep's breaker."""
        try:
            return await call(NodeClient(self.transport, node, keys.api_keys(node.name, node.key_name)))
        except (NodeError, plain.UnusableSetting) as error:
            words = str(error)
        except Exception as error:  # noqa: BLE001 -- whatever one node causes must not stop the others
            log.exception("node_call_broke", node=node.name)
            words = type(error).__name__
        self.silent.add(node.id)
        self.run.failed += 1
        breaker = await self.db.run(reconcile_nodes.failed, node.id)
        log.warning("reconcile_not_listed", node=node.name, error=words, failures=breaker.failures)
        if breaker.is_open:
            log.error("reconcile_breaker_open", node=node.name, for_s=reconcile_nodes.OPEN_S)
        return None

    def _tell(self, node: Node, found: _Found) -> None:
        if found.taken_back:
            log.error("reconcile_taken_back", node=node.name, count=found.taken_back)
        if found.orphan:
            log.warning("reconcile_orphan_found", node=node.name, count=found.orphan)
        if found.others:
            log.warning("reconcile_found_others", node=node.name, count=found.others)
