"""Make nodes agree with claimed rows: call, then record, with no transaction open meanwhile."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lib import failpoints, log
from lib.domain import provisioning
from lib.domain.provisioning import Answer
from lib.nodes import keys
from lib.nodes.client import NodeClient, NodeError
from lib.settings import plain

if TYPE_CHECKING:
    import httpx

    from lib.db import Database
    from lib.domain.outbox import Item
    from lib.domain.provisioning import Node, Work

BATCH = 100
_AT_ONCE = 4


@dataclass(slots=True)
class Converged:
    """What came of it: rows a node confirmed, rows put off to their own next time, work that follows."""

    done: int = 0
    failed: int = 0
    activated: int = 0
    follow_up: list[Item] = field(default_factory=list)


async def converge(
    db: Database, client: httpx.AsyncClient, works: list[Work], *, operation: str, correlation_id: str
) -> Converged:
    """Bring every node to what `works` says, in batches, several at once; a failing batch stops no other.

    `operation` (activation, expiry) names the failpoints around the node call.
    """
    nodes = {node.id: node for node in await db.run(provisioning.nodes)}
    per_node: dict[int, list[Work]] = defaultdict(list)
    for work in works:
        per_node[work.node_id].append(work)
    batches = [
        (nodes[node_id], rows[start : start + BATCH])
        for node_id, rows in per_node.items()
        for start in range(0, len(rows), BATCH)
    ]
    result = Converged()
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(node: Node, batch: list[Work]) -> None:
        async with gate:
            answers = await _ask(client, node, batch)
            failpoints.reach(f"{operation}.after-call")
            confirmed = await db.run(provisioning.record, answers, correlation_id)
        result.done += sum(answer.applied for answer in answers)
        result.failed += sum(not answer.applied for answer in answers)
        result.activated += confirmed.activated
        result.follow_up += confirmed.follow_up
        for answer in answers:
            if answer.error:
                log.warning(
                    "node_item_failed", node=node.name, subscription_id=answer.subscription_id, error=answer.error
                )

    ends = await asyncio.gather(*(one(node, batch) for node, batch in batches), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end  # only once every batch has had its turn
    return result


async def _ask(client: httpx.AsyncClient, node: Node, batch: list[Work]) -> list[Answer]:
    try:
        return await NodeClient(client, node, keys.api_key(node.name, node.key_name)).apply(batch)
    except (NodeError, plain.MissingSetting) as error:
        # without a key it is our configuration, with one the node's answer: either way a person is told
        lasting = isinstance(error, plain.MissingSetting) or not error.temporary
        (log.error if lasting else log.warning)("node_call_failed", node=node.name, items=len(batch), error=str(error))
        return [
            Answer(
                work.subscription_id, work.node_id, work.version, str(work.claimed_by), applied=False, error=str(error)
            )
            for work in batch
        ]
