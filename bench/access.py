"""Sees from outside when a customer's access is granted in Postgres and confirmed by the node."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

from lib.db.connection import Connection, Timeouts

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_S = 0.001
# A link is there only when a node has confirmed this very version: lib/domain/provisioning.py, record.
_HAVE_ACCESS = """
select s.account_id from subscriptions s join node_clients c on c.subscription_id = s.id
where s.account_id = any(cast(:accounts as bigint[])) and s.status = 'active' and s.activation_status = 'active'
  and c.wanted and c.uuid = s.uuid and c.applied_version = c.version and c.link is not null
"""


class AccessWatch:
    """One thread and one connection that look every millisecond while a caller waits, and not at all otherwise."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[float]] = {}
        self._awaited = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._watch, name="access-watch", daemon=True)
        self._thread.start()

    async def granted(self, account_id: int, timeout_s: float = 60.0) -> float:
        """The moment (`time.perf_counter`) at which the account was seen to have access.

        Raises:
            TimeoutError: it did not get it.
        """
        self._waiting[account_id] = future = self._loop.create_future()
        self._awaited.set()
        try:
            return await asyncio.wait_for(future, timeout_s)
        finally:
            self._waiting.pop(account_id, None)

    async def close(self) -> None:
        """End the thread."""
        self._ended = True
        self._awaited.set()
        await asyncio.to_thread(self._thread.join)

    def _watch(self) -> None:
        timeouts = Timeouts(idle_in_transaction_ms=0)
        connection = Connection(self._url, application="bench-watch", timeouts=timeouts)
        try:
            self._look_until_ended(lambda accounts: _first_column(connection, accounts))
        finally:
            connection.close()

    def _look_until_ended(self, look: Callable[[list[int]], list[int]]) -> None:
        while self._awaited.wait() and not self._ended:
            waiting = list(self._waiting)
            if not waiting:
                self._awaited.clear()
                if self._waiting:  # came between the look and the clearing
                    self._awaited.set()
                continue
            found = look(waiting)
            now = time.perf_counter()
            for account_id in found:
                self._loop.call_soon_threadsafe(self._tell, account_id, now)
            time.sleep(_LOOK_S)

    def _tell(self, account_id: int, moment: float) -> None:
        future = self._waiting.get(account_id)
        if future is not None and not future.done():
            future.set_result(moment)


def _first_column(connection: Connection, accounts: list[int]) -> list[int]:
    _, rows, _ = connection.execute(_HAVE_ACCESS, {"accounts": accounts})
    return [row[0] for row in rows]
