"""One Postgres connection: prepared statements, timeouts, and driver errors turned into ours."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pg8000.native
from pg8000.core import COMMAND_COMPLETE, READY_FOR_QUERY, Context, _read, ci_unpack
from pg8000.exceptions import DatabaseError as DriverDatabaseError
from pg8000.exceptions import InterfaceError as DriverInterfaceError

from lib import failpoints
from lib.db import schema
from lib.db.address import BadAddress, DatabaseAddress
from lib.db.errors import (
    Cancelled,
    ConnectionLost,
    ConnectionTimedOut,
    DatabaseError,
    OutcomeUnknown,
    SchemaTooOld,
    StalePlan,
    StatementFailed,
    TooSlow,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# Classes of SQLSTATE that speak of the statement: data, constraints, conflicts, privileges and syntax, limits, what a function
# raised. The session is fine after one of these. Whatever is not listed says nothing of the kind (read-only, out of memory or
# disk, shutting down, no such database, internal error, a code of tomorrow): the session is replaced and the caller told to come
# again, which costs a connection where it was not needed, and heals where it was.
_OF_THE_STATEMENT = frozenset(
    {
        "20",
        "21",
        "22",
        "23",
        "24",
        "25",
        "27",
        "2B",
        "2F",
        "34",
        "38",
        "39",
        "3B",
        "3F",
        "40",
        "42",
        "44",
        "54",
        "55",
        "57",
        "P0",
    }
)
_OF_THE_SESSION = frozenset({
    "25006",  # read-only: a replica, or a host whose disk is full; a later session may write
    "25P03", "25P04",  # idle or open too long
    "57P01", "57P02", "57P03", "57P04", "57P05",  # shutting down, crashed, starting, dropped, idle
})  # fmt: skip
# The plan of a statement that was prepared before a migration; a new connection prepares it again. A feature that is not there
# has the same code.
_STALE_PLAN = frozenset({"0A000", "26000"})
_TIMEOUTS = frozenset({"57014", "55P03"})
_ENDED = frozenset({"FATAL", "PANIC"})
_LOST = (OSError, DriverInterfaceError)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Milliseconds (connect: seconds) of one connection.

    Statements end before the socket gives up waiting for them; a transaction in which nothing happens ends by itself. The
    function's own budget and the sender's deadline lie above them (docs/architecture.md, Budgets).
    """

    statement_ms: int = 3_000
    lock_ms: int = 2_000
    idle_in_transaction_ms: int = 10_000
    connect_s: float = 5.0

    def socket_s(self, statements: int = 1) -> float:
        """How long to wait for the answers to so many statements, sent together, before the connection counts as dead.

        Postgres starts the clock of statement_timeout anew for each of them.
        """
        return statements * self.statement_ms / 1000 + 2.0


# Everything that a database, a role or a server may set otherwise and that the code or the driver relies on.
# (`default_transaction_read_only` is not among them: a host sets it to protect a disk that is full.)
_SESSION = {
    "search_path": "atlas",
    "client_encoding": "UTF8",
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "array_nulls": "on",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "synchronous_commit": "on",  # 200 means durable
    "row_security": "on",
    "exit_on_error": "off",
    "idle_session_timeout": "0",
}
_READS_ONLY = {"default_transaction_read_only": "on"}
_WITH_TRANSACTION_TIMEOUT = 17
"""The first version that knows it; an older one refuses a session that names it."""


@contextmanager
def _translated() -> Iterator[None]:
    """Turn a driver error into ours, without its text (it may quote values)."""
    try:
        yield
    except DriverDatabaseError as error:
        details = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        raise _ours(str(details.get("C", "XX000")), str(details.get("V", "")), details.get("n")) from None
    except TimeoutError:
        raise ConnectionTimedOut("TimeoutError") from None
    except _LOST as error:
        cause = error.__cause__ or error.__context__
        kind = ConnectionTimedOut if isinstance(cause, TimeoutError) else ConnectionLost
        raise kind(type(error).__name__) from None


def _ours(code: str, severity: str, constraint: str | None) -> DatabaseError:
    if code in _STALE_PLAN:
        return StalePlan(code)
    if severity in _ENDED:
        return ConnectionLost(f"SQLSTATE {code}")
    if code in _TIMEOUTS:
        return TooSlow(code, constraint)
    if code[:2] in _OF_THE_STATEMENT and code not in _OF_THE_SESSION:
        return StatementFailed(code, constraint)
    return Unavailable(f"SQLSTATE {code}")


