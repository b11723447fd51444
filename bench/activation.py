"""P5: the activation sweep over access that no node holds yet, on the real node service and the real Xray, against Xray's own rate.

The rate to beat by half is Xray's, one add after the other over one gRPC channel, on the same core just before and just after: no
database, no record of it, no HTTP. The sweep is the function's own code with its own lock, in this process; the tasks that send keys go
to a queue that takes them at once, for Cloud Tasks is not what is measured. Postgres and the node's state are as durable as deployed.
"""

from __future__ import annotations

import asyncio
import math
import os
import resource
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.figures import Bar, Outcome, Plot, Row, Series
from bench.places import scratch
from functions.sweeps import sweep_activation
from lib import bootstrap
from lib.db import Database
from lib.db import migrate as migrations
from lib.db.connection import Connection, Timeouts
from lib.db.lock import SweepLock
from lib.domain import provisioning
from lib.nodes.transport import AiohttpTransport
from lib.sweeps.runner import Run
from sandbox.node.lab import INBOUND_TAG, XrayNode
from sandbox.postgres.server import Postgres
from xray_api.xray import Xray

if TYPE_CHECKING:
    from bench.sizes import Sizes
    from lib.tasks.queue import Task

_LIMIT = 0.5
_DATABASE = "activation"
_CLOCK = Path(migrations.__file__).with_name("migrations") / "clock.sql"
_MIB = 1 if sys.platform == "darwin" else 1024

_FILL = """
insert into accounts (telegram_id, language) select n, 'ru' from generate_series(1, {among}) n;
insert into subscriptions (account_id, tariff, source, status, activation_status, uuid, started_at, expires_at, placement)
    select a.id, 'basic', 'payment', 'active', 'active', gen_random_uuid(), atlas.now(), atlas.now() + interval '30 days', p.generation
    from accounts a cross join placement p order by a.id;
insert into node_clients (subscription_id, node_id, uuid, version, wanted, expires_at, applied_version, applied_at, applied_uuid, link)
    select s.id, n.id, s.uuid, s.version, true, s.expires_at, s.version, atlas.now(), s.uuid, 'vless://before'
    from subscriptions s cross join nodes n order by s.id;
analyze;
"""
# As a grant leaves them: a client that its node has not confirmed, which is what activates the subscription.
_MAKE_PENDING = """
with those as (
    update subscriptions set activation_status = 'pending', pending_since = atlas.now()
    where id between {first} and {last} returning id
)
update node_clients c set applied_version = null, applied_at = null, applied_uuid = null, link = null, next_attempt_at = atlas.now()
from those where c.subscription_id = those.id;
"""
_APPLIED = """
select count(*) from subscriptions s join node_clients c on c.subscription_id = s.id
where s.id between {first} and {last} and s.activation_status = 'active' and c.applied_version = c.version and c.applied_uuid = s.uuid
"""


class WrongActivationError(RuntimeError):
    """A run left something that was due, or the node holds something else; the text says what."""


class _Taking:
    """The queue that takes every task at once."""

    def __init__(self) -> None:
        self.taken = 0

    async def create(self, _task: Task) -> bool:
        self.taken += 1
        return True


@dataclass
class _Taken:
    """Clients a second, a figure a round."""

    ours: list[float] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)


class _Shop:
    """One node, its database, and subscriptions by the number of their ids: each round activates others."""

    def __init__(self, owner: Connection, db: Database, url: str, node: XrayNode) -> None:
        self._owner = owner
        self._db = db
        self._url = url
        self._node = node
        self._next = 1

    async def activated(self, count: int) -> float:
        """So many become pending and are applied: clients a second.

        Raises:
            WrongActivationError
        """
        first, self._next = self._next, self._next + count
        span = {"first": first, "last": first + count - 1}
        self._owner.simple(_MAKE_PENDING.format(**span))
        began = time.perf_counter()
        more, failed = True, 0
        while more:
            async with SweepLock(self._url, "activation") as lock:
                if not lock.held:
                    raise WrongActivationError("another runner holds the sweep's lock")
                run = Run(self._db, "activation", "bench", {}, lock)
                await sweep_activation._work(run)  # noqa: SLF001 -- as the scheduler has it, without its HTTP
                more, failed = run.more, failed + run.failed
        took = time.perf_counter() - began
        ((applied,),) = self._owner.execute(_APPLIED.format(**span), {})[1]
        if applied != count or failed:
            raise WrongActivationError(f"{applied} of {count} applied, {failed} failed")
        return count / took

    async def raw(self, count: int) -> float:
        """So many others added to the core itself, one after the other over one channel, and taken away again: adds a second."""
        return await asyncio.to_thread(self._raw, [(f"raw-{number}.1", str(uuid.uuid4())) for number in range(count)])

    def _raw(self, users: list[tuple[str, str]]) -> float:
        core = Xray(f"127.0.0.1:{self._node.api_port}", INBOUND_TAG)
        try:
            core.user_count()  # the channel stands
            began = time.perf_counter()
            for user in users:
                core.add([user])
            took = time.perf_counter() - began
            core.remove(name for name, _ in users)
        finally:
            core.close()
        return len(users) / took


