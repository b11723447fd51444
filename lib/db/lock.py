"""One runner per sweep: an advisory lock that a crash, a freeze and a pooler can't leak (docs/architecture.md, rule 5).

The lock is a transaction-level one, held by a transaction that is otherwise unused, on a connection of its own.
Postgres releases it when the process dies (the socket closes) and when the process is frozen
(`idle_in_transaction_session_timeout`); `renew` before each page starts that clock anew and fails when the lock is gone.
"""

from __future__ import annotations

import asyncio
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self, TypeVar

from lib.db.connection import Connection, Timeouts
from lib.db.errors import DatabaseError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

T = TypeVar("T")

SWEEPS = 7_301
"""First key of every sweep's lock; the second is the CRC-32 of the sweep's name."""
IDLE_TIMEOUT_S = 60.0


class LockLost(DatabaseError):
    """The lock's connection is gone, so another runner may already be at work: stop."""


class SweepLock:
    """`async with SweepLock(url, "expiry") as lock: if lock.held: ...`.

    Args:
        url: `DATABASE_LOCK_URL`, else `DATABASE_URL`.
        sweep: the sweep's name.
        idle_timeout_s: after so many seconds without `renew` Postgres frees the lock.

    Raises:
        Unavailable: Postgres can't be had.
    """

    def __init__(self, url: str, sweep: str, *, idle_timeout_s: float = IDLE_TIMEOUT_S) -> None:
        self._url = url
        self._sweep = sweep
        self._timeouts = Timeouts(idle_in_transaction_ms=int(idle_timeout_s * 1000))
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"lock-{sweep}")
        self._connection: Connection | None = None
        self.held = False

    async def __aenter__(self) -> Self:
        try:
            self.held = await self._on_thread(self._take)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        # Closing the connection releases the lock, whatever state it is in; shielded, so a cancelled sweep releases too.
        await asyncio.shield(self._on_thread(self._release))
        self._thread.shutdown(wait=False)

    async def renew(self) -> None:
        """Show that this runner is alive.

        Raises:
            LockLost: it was too late; another runner may be running.
        """
        await self._on_thread(self._ping)

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _take(self) -> bool:
        self._connection = Connection(self._url, application=f"lock-{self._sweep}", timeouts=self._timeouts)
        try:
            self._connection.begin()
            _, rows, _ = self._connection.execute(
                "select pg_try_advisory_xact_lock(:class, :sweep)",
                {"class": SWEEPS, "sweep": zlib.crc32(self._sweep.encode()) & 0x7FFF_FFFF},
            )
        except DatabaseError as error:
            self._connection.close()
            raise Unavailable(str(error)) from None
        return bool(rows[0][0])

    def _ping(self) -> None:
        if self._connection is None:
            raise LockLost(self._sweep)
        try:
            self._connection.simple("select 1")
        except DatabaseError as error:
            raise LockLost(f"{self._sweep}: {error}") from None

    def _release(self) -> None:
        self.held = False
        if self._connection is not None:
            self._connection.close()
            self._connection = None