_INT16, _INT32 = struct.Struct("!h").pack, struct.Struct("!i").pack
_NULL = b"\xff\xff\xff\xff"  # a length of -1
_EXECUTE = b"E\x00\x00\x00\x09\x00\x00\x00\x00\x00"  # the unnamed portal, all of its rows
_SYNC = b"S\x00\x00\x00\x04"


def _bind_and_execute(name: bytes, values: Sequence[str | None]) -> bytes:
    """Messages of the extended query protocol that run a prepared statement, everything as text.

    The driver's own ask the server to flush after each message: it answers one statement with three packets, and the
    thread that waits has to get hold of the interpreter for each.
    """
    parts = [b"\0", name, _INT16(0), _INT16(len(values))]
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            encoded = value.encode()
            parts += (_INT32(len(encoded)), encoded)
    parts.append(_INT16(0))
    body = b"".join(parts)
    return b"".join((b"B", _INT32(len(body) + 4), body, _EXECUTE))


Result = tuple[list[str], list[list[Any]], int]
"""Column names, rows, and the count of rows touched."""


class _Statement:
    """A statement that this connection has prepared."""

    def __init__(self, driver: pg8000.native.Connection, sql: str) -> None:
        prepared = pg8000.native.PreparedStatement(driver, sql)
        self._name: bytes = prepared.name_bin
        self._make_values = prepared.make_vals
        self._types = driver.py_types
        self._columns, self._readers = prepared.cols, prepared.input_funcs
        self._sql = sql
        self.columns: list[str] = [column["name"] for column in prepared.cols or ()]

    def messages(self, parameters: dict[str, Any]) -> bytes:
        """What runs it."""
        return _bind_and_execute(self._name, pg8000.native.make_params(self._types, self._make_values(parameters)))

    def context(self) -> Context:
        """Where the driver puts what comes back."""
        return Context(self._sql, columns=self._columns, input_funcs=self._readers)


def _session(timeouts: Timeouts) -> dict[str, str]:
    return _SESSION | {
        "statement_timeout": str(timeouts.statement_ms),
        "lock_timeout": str(timeouts.lock_ms),
        "idle_in_transaction_session_timeout": str(timeouts.idle_in_transaction_ms),
    }


