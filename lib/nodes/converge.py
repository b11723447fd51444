"""Make nodes agree with desired state: claim, call, record, with no transaction open during the call.

Every node works through its own claims and waits for no other: a node that is down, slow, wrongly configured or answers
nonsense costs its own rows a pass, nothing else. What a call brought is recorded and enqueued as soon as it has answered.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from lib import failpoints, log, side_by_side
from lib.db import StatementFailed
from lib.domain import provisioning
from lib.domain.breaker import Call
from lib.domain.provisioning import Answer, Heard
from lib.nodes import keys
from lib.nodes.client import NodeClient
from lib.nodes.transport import NodeError
from lib.settings import plain
from lib.tasks.enqueue import enqueue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from lib.db import Database
    from lib.domain.provisioning import Claimed, Node, Recorded
    from lib.nodes.transport import Transport
    from lib.sweeps.runner import Run
    from lib.tasks.queue import TaskQueue

T = TypeVar("T")
BATCH = 100
_NODES_AT_ONCE = 16
"""So many nodes are worked on at once: one that hangs takes a place for at most a call."""


@dataclass(slots=True)
class Result:
    """What came of a call: rows the node confirmed, rows put off to their own next time."""

    done: int = 0
    failed: int = 0
    answered: bool = True


@dataclass(frozen=True, slots=True)
class _Failed:
    """No usable answer; `trouble` is what an operator has to mend, None for what may pass by itself. `attempts` as `NodeClient.failed`."""

    text: str
    trouble: str | None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Nodes:
    """How nodes are reached and what follows is enqueued.

    Attributes:
        operation: `activation` or `expiry`: names the failpoints around the node call, and the log lines.
        called: ids of the nodes that were asked something since this was made.
        silent: those that did not answer; a sweep asks them no second time.
    """

    db: Database
    transport: Transport
    queue: TaskQueue
    operation: str
    called: set[int] = field(default_factory=set)
    silent: set[int] = field(default_factory=set)

    async def sweep(self, run: Run, *, wanted: bool) -> None:
        """Work through everything due on every node, batch by batch, several nodes at once; counts into `run`.

        Raises:
            Unavailable, lib.db.lock.LockLost: Postgres is the trouble; every node's work had its turn.
        """
        gate = asyncio.Semaphore(_NODES_AT_ONCE)

        async def one(node_id: int) -> None:
            async with gate, run.item(node_id=node_id):
                while await run.next_page():
                    claimed = await self.db.run(provisioning.claim, node_id, uuid.uuid4(), BATCH, wanted=wanted)
                    failpoints.reach(f"{self.operation}.after-claim")
                    if claimed is None:
                        return
                    run.claimed += len(claimed.works)
                    result = await self.converge(claimed)
                    run.done += result.done
                    run.failed += result.failed
                    if not result.answered:
                        self.silent.add(node_id)
                        return  # one call says as much as one for each customer: the rest waits for the next run

        due = await self.db.run(provisioning.nodes_due, wanted=wanted)
        await side_by_side.all_of(one(node_id) for node_id in due if node_id not in self.silent)

    async def look(self, run: Run) -> int:
        """Ask every node that was not called about itself; how many are to be told of clients again because of what they said.

        A node that lost its memory, or removed clients by itself, would else be found out by the next purchase only.
        """
        gate = asyncio.Semaphore(_NODES_AT_ONCE)
        restored: list[bool] = []

        async def one(node: Node) -> None:
            async with gate, run.item(node_id=node.id):
                claim = uuid.uuid4()
                if node.is_open and not await self.db.run(provisioning.take_probe, node.id, claim):
                    return
                await note(node, await self._attempt(node, lambda client: client.look()), claim)

        async def note(node: Node, said: Heard | _Failed, claim: uuid.UUID) -> None:
            heard, call = _of_itself(said, claim)
            recorded = await self.db.run(
                provisioning.record, node, (), heard, correlation_id=log.correlation.get(), call=call
            )
            restored.append(recorded.state_lost or recorded.restored > 0)
            await self._tell(node, heard if call.answered else None, recorded)

        await side_by_side.all_of(
            one(node) for node in await self.db.run(provisioning.nodes) if node.id not in self.called
        )
        return sum(restored)

    async def converge_each(self, claims: Sequence[Claimed], finishes: int) -> Result:
        """Bring each node to what was claimed of it, all at once; the first to be recorded finishes the outbox row.

        What a later one refuses has its own next time, and the sweep is its retry.
        """
        total = Result()

        async def one(claimed: Claimed) -> None:
            result = await self.converge(claimed, finishes)
            total.done += result.done
            total.failed += result.failed

        await side_by_side.all_of(one(claimed) for claimed in claims)
        return total

    async def converge(self, claimed: Claimed, finishes: int | None = None) -> Result:
        """Call one node about what was claimed, record its answers, enqueue what follows."""
        node = claimed.node
        answers, heard, call = await self._ask(claimed)
        answered = heard is not None and call.answered
        failpoints.reach(f"{self.operation}.after-call")
        recorded, lost = await self._record(node, answers, heard, finishes, call)
        await enqueue(self.queue, recorded.follow_up, after=self.operation)
        for answer in answers:
            if answered and answer.error:
                log.warning(
                    "node_item_failed", node=node.name, subscription_id=answer.subscription_id, error=answer.error
                )
        await self._tell(node, heard if answered else None, recorded)
        done = sum(answer.applied for answer in answers) - lost
        return Result(done, len(answers) - done, answered)

    async def _record(
        self, node: Node, answers: Sequence[Answer], heard: Heard | None, finishes: int | None, call: Call
    ) -> tuple[Recorded, int]:
        """What came of a node's answers, and how many could not be recorded.

        A batch is one transaction. When a row refuses it, each answer has its own: one customer's row keeps no other's key back.
        """
        correlation_id = log.correlation.get()
        try:
            recorded = await self.db.run(
                provisioning.record, node, answers, heard, correlation_id=correlation_id, finishes=finishes, call=call
            )
        except StatementFailed:
            if len(answers) < 2:  # noqa: PLR2004 -- one answer is the row itself
                raise
        else:
            return recorded, 0
        total = await self.db.run(
            provisioning.record, node, (), heard, correlation_id=correlation_id, finishes=finishes, call=call
        )
        lost = 0
        for answer in answers:
            try:
                one = await self.db.run(provisioning.record, node, (answer,), None, correlation_id=correlation_id)
            except StatementFailed:
                log.exception("node_answer_not_recorded", node=node.name, subscription_id=answer.subscription_id)
                lost += answer.applied
            else:
                total = replace(
                    total, activated=total.activated + one.activated, follow_up=(*total.follow_up, *one.follow_up)
                )
        return total, lost

    async def _ask(self, claimed: Claimed) -> tuple[Sequence[Answer], Heard | None, Call]:
        """The node's answers, or the same failure for each; what it said about itself; how the call ended."""
        claim = claimed.works[0].claimed_by
        said = await self._attempt(claimed.node, lambda client: client.apply(claimed.works))
        if not isinstance(said, _Failed):
            heard, call = _of_itself(said.heard, claim)
            if not call.answered:
                # of everything it was asked, it confirmed nothing and refused nothing: one batch says as much as all
                log.error(
                    "node_call_failed", node=claimed.node.name, error="it confirmed other things than it was asked"
                )
            return said.answers, heard, call
        # what is no word of the node's is told apart: its clients wait for it to answer, and that alone excuses them
        error = said.text if said.trouble else f"no answer: {said.text}"
        answers = [
            Answer(work.subscription_id, work.node_id, work.version, str(work.claimed_by), applied=False, error=error)
            for work in claimed.works
        ]
        return answers, *_of_itself(said, claim)

    async def _attempt(self, node: Node, call: Callable[[NodeClient], Awaitable[T]]) -> T | _Failed:
        """What the node answered, or how it failed; logged, never raised."""
        self.called.add(node.id)
        client: NodeClient | None = None
        try:
            client = NodeClient(self.transport, node, keys.api_keys(node.name, node.key_name))
            return await call(client)
        except plain.UnusableSetting as error:
            failed = _Failed(f"setting {error}", "configuration")
        except NodeError as error:
            failed = _Failed(str(error), error.trouble, client.failed if client is not None else 0)
        except Exception as error:  # noqa: BLE001 -- whatever one node causes must not stop the others
            log.exception("node_call_broke", node=node.name)
            failed = _Failed(type(error).__name__, "answer")
        # what does not pass by itself is told to a person as an error
        (log.error if failed.trouble else log.warning)("node_call_failed", node=node.name, error=failed.text)
        return failed

    async def _tell(self, node: Node, heard: Heard | None, recorded: Recorded) -> None:
        """Log what an operator has to know; acknowledge what the node reported and nothing is to be done about."""
        if recorded.turned:
            _say(recorded.turned, node)
        if recorded.state_lost:
            log.error("node_lost_clients", node=node.name, state_lost=True)
        if recorded.restored:
            log.error("node_lost_clients", node=node.name, count=recorded.restored)
        if heard and heard.clock_off_ms is not None and abs(heard.clock_off_ms) > provisioning.CLOCK_OFF_MS:
            log.error("node_clock_off", node=node.name, off_s=heard.clock_off_ms // 1000)
        if recorded.acknowledge:
            await self._attempt(node, lambda client: client.apply((), recorded.acknowledge))


def _of_itself(said: Heard | _Failed, claim: uuid.UUID) -> tuple[Heard | None, Call]:
    """What the node said about itself, and how the call ended."""
    if isinstance(said, Heard):
        return said, Call(claim, answered=said.trouble is None)
    return Heard(trouble=said.trouble) if said.trouble else None, Call(claim, answered=False, failed=said.attempts)


def _say(turned: str, node: Node) -> None:
    """What became of the node's breaker."""
    if turned == "lost":
        log.error("node_lost", node=node.name)
    elif turned == "back":
        log.warning("node_back", node=node.name)
    elif turned == "opened":
        log.warning("node_breaker_opened", node=node.name)
    else:
        log.info("node_breaker_closed", node=node.name)
