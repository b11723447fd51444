"""P1 (c): our own webhook with one thread hop for every statement, as async code over a blocking driver usually has it.

Handler, transaction functions, statements, commits and the number of connections and threads are Atlas's. The transaction
function runs in a greenlet on the loop's thread (as SQLAlchemy's asyncio layer does it); BEGIN, each statement and COMMIT is
handed to an executor and awaited, a round trip each.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]

from lib import bootstrap
from lib.db.connection import Connection, Result
from lib.db.database import Database, _Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db.transaction import Transaction

T = TypeVar("T")


def _on_a_thread(step: Callable[[], T]) -> T:
    """Leave the greenlet until a worker thread has done it."""
    done: T = getcurrent().parent.switch(step)
    return done


class HoppingConnection(Connection):
    """A connection whose every round trip is made on a worker thread."""

    def begin(self) -> None:
        """See Connection."""
        _on_a_thread(lambda: self._driver.execute_simple("begin"))

    def execute_together(self, *statements: tuple[str, dict[str, Any]]) -> list[Result]:
        """One after the other."""
        alone = super().execute_together
        return [_on_a_thread(partial(alone, one))[0] for one in statements]

    def execute_with_commit(self, sql: str, parameters: dict[str, Any]) -> None:
        """Sent at once."""
        self.execute(sql, parameters)

    def commit(self, failpoint: str) -> None:
        """See Connection."""
        commit = super().commit
        _on_a_thread(lambda: commit(failpoint))

    def rollback(self) -> None:
        """See Connection."""
        _on_a_thread(super().rollback)


class _Run(greenlet):  # type: ignore[misc] # untyped
    """One transaction under way, and its connection."""

    connection: Connection


class HoppingDatabase(Database):
    """The same number of connections and threads, the same admission; a thread is held for a statement only."""

    _pool = ThreadPoolExecutor(int(os.environ["DB_CONNECTIONS"]))

    async def _admitted(self, body: Callable[[Transaction], T], function: Callable[..., T], *, reserved: bool) -> T:
        loop = asyncio.get_running_loop()
        await self._permits.acquire(reserved=reserved)
        try:
            run = _Run(self._attempt_all)
            run.connection = self._open.pop() if self._open else await loop.run_in_executor(self._pool, self._connect)
            step: Any = run.switch(body, function.__name__, getattr(function, "idempotent", False), _Job())
            while not run.dead:
                try:
                    done = await loop.run_in_executor(self._pool, step)
                except Exception as error:  # noqa: BLE001 -- the transaction's own matter, whatever it is
                    step = run.throw(error)
                else:
                    step = run.switch(done)
            self._open.append(run.connection)
            result: T = step
            return result
        finally:
            self._permits.release()

    def _connect(self) -> HoppingConnection:
        return HoppingConnection(self._url, application=self._application, timeouts=self._timeouts)

    def _connection(self) -> Connection:
        connection: Connection = getcurrent().connection
        return connection


bootstrap.Database = HoppingDatabase  # type: ignore[attr-defined] # the one thing that differs

from functions.public.telegram_webhook import telegram_webhook  # noqa: E402, F401 -- framework's entry point
