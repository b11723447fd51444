"""The service without its HTTP face: record first, then have Xray brought to it, and say which of the two happened."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from xray_api.converge import Converger, Settled, Status
from xray_api.cut import Cutter
from xray_api.logs import failure, log
from xray_api.store import EXPIRED, OLDER, Change, Client, Recorded, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xray_api.inbound import LinkMaker
    from xray_api.xray import Xray

_P = ParamSpec("_P")
_T = TypeVar("_T")

# A caller reads for 10 s: within this much it learns "recorded, not yet applied" rather than nothing.
SETTLE_SECONDS: Final = 4.0
_SETTLE_DOWN_SECONDS: Final = 0.5  # while Xray is known to be down
_SWEEP_SECONDS: Final = 1.0
_FIRST_LOOK_SECONDS: Final = 3.0
_WAITING: Final = 256  # changes waited for at once; more are told to come back
NOT_APPLIED: Final = "recorded, not yet applied"
NO_LINK: Final = "applied, but the running inbound gives no working link: see /health"


class TooBusyError(Exception):
    """More changes are waiting than this node takes at once; nothing was recorded."""


class StateUnavailableError(Exception):
    """The state file can't be read or written; nothing was recorded."""


@dataclass(frozen=True)
class Outcome:
    """What became of one change: an HTTP code, the row held, and a link when the change is a wanted client that runs."""

    code: int
    row: Client | None
    error: str | None = None
    link: str | None = None


class Service:
    """All parts of one node. `start` inside a running loop; `stop` ends its threads."""

    def __init__(self, store: Store, xray: Xray, links: LinkMaker, warnings: Sequence[str]) -> None:
        self.boot_id = secrets.token_hex(8)
        self._store = store
        self._xray = xray
        self._links = links
        self._warnings = tuple(warnings)
        self._cutter = Cutter(xray)
        self._converger = Converger(store, xray, self._cutter)
        self._writer = ThreadPoolExecutor(1, "store")  # the one thread that touches the store's connection
        self._sweeper: asyncio.Task[None] | None = None
        self._waiting = 0

    async def start(self) -> None:
        """Begin to look after Xray and after expiries; returns after a first look, so that the first answers are informed."""
        self._converger.start()
        await asyncio.to_thread(self._converger.looked.wait, _FIRST_LOOK_SECONDS)
        self._sweeper = asyncio.create_task(self._sweep_expired())

    async def stop(self) -> None:
        """Finish what is being written and end every thread."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        await asyncio.to_thread(self._converger.stop)
        await asyncio.to_thread(self._cutter.close)
        await asyncio.to_thread(self._writer.shutdown)
        self._xray.close()
        self._store.close()

    @property
    def can_cut(self) -> bool:
        """Whether this process can end a removed user's connections."""
        return self._cutter.able

    def status(self) -> tuple[Status, list[str]]:
        """How Xray is, and everything an operator should know."""
        status = self._converger.status
        return status, [*status.problems, *self._warnings]

    async def change(self, changes: Sequence[Change]) -> list[Outcome]:
        """Record a batch (at most one change a client) and wait, for a bounded time, until Xray agrees; in order.

        Raises:
            TooBusyError: nothing was recorded.
            StateUnavailableError: nothing was recorded.
        """
        if self._waiting >= _WAITING:
            raise TooBusyError
        self._waiting += 1
        try:
            recorded = await self._stored(self._store.apply, changes, _now_ms(), self._converger.uuids_elsewhere)
            both = list(zip(changes, recorded, strict=True))
            # One refused as expired may have been dropped by this very change: it must leave Xray too.
            settled = await self._settle([c.client for c, r in both if r.error in {None, EXPIRED}])
            return [self._outcome(change, record, settled) for change, record in both]
        finally:
            self._waiting -= 1

    async def holder(self, uuid: str) -> Client | None:
        """The client that has, or had last, this UUID."""
        return await self._stored(self._store.holder, uuid)

    async def find(self, client: str) -> Client | None:
        """One client's row."""
        return await self._stored(self._store.find, client)

    async def page(self, after: str, limit: int) -> list[tuple[Client, bool]]:
        """Wanted clients after a key, and whether Xray runs each as recorded."""
        rows = await self._stored(self._store.page, after, limit)
        return [(row, self._converger.runs(row)) for row in rows]

    async def counts(self) -> tuple[int, int]:
        """Clients wanted, and clients that Xray is not known to agree on."""
        clients = await self._stored(self._store.count)
        status = self._converger.status
        return clients, status.unsettled if status.up else clients

    @property
    def state_id(self) -> str:
        """Names this state file: another one says that the recorded state was lost."""
        return self._store.state_id

    async def _settle(self, clients: list[str]) -> dict[str, Settled]:
        if not clients:
            return {}
        wait_seconds = _SETTLE_DOWN_SECONDS if self._converger.status.up is False else SETTLE_SECONDS
        try:
            return await asyncio.wait_for(asyncio.wrap_future(self._converger.settle(clients)), wait_seconds)
        except TimeoutError:
            return {}

    def _outcome(self, change: Change, recorded: Recorded, settled: dict[str, Settled]) -> Outcome:
        seen = settled.get(change.client)
        if recorded.error is not None or recorded.held is None:
            return Outcome(409, recorded.held, recorded.error)
        if seen is None or seen.row is None or not seen.agrees:
            return Outcome(503, recorded.held, NOT_APPLIED)
        if seen.row.version != recorded.held.version or seen.row.state == "dropped":
            # Another change, or the expiry, came between the commit and the look at Xray.
            return Outcome(409, seen.row, EXPIRED if seen.row.state == "dropped" else OLDER)
        return self._linked(seen.row) if change.wanted else Outcome(200, seen.row)

    def _linked(self, row: Client) -> Outcome:
        facts = self._converger.status.facts
        if facts is None or row.uuid is None:
            return Outcome(503, row, NO_LINK)
        return Outcome(200, row, link=self._links.link(row.uuid, facts))

    async def _sweep_expired(self) -> None:
        """Drop, once a second, what is past its expiry and grace."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                dropped = await self._stored(self._store.drop_expired, _now_ms())
                if dropped:
                    log(logging.INFO, "expired_dropped", clients=len(dropped))
                    await self._settle(dropped)
            except StateUnavailableError:
                failure("expiry_sweep_failed")

    async def _stored(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        def run() -> _T:
            return work(*args, **kwargs)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._writer, run)
        except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
            log(logging.ERROR, "state_unavailable", why=type(error).__name__, code=_code(error))
            raise StateUnavailableError from error


def _code(error: sqlite3.Error) -> Any:
    return getattr(error, "sqlite_errorname", None)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
