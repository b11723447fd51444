"""`await db.run(function, ...)`: the only way to Postgres (docs/architecture.md, rule 1)."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from lib import failpoints, log
from lib.db import guard, schema
from lib.db.connection import Connection, Timeouts
from lib.db.errors import (
    Busy,
    Cancelled,
    ConnectionLost,
    ConnectionTimedOut,
    DatabaseError,
    OutcomeUnknown,
    StalePlan,
    StatementFailed,
    Unavailable,
)
from lib.db.permits import Permits
from lib.db.transaction import Transaction
from lib.db.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., Any]")

_RETRIED_CODES = frozenset({"40001", "40P01"})
_ATTEMPTS = 6
_MOST_TIMEOUTS = 2
"""Exchanges without an answer after which a server counts as away: each holds a thread for seconds, and its backend its locks."""
_WAIT_FOR_THREAD_S = 2.0
_TOLD_WAIT_S = 0.25
"""A wait for a connection that is logged: a burst queues up for less."""
_INJECTED_FAILURE = "do $$ begin raise exception 'injected' using errcode = '40001'; end $$"


def idempotent(function: F) -> F:
    """Mark a transaction function whose first statement consumes an idempotency key.

    Only such a function may be run again when the outcome of its COMMIT is unknown: its second run finds the key used.
    """
    function.idempotent = True  # type: ignore[attr-defined] # a mark on the function itself, so it can't be forgotten at a call
    return function


class _Job:
    """One `run`: whether its caller still wants it."""

    def __init__(self) -> None:
        self._given_up = threading.Event()
        self.is_connecting = False
        self.began = time.monotonic()

    def give_up(self) -> None:
        self._given_up.set()

    def given_up(self) -> bool:
        return self._given_up.is_set()

    @contextmanager
    def connecting(self) -> Iterator[None]:
        self.is_connecting = True
        try:
            yield
        finally:
            self.is_connecting = False


class Database:
    """A fixed number of threads, each with one connection, both made on first use.

    Args:
        url: `DATABASE_URL`.
        connections: threads = connections of this instance, at least 1.
        application: shown in `pg_stat_activity`; the function's target.
        reserved: of them, how many only `run(..., reserved=True)` may use.
        timeouts: statement, lock, idle and connect timeouts of every connection.
        needs: the schema that a database must have; that of this code's migrations unless said.
        reads_only: a transaction that would change something is refused, as where the database may not be written.
        guards: the test guards of lib/db/guard.py.
        compare: with the guards, insist that a transaction run twice answers the same twice; right only where
            nothing else changes the database meanwhile.
    """

    def __init__(
        self,
        url: str,
        *,
        connections: int,
        application: str,
        reserved: int = 0,
        timeouts: Timeouts | None = None,
        needs: int | None = None,
        reads_only: bool = False,
        guards: bool | None = None,
        compare: bool = False,
    ) -> None:
        if connections - reserved < 1:
            raise ValueError("at least one connection must be left to ordinary work")
        self._url = url
        self._application = application
        self._timeouts = timeouts or Timeouts()
        self._needs = schema.needed() if needs is None else needs
        self._reads_only = reads_only
        self._guards = guard.ENABLED if guards is None else guards
        self._compare = compare
        if self._guards:
            guard.install()
        self._workers = Workers(f"db-{application}")
        self._connections = connections
        self._permits = Permits(connections, reserved=reserved)
        self._jobs: set[_Job] = set()
        self._thread = threading.local()
        self._open: list[Connection] = []

    async def run(
        self,
        function: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `function(tx, ...)` as one transaction on a worker thread and return what it returns, once committed.

        It may be run several times (deadlock, serialization failure, a connection lost before COMMIT), so it must
        have no effect but its SQL. When the caller is cancelled, the running statement is waited for, the transaction
        is rolled back unless COMMIT was already under way, and only then is the cancellation passed on.

        Raises:
            Busy: no thread became free within 2 s.
            Unavailable: Postgres can't be had.
            SchemaTooOld: one of these; it lacks migrations that this code needs.
            OutcomeUnknown: lost during COMMIT, and `function` is not `@idempotent`.
            StatementFailed: a statement was refused; the transaction is rolled back.
        """
        return await self._admitted(lambda tx: function(tx, *args, **kwargs), function, reserved=False)

    async def run_reserved(
        self,
        function: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """`run` on a thread that ordinary work can't take: for what has a deadline of its own (pre-checkout)."""
        return await self._admitted(lambda tx: function(tx, *args, **kwargs), function, reserved=True)

    async def _admitted(self, body: Callable[[Transaction], T], function: Callable[..., T], *, reserved: bool) -> T:
        if not self._permits.take(reserved=reserved):
            began = time.monotonic()
            try:
                async with asyncio.timeout(_WAIT_FOR_THREAD_S):
                    await self._permits.wait(reserved=reserved)
            except TimeoutError:
                self._tell_wait(began, got=False)
                raise Busy(f"no free connection within {_WAIT_FOR_THREAD_S} s") from None
            self._tell_wait(began, got=True)
        job = _Job()
        self._jobs.add(job)
        name, may_rerun = function.__name__, getattr(function, "idempotent", False)
        running = self._workers.submit(lambda: self._attempt_all(body, name, may_rerun, job))
        running.add_done_callback(
            partial(self._ended, job)
        )  # the thread's end, not the caller's: it may still be connecting
        return await _finish(running, job)

    def _tell_wait(self, began: float, *, got: bool) -> None:
        waited = time.monotonic() - began
        if waited >= _TOLD_WAIT_S or not got:
            log.warning("connection_waited", ms=round(waited * 1000), connections=self._connections, got=got)

    def _ended(self, job: _Job, running: asyncio.Future[Any]) -> None:
        self._jobs.discard(job)
        self._permits.release()
        if not running.cancelled():
            running.exception()  # marked as seen: its caller may have gone

    def _attempt_all(self, body: Callable[[Transaction], T], name: str, may_rerun: bool, job: _Job) -> T:  # noqa: FBT001 -- internal
        injected = _InjectedFailure(name, must_be_idempotent=may_rerun, compare=self._compare) if self._guards else None
        failures = _Failures(may_rerun=may_rerun)
        while failures.attempts < _ATTEMPTS:
            try:
                return self._attempt(body, name, job, injected)
            except DatabaseError as error:
                if not isinstance(error, StatementFailed):
                    self._discard()
                failures.raise_or_retry(error, given_up=job.given_up())
            if not (injected and failures.attempts == 1):
                time.sleep(random.uniform(0, 0.01 * 2**failures.attempts))  # noqa: S311 -- jitter, not a secret
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _attempt(self, body: Callable[[Transaction], T], name: str, job: _Job, injected: _InjectedFailure | None) -> T:
        if job.given_up():
            raise Cancelled(name)
        with job.connecting():
            connection = self._connection()
        connection.begin(job.given_up)
        tx = Transaction(connection, job.given_up, name)
        try:
            with guard.inside_transaction() if self._guards else nullcontext():
                result = body(tx)
            tx.assert_sound()
            if injected is not None:
                injected.check(tx, result, connection)
            if job.given_up():
                raise Cancelled(name)
            failpoints.reach(f"{name}.before-commit")
        except (ConnectionLost, Cancelled):
            raise  # the session ends with it, and the server rolls back: who ran out of time is not to wait for that
        except BaseException:
            self._roll_back(connection)
            raise
        try:
            connection.commit(f"{name}.in-commit")
        except (StatementFailed, Unavailable):
            self._roll_back(connection)
            raise
        return result

    def _roll_back(self, connection: Connection) -> None:
        try:
            connection.rollback()
        except DatabaseError:
            self._discard()

    def _connection(self) -> Connection:
        connection: Connection | None = getattr(self._thread, "connection", None)
        if connection is None:
            connection = Connection(
                self._url,
                application=self._application,
                timeouts=self._timeouts,
                needs=self._needs,
                reads_only=self._reads_only,
            )
            self._thread.connection = connection
            self._open.append(connection)
        return connection

    def _discard(self) -> None:
        connection: Connection | None = getattr(self._thread, "connection", None)
        if connection is not None:
            self._thread.connection = None
            self._open.remove(connection)
            connection.close()

    def oldest_s(self) -> float:
        """For how many seconds the oldest transaction is under way, its caller still there or not; 0 when none is."""
        return time.monotonic() - min(job.began for job in self._jobs) if self._jobs else 0.0

    async def close(self) -> None:
        """Wait for running transactions and close every connection. Functions never do: they just die."""
        await asyncio.to_thread(self._workers.close)
        for connection in self._open:
            connection.close()
        self._open.clear()


class _Failures:
    """What the attempts of one `run` came to, and whether there is another.

    Args:
        may_rerun: also after a COMMIT whose outcome is unknown.
    """

    def __init__(self, *, may_rerun: bool) -> None:
        self.attempts = 0
        self._may_rerun = may_rerun
        self._timeouts = 0
        self._unknown: OutcomeUnknown | None = None
        self._stale = False

    def raise_or_retry(self, error: DatabaseError, *, given_up: bool) -> None:
        """Return when another attempt is to be made, raise what `run` raises when not."""
        self.attempts += 1
        match error:
            case OutcomeUnknown():
                self._unknown = error
                self._timeouts += isinstance(error.__cause__, ConnectionTimedOut)
                if not self._may_rerun or self._spent() or given_up:
                    raise error
            case StatementFailed():
                if error.code not in _RETRIED_CODES or self._spent():
                    raise error
            case StalePlan() if (
                self._stale and self._unknown is None
            ):  # a new session refuses it too: it is the statement
                raise StatementFailed(error.code) from None
            case ConnectionLost():
                self._stale = isinstance(error, StalePlan)
                self._timeouts += isinstance(error, ConnectionTimedOut)
                if self._spent():
                    # after an attempt that may have committed it can't be said that nothing was changed
                    raise self._unknown or Unavailable(str(error)) from None
            case _:
                raise self._unknown or error from None

    def _spent(self) -> bool:
        return self.attempts == _ATTEMPTS or self._timeouts == _MOST_TIMEOUTS


async def _finish(running: asyncio.Future[T], job: _Job) -> T:
    """The thread's result; through a cancellation, only once the thread has let go of the transaction.

    A thread that is still connecting has begun none, and will not.
    """
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        job.give_up()
        while not running.done() and not job.is_connecting:
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError:
                continue  # already on its way out; the thread is still waited for
        raise


class _InjectedFailure:
    """The injected failure: the first attempt runs to its end, is refused with 40001, and its result is remembered."""

    def __init__(self, name: str, *, must_be_idempotent: bool, compare: bool) -> None:
        self._name = name
        self._must_be_idempotent = must_be_idempotent
        self._compare = compare
        self._first: str | None = None

    def check(self, tx: Transaction, result: object, connection: Connection) -> None:
        if self._must_be_idempotent and not guard.consumes_key(tx.first_statement):
            raise AssertionError(f"{self._name} is @idempotent but its first statement consumes no key")
        seen = guard.comparable(result)
        if self._first is None:
            self._first = seen
            connection.simple(_INJECTED_FAILURE)
        elif self._compare and self._first != seen:
            raise AssertionError(f"{self._name} answers differently when it is run again: {self._first} / {seen}")