async def measure(sizes: Sizes) -> Outcome:
    """Raises: WrongActivationError."""
    with scratch() as folder:
        server = Postgres(folder / "postgres", durable=True)
        node = XrayNode(folder / "node")
        transport, queue = AiohttpTransport(), _Taking()
        await asyncio.to_thread(server.start)
        try:
            await node.start()
            server.create_database(_DATABASE)
            url = server.url(_DATABASE)
            await asyncio.to_thread(migrations.migrate, url, "local")
            db = Database(url, connections=3, application="bench")  # as the table gives the sweep
            owner = Connection(url, application="bench-owner", timeouts=Timeouts(statement_ms=3_600_000))
            os.environ["XRAY_API_KEY"] = node.key
            bootstrap.node_transport = lambda: transport  # type: ignore[assignment] # one made here
            bootstrap.task_queue = lambda: queue  # type: ignore[assignment] # likewise
            try:
                await db.run(provisioning.ensure_first_node, node.url, "XRAY_API_KEY")
                owner.simple(_CLOCK.read_text("utf-8"))
                await asyncio.to_thread(owner.simple, _FILL.format(among=sizes.activated_among))
                return await _rounds(_Shop(owner, db, url, node), sizes, queue)
            finally:
                owner.close()
                await db.close()
                await transport.close()
        finally:
            await node.stop()
            await asyncio.to_thread(server.stop)


async def _rounds(shop: _Shop, sizes: Sizes, queue: _Taking) -> Outcome:
    taken = _Taken()
    few = max(1, sizes.activated // 10)
    await shop.activated(few)  # whatever a process does once, it has done
    of_few = [few / await shop.activated(few) for _ in range(sizes.activation_rounds)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB
    for _ in range(sizes.activation_rounds):
        raw = [await shop.raw(sizes.raw_adds)]
        taken.ours.append(await shop.activated(sizes.activated))
        raw.append(await shop.raw(sizes.raw_adds))
        taken.raw.append(sum(raw) / len(raw))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB - before
    if queue.taken != few * (1 + sizes.activation_rounds) + sizes.activated * sizes.activation_rounds:
        raise WrongActivationError(f"{queue.taken} keys were to be sent")
    ours, raw_rate = Series.of(taken.ours), Series.of(taken.raw)
    ratio = Series.of([one / other for one, other in zip(ours.samples, raw_rate.samples, strict=True)])
    long, short = sizes.activated / ours.median, Series.of(of_few).median
    exponent = math.log(long / short) / math.log(sizes.activated / few)
    rows = (
        Row("P5", f"activation sweep, {sizes.activated} pending among {sizes.activated_among}, one node", ours.median, "/s",
            f"Xray itself, one add after the other: {raw_rate.median:.0f}/s", ratio.median, _LIMIT, relation="≥"),
        Row("P5", "how its time grows with the number pending, exponent", exponent, "",
            f"{few}: {short:.2f} s, {sizes.activated}: {long:.2f} s"),
        Row("P5", "what its memory grew by over a tenth as many", grown, "MiB"),
    )  # fmt: skip
    measured: dict[str, Any] = {
        "per_second": {"ours": ours.as_dict(1), "raw": raw_rate.as_dict(1)},
        "ratio": ratio.as_dict(3),
        "seconds_of_a_tenth": Series.of(of_few).as_dict(),
        "exponent": exponent,
        "memory_mib": grown,
        "keys": queue.taken,
    }
    bars = (Bar("the sweep", ours.median, ours=True), Bar("Xray itself", raw_rate.median, ours=False))
    return Outcome("P5", rows, measured, Plot("activation", "Clients applied a second", "/s", bars))
