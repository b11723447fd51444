"""The service without its HTTP face: record first, then have Xray brought to it, and say which of the two happened."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from xray_api.clock import Clock
from xray_api.converge import Converger, Settled, Status
from xray_api.cut import Cutter
from xray_api.logs import log
from xray_api.store import EXPIRED, OLDER, Change, Client, Recorded, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xray_api.clock import Sources
    from xray_api.inbound import LinkMaker
    from xray_api.xray import Xray

_P = ParamSpec("_P")
_T = TypeVar("_T")

# A caller reads for 10 s: within this much it learns "recorded, not yet applied" rather than nothing.
SETTLE_SECONDS: Final = 4.0
_SETTLE_DOWN_SECONDS: Final = 0.5  # while Xray is known to be down
_SWEEP_SECONDS: Final = 1.0
_KEEP_MS: Final = 10_000  # how much of Atlas's time a crash may lose: clients stay that much longer
UNTOLD_MAX: Final = 500  # dropped clients in one answer
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

    def __init__(self, store: Store, xray: Xray, links: LinkMaker, warnings: Sequence[str], sources: Sources) -> None:
        self.boot_id = secrets.token_hex(8)
        self._store = store
        self._xray = xray
        self._links = links
        self._warnings = tuple(warnings)
        self._kept = store.kept_time()
        self.clock = Clock(sources, self._kept)
        self._cutter = Cutter(xray)
        self._converger = Converger(store, xray, self._cutter)
        self._writer = ThreadPoolExecutor(1, "store")  # the one thread that touches the store's connection
        self._sweeper: asyncio.Task[None] | None = None
        self._waiting = 0
        self._state_problem: str | None = None  # said last, so that a full disk fills no log

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
        with contextlib.suppress(StateUnavailableError):  # said already, and a time kept earlier is good enough
            await self._keep_time(at_least_ms=1)
        await asyncio.to_thread(self._writer.shutdown)
        self._xray.close()
        self._store.close()

    @property
    def can_cut(self) -> bool:
        """Whether this process can end a removed user's connections."""
        return self._cutter.able

    @property
    def state_problem(self) -> str | None:
        """SQLite's name of what keeps the state from being written; None when it last could be."""
        return self._state_problem

    def status(self) -> tuple[Status, list[str]]:
        """How Xray is, and everything an operator should know."""
        status = self._converger.status
        return status, [*status.problems, *self.clock.problems(), *self._damage(), *self._warnings]

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
            recorded = await self._stored(
                self._store.apply, changes, self.clock.now_ms(), self._converger.uuids_elsewhere
            )
            self._state_problem = None
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

    async def untold(self) -> list[Client]:
        """Clients that this node dropped by itself and that Atlas has not acknowledged, up to 500."""
        return await self._stored(self._store.untold, UNTOLD_MAX)

    async def acknowledge(self, dropped: Sequence[tuple[str, int]]) -> None:
        """Tell of these (client, version) no more."""
        await self._stored(self._store.acknowledge, dropped)

    async def writable(self) -> bool:
        """Whether a change could be recorded now: tried, not guessed."""
        try:
            await self._stored(self._store.try_writing)
        except StateUnavailableError:
            return False
        self._state_problem = None
        return True

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
                now_ms = self.clock.now_ms()
                await self._keep_time(at_least_ms=_KEEP_MS)
                dropped = await self._stored(self._store.drop_expired, now_ms) if now_ms is not None else []
                if dropped:
                    log(logging.INFO, "expired_dropped", clients=len(dropped))
                    await self._settle(dropped)
            except StateUnavailableError:
                pass  # `state_unavailable` said why; health says it for as long as it lasts

    async def _keep_time(self, *, at_least_ms: int) -> None:
        """Write Atlas's time down when it is that much later than what is written."""
        kept = self.clock.kept()
        if kept is not None and (self._kept is None or kept.atlas_ms - self._kept.atlas_ms >= at_least_ms):
            await self._stored(self._store.keep_time, kept)
            self._kept = kept

    def _damage(self) -> list[str]:
        aside = self._store.damaged
        if aside is None:
            return []
        return [
            f"the state file was damaged: it is set aside as {aside.name}, and Atlas has to send every client again"
        ]

    async def _stored(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        def run() -> _T:
            return work(*args, **kwargs)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._writer, run)
        except sqlite3.DatabaseError as error:
            if self._state_problem != (problem := _code(error)):
                log(logging.ERROR, "state_unavailable", why=type(error).__name__, code=problem)
            self._state_problem = problem
            raise StateUnavailableError from error


def _code(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", type(error).__name__))