class Connection:
    """A connection that is used by one thread at a time and is thrown away at the first sign of damage.

    Args:
        url: `DATABASE_URL`, or the owner's.
        application: shown in `pg_stat_activity`.
        timeouts: of this session.
        needs: the schema that the code needs (lib/db/schema.py); None, of what migrates or looks from outside, needs none.
        reads_only: its transactions change nothing.

    Raises:
        SchemaTooOld: the database has an older one.
        Unavailable: there is no session to be had.
    """

    def __init__(
        self, url: str, *, application: str, timeouts: Timeouts, needs: int | None = None, reads_only: bool = False
    ) -> None:
        try:
            with _translated():
                self._driver = pg8000.native.Connection(
                    **DatabaseAddress.parse(url).driver_arguments(),
                    timeout=timeouts.connect_s,
                    application_name=application,
                    startup_params=_session(timeouts) | (_READS_ONLY if reads_only else {}),
                )
            self._open(needs)
        except BadAddress as error:
            raise Unavailable(f"the database's address can't be used: {error}") from None
        except SchemaTooOld:
            raise
        except DatabaseError as error:
            raise Unavailable(f"can't connect to Postgres: {error}") from None
        self._begin_with(timeouts)

    def _begin_with(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._patience = 0.0
        self._wait_for(1)
        self._prepared: dict[str, _Statement] = {}
        self._begun = True
        self._ahead = b""
        self._given_up: Callable[[], bool] | None = None
        self._pending = b""
        self._before_pending = b""
        self._in_step = True

    def _open(self, needs: int | None) -> None:
        """The first statements of a session, in one round trip; a session that they fail in is closed."""
        statements = ["set transaction_timeout = 0"] if self.server_version >= _WITH_TRANSACTION_TIMEOUT else []
        if needs is not None:
            statements.append(schema.HELD)
        try:
            with _translated():
                rows = self._driver.execute_simple("; ".join(statements)).rows if statements else None
            held = int(rows[0][0]) if rows else 0
        except StatementFailed as error:
            self.close()
            if needs is None or error.code != schema.MISSING:
                raise
            held = 0
        except DatabaseError:
            self.close()
            raise
        if needs is not None and held < needs:
            self.close()
            raise SchemaTooOld(held, needs)

    @property
    def server_version(self) -> int:
        """The server's major version."""
        return int(str(self._driver.parameter_statuses["server_version"]).partition(".")[0].split(maxsplit=1)[0])

    def _wait_for(self, statements: int) -> None:
        """Give the socket as long as Postgres may legally take for so many statements."""
        patience = self._timeouts.socket_s(statements)
        if patience != self._patience:
            self._driver._usock.settimeout(patience)  # noqa: SLF001 -- the driver has one timeout for connect and reads
            self._patience = patience

    @contextmanager
    def _exchanging(self, statements: int = 1) -> Iterator[None]:
        """Around everything that is sent and read.

        What ends it before the server says that it is ready again (a lost connection, but also a value that can't be read)
        leaves answers unread, which the next statement would take for its own: such a connection is never used again.
        """
        if not self._in_step:
            raise ConnectionLost("answers of an earlier statement are unread")
        self._wait_for(statements)
        self._in_step = False
        with _translated():
            try:
                yield
            except DriverDatabaseError:
                self._in_step = True  # raised by the driver only once the server was ready again
                raise
        self._in_step = True

    def begin(self, given_up: Callable[[], bool] | None = None) -> None:
        """Begin a transaction, with its first statement: nothing is sent before.

        Once it is `given_up`, no further statement is prepared or run: each is a round trip, and over a slow network a caller
        who ran out of time waits for one of them, not for all.
        """
        self._begun = False
        self._given_up = given_up

    def execute(self, sql: str, parameters: dict[str, Any]) -> Result:
        """One statement in one round trip, one more on its first use."""
        return self.execute_together((sql, parameters))[0]

    def execute_together(self, *statements: tuple[str, dict[str, Any]]) -> list[Result]:
        """Several statements in one round trip, one more on each one's first use. After one that is refused no other is run.

        BEGIN goes before the first one without a Sync between them, so if it fails no statement is run at all. On a
        connection that died while it was idle, this is where it shows.
        """
        self.send_pending()
        prepared = [self._statement(sql) for sql, _ in statements]
        # Before BEGIN counts as sent: a value may be none that can be sent.
        messages = [one.messages(given) for one, (_, given) in zip(prepared, statements, strict=True)]
        contexts = [one.context() for one in prepared]
        self._assert_wanted()
        opening = self._opening()
        before = [Context("before")] * opening.count(_EXECUTE)
        self._exchange(opening + b"".join(messages), *before, *contexts)
        return [(one.columns, got.rows or [], got.row_count) for one, got in zip(prepared, contexts, strict=True)]

    def execute_with_commit(self, sql: str, parameters: dict[str, Any]) -> None:
        """Keep a statement, whose result is not needed, until COMMIT takes it along, or whatever is sent next.

        If it fails, COMMIT is not run, and raises its error.

        Raises:
            ValueError: it returns rows, which are not read.
        """
        self.send_pending()
        self._statement("commit")  # prepared now: what fails from here on may have been a commit
        statement = self._statement(sql)
        if statement.columns:
            raise ValueError("a statement that returns rows can't go with COMMIT")
        messages = statement.messages(parameters)
        self._before_pending = self._opening()
        self._pending = self._before_pending + messages

    def send_pending(self) -> None:
        """Run a pending statement now."""
        if self._pending:
            pending, self._pending = self._pending, b""
            self._exchange(pending, Context("pending"))

    def drop_pending(self) -> None:
        """Forget a pending statement: the savepoint that it belongs to is being undone, which must be there for that."""
        if self._pending:
            self._pending, self._ahead = b"", self._before_pending

    def precede(self, sql: str) -> None:
        """Send this with the statement that follows, before it: a savepoint, which cannot fail by itself."""
        self.send_pending()
        self._ahead += self._statement(sql).messages({})

    def _opening(self) -> bytes:
        """What goes before the next statement: BEGIN when it is still to be sent, then what `precede` was given."""
        opening = b"" if self._begun else self._statement("begin").messages({})
        opening, self._ahead = opening + self._ahead, b""
        self._begun = True
        return opening

    def _exchange(self, messages: bytes, *contexts: Context) -> None:
        """One round trip. Without a Sync between messages, nothing that follows a failed one is run.

        Args:
            messages: what runs one statement or several.
            contexts: one for each statement, or one for all.
        """
        with self._exchanging(messages.count(_EXECUTE)):
            self._driver._sock.write(messages + _SYNC)  # noqa: SLF001 -- the driver has no way to send messages of one's own
            self._driver._sock.flush()  # noqa: SLF001 -- as above
            if len(contexts) == 1:
                self._driver.handle_messages(contexts[0])
            else:
                self._read_each(contexts)

    def _read_each(self, contexts: Sequence[Context]) -> None:
        """As the driver reads one answer, but every statement's goes to its own context."""
        stream, handlers = self._driver._sock, self._driver.message_types  # noqa: SLF001 -- as above
        following = iter(contexts)
        context = next(following)
        code = b""
        while code != READY_FOR_QUERY:
            code, length = ci_unpack(_read(stream, 5))
            handlers[code](_read(stream, length - 4), context)
            if code == COMMAND_COMPLETE:
                context = next(following, context)
        for context in contexts:
            if context.error is not None:
                raise context.error

    def _statement(self, sql: str) -> _Statement:
        statement = self._prepared.get(sql)
        if statement is None:
            self._assert_wanted()
            if self._begun and self._ahead:  # a statement that can't even be prepared must find its savepoint there
                self._exchange(self._opening(), Context("before"))
            with self._exchanging():
                statement = self._prepared[sql] = _Statement(self._driver, sql)
        return statement

    def _assert_wanted(self) -> None:
        """Raises: Cancelled."""
        if self._given_up is not None and self._given_up():
            raise Cancelled("the caller ran out of time")

    def commit(self, failpoint: str) -> None:
        """Commit.

        Raises:
            OutcomeUnknown: the connection was lost after COMMIT had been sent.
            StatementFailed, Unavailable: refused by the server (a deferred constraint, 40001, a full disk), or the pending
                statement was: rolled back for certain.
            ConnectionLost: it was lost, or out of step, before: nothing was sent.
        """
        if not self._begun:
            self._begun = True
            return
        if failpoints.armed(failpoint):
            self.send_pending()
        if not self._in_step:
            raise ConnectionLost("answers of an earlier statement are unread")
        pending, self._pending = self._pending, b""
        try:
            if failpoints.armed(failpoint):
                with self._exchanging():
                    self._driver.send_QUERY("commit")
                    self._driver._sock.flush()  # noqa: SLF001 -- a crash between sending COMMIT and its answer
                    failpoints.reach(failpoint)
                    self._driver.handle_messages(Context("commit"))
            elif pending:
                self._exchange(pending + self._statement("commit").messages({}), Context("commit"))
            else:
                self._simple("commit")
        except Exception as error:
            if self._in_step:  # the server's word: what it refused is not committed
                raise
            raise OutcomeUnknown("the connection was lost during COMMIT") from error

    def rollback(self) -> None:
        """Roll back; a connection that can't is lost.

        Raises:
            ConnectionLost: or it is out of step; either way not to be used again.
        """
        self._pending = self._ahead = b""
        if not self._begun:
            self._begun = True
            return
        self._simple("rollback")

    def simple(self, sql: str) -> None:
        """One or several statements without parameters or result: savepoints, the injected failure, migrations."""
        self.send_pending()
        if opening := self._opening():
            self._exchange(opening, Context("before"))
        self._simple(sql)

    def _simple(self, sql: str) -> None:
        with self._exchanging():
            self._driver.execute_simple(sql)

    def close(self) -> None:
        """Close, whatever state it is in."""
        try:
            self._driver.close()
        except _LOST:
            return


class AdoptedConnection(Connection):
    """Over a session that was opened another way, an operator's; it is set as every other one is, and not to be used beside this."""

    def __init__(self, driver: pg8000.native.Connection, *, timeouts: Timeouts, needs: int) -> None:
        """Raises: SchemaTooOld: the database lacks migrations that this code needs. DatabaseError: the session can't be set."""
        self._driver = driver
        self._open(needs)
        self._begin_with(timeouts)
        for name, value in _session(timeouts).items():
            self.execute("select set_config(:name, :value, false)", {"name": name, "value": value})
