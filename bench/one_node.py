"""A shop with one node, for sweeps: a database as durable as deployed, full of customers with access, and the real node service and Xray.

A sweep is the function's own code with its own lock, in this process and without its HTTP. The tasks that it makes go to a queue that
takes them at once, for Cloud Tasks is not what is measured.
"""

from __future__ import annotations

import asyncio
import math
import os
import resource
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.places import scratch
from lib import bootstrap
from lib.db import Database
from lib.db import migrate as migrations
from lib.db.connection import Connection, Timeouts
from lib.db.lock import SweepLock
from lib.domain import provisioning
from lib.nodes.transport import AiohttpTransport
from lib.sweeps.runner import Run
from sandbox.node.lab import XrayNode
from sandbox.postgres.server import Postgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from lib.tasks.queue import Task

_DATABASE = "shop"
_GIVE_UP_S, _AGAIN_S = 1800.0, 1.0
_CLOCK = Path(migrations.__file__).with_name("migrations") / "clock.sql"
_MIB = 1 if sys.platform == "darwin" else 1024

# Postgres believes that the node holds them all; it does hold those that a benchmark gives it.
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


class WrongSweepError(RuntimeError):
    """A sweep left something that was due, or did something else; the text says what."""


class _Taking:
    """The queue that takes every task at once."""

    def __init__(self) -> None:
        self.taken = 0

    async def create(self, _task: Task) -> bool:
        self.taken += 1
        return True


class Shop:
    """One node, its database, and subscriptions by the number of their ids: each round takes others.

    Attributes:
        owner: a session that may change everything.
        put_off: clients that the node did not confirm when it was asked, each time counted; a busy machine's core may be late.
    """

    def __init__(self, owner: Connection, db: Database, url: str, node: XrayNode, transport: AiohttpTransport) -> None:
        self.owner = owner
        self.db = db
        self.node = node
        self.transport = transport
        self.queue = _Taking()
        self.put_off = 0
        self._url = url
        self._next = 1

    def take(self, count: int) -> tuple[int, int]:
        """The next so many subscriptions: the first and the last id."""
        first, self._next = self._next, self._next + count
        return first, self._next - 1

    async def change(self, sql: str, **values: int) -> None:
        """Statements with numbers in their braces, by the owner."""
        await asyncio.to_thread(self.owner.simple, sql.format(**values))

    async def row(self, sql: str, **values: Any) -> list[Any]:
        """The only row of what the owner asks."""
        (found,) = (await asyncio.to_thread(self.owner.execute, sql, values))[1]
        return list(found)

    async def swept(
        self, name: str, work: Callable[[Run], Awaitable[None]], is_done: Callable[[], Awaitable[bool]]
    ) -> float:
        """Seconds of as many runs as it takes until all is done; what a node put off waits for its own time, as it does deployed.

        Raises:
            WrongSweepError: another one holds its lock, something was not foreseen, or it does not end.
        """
        began = time.perf_counter()
        while True:
            async with SweepLock(self._url, name) as lock:
                if not lock.held:
                    raise WrongSweepError("another runner holds the sweep's lock")
                run = Run(self.db, name, "bench", {}, lock)
                await work(run)
            took = time.perf_counter() - began
            self.put_off += run.failed
            if run.broken or took > _GIVE_UP_S:
                raise WrongSweepError(f"{name}: {run.broken} broke, not done after {took:.0f} s")
            if not run.more:
                if await is_done():
                    return took
                await asyncio.sleep(_AGAIN_S)


@asynccontextmanager
async def shop(among: int) -> AsyncIterator[Shop]:
    """With so many customers, everything of each as after a purchase. This process's functions are of that shop meanwhile."""
    had = bootstrap.node_transport, bootstrap.task_queue
    async with AsyncExitStack() as undo:
        folder = undo.enter_context(scratch())
        server, node, transport = (
            Postgres(folder / "postgres", durable=True),
            XrayNode(folder / "node"),
            AiohttpTransport(),
        )
        undo.push_async_callback(asyncio.to_thread, server.stop)
        await asyncio.to_thread(server.start)
        undo.push_async_callback(node.stop)
        await node.start()
        undo.push_async_callback(transport.close)
        server.create_database(_DATABASE)
        url = server.url(_DATABASE)
        await asyncio.to_thread(migrations.migrate, url, "local")
        db = Database(url, connections=3, application="bench")  # as the table gives the sweeps
        undo.push_async_callback(db.close)
        owner = Connection(url, application="bench-owner", timeouts=Timeouts(statement_ms=3_600_000))
        undo.callback(owner.close)
        made = Shop(owner, db, url, node, transport)
        os.environ["XRAY_API_KEY"] = node.key
        bootstrap.node_transport = lambda: transport  # type: ignore[assignment] # one made here
        bootstrap.task_queue = lambda: made.queue  # type: ignore[assignment] # likewise
        try:
            await db.run(provisioning.ensure_first_node, node.url, "XRAY_API_KEY")
            owner.simple(_CLOCK.read_text("utf-8"))
            await made.change(_FILL, among=among)
            yield made
        finally:
            bootstrap.node_transport, bootstrap.task_queue = had


def most_memory_mib() -> float:
    """The most that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """How time grows from the first size to the last: 0 not at all, 1 as the size does."""
    return math.log(seconds[-1] / seconds[0]) / math.log(sizes[-1] / sizes[0])
