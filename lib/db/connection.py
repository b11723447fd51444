"""One Postgres connection: prepared statements, timeouts, and driver errors turned into ours."""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import pg8000.native
from pg8000.exceptions import DatabaseError as DriverDatabaseError
from pg8000.exceptions import InterfaceError as DriverInterfaceError

from lib import failpoints
from lib.db.errors import ConnectionLost, OutcomeUnknown, StatementFailed, TooSlow, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

# The server is there but takes nobody in: shutting down, starting, out of connections, out of memory or disk.
_UNAVAILABLE = frozenset({"57P03", "53300", "53200", "53100", "3D000", "28P01", "28000"})
# The server ended this connection: administrator, crash of another backend, idle-in-transaction timeout.
_CONNECTION_ENDED = frozenset({"57P01", "57P02", "25P03", "08006", "08003", "57P05"})
# A plan prepared before a migration; a new connection prepares it again.
_STALE_PLAN = frozenset({"0A000", "26000"})
_TIMEOUTS = frozenset({"57014", "55P03"})
_LOST = (OSError, DriverInterfaceError)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Milliseconds (connect: seconds) of one connection.

    A statement ends before the socket gives up waiting for it; a transaction that nobody works in ends by itself. The
    function's own budget and the sender's deadline lie above them (docs/architecture.md, Budgets).
    """

    statement_ms: int = 3_000
    lock_ms: int = 2_000
    idle_in_transaction_ms: int = 10_000
    connect_s: float = 5.0

    @property
    def socket_s(self) -> float:
        """How long to wait for an answer before the connection counts as dead."""
        return self.statement_ms / 1000 + 2.0


def _address(url: str) -> dict[str, Any]:
    """The driver's arguments for `postgresql://user:pass@host:port/db` or `...@/db?host=<socket folder>`.

    Raises:
        ValueError: not such an URL. The text never quotes it: it holds a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"} or not parts.path.strip("/"):
        raise ValueError("a database URL must look like postgresql://user:password@host:port/database")
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    address: dict[str, Any] = {
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password) if parts.password else None,
        "database": unquote(parts.path.lstrip("/")),
    }
    port = parts.port or int(query.get("port", "5432"))
    if folder := query.get("host"):
        address["unix_sock"] = f"{folder}/.s.PGSQL.{port}"
    else:
        address |= {"host": parts.hostname or "127.0.0.1", "port": port}
        if query.get("sslmode", "disable") not in {"disable", "allow", "prefer"}:
            address["ssl_context"] = _tls(query)
    return address


def _tls(query: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=query.get("sslrootcert"))
    if query["sslmode"] != "verify-full":
        context.check_hostname = False  # verify-ca and require: Cloud SQL's certificates name no host
    if query["sslmode"] == "require" and "sslrootcert" not in query:
        context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def _translated() -> Iterator[None]:
    """Turn a driver error into ours, without its text (it may quote values)."""
    try:
        yield
    except DriverDatabaseError as error:
        details = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        code = str(details.get("C", "XX000"))
        if code in _CONNECTION_ENDED or code in _STALE_PLAN:
            raise ConnectionLost(f"SQLSTATE {code}") from None
        if code in _UNAVAILABLE:
            raise Unavailable(f"SQLSTATE {code}") from None
        kind = TooSlow if code in _TIMEOUTS else StatementFailed
        raise kind(code, details.get("n")) from None
    except _LOST as error:
        raise ConnectionLost(type(error).__name__) from None


class Connection:
    """A connection that is used by one thread at a time and is thrown away at the first sign of damage."""

    def __init__(self, url: str, *, application: str, timeouts: Timeouts) -> None:
        parameters = {
            "search_path": "atlas",
            "TimeZone": "UTC",
            "statement_timeout": str(timeouts.statement_ms),
            "lock_timeout": str(timeouts.lock_ms),
            "idle_in_transaction_session_timeout": str(timeouts.idle_in_transaction_ms),
        }
        try:
            with _translated():
                self._driver = pg8000.native.Connection(
                    **_address(url),
                    timeout=timeouts.connect_s,
                    application_name=application,
                    startup_params=parameters,
                )
        except (ConnectionLost, StatementFailed) as error:
            raise Unavailable(f"can't connect to Postgres: {error}") from None
        self._driver._usock.settimeout(timeouts.socket_s)  # noqa: SLF001 -- the driver has one timeout for connect and reads
        self._prepared: dict[str, pg8000.native.PreparedStatement] = {}

    def begin(self) -> None:
        """One round trip; on a connection that died while it was idle, this is where it shows."""
        with _translated():
            self._driver.execute_simple("begin")

    def execute(self, sql: str, parameters: dict[str, Any]) -> tuple[list[str], list[list[Any]], int]:
        """Column names, rows and the count of rows touched. One round trip, two more on a statement's first use."""
        with _translated():
            statement = self._prepared.get(sql)
            if statement is None:
                statement = self._prepared[sql] = self._driver.prepare(sql)
            rows = statement.run(**parameters)
            context = statement._context  # noqa: SLF001 -- the only place where the driver keeps the count
            columns = [column["name"] for column in statement.columns or ()]
        return columns, rows or [], context.row_count

    def commit(self, failpoint: str) -> None:
        """Commit.

        Raises:
            OutcomeUnknown: the connection was lost after COMMIT had been sent.
            StatementFailed: refused (a deferred constraint, 40001): rolled back for certain.
        """
        try:
            with _translated():
                if failpoints.armed(failpoint):
                    self._driver.send_QUERY("commit")
                    self._driver._sock.flush()  # noqa: SLF001 -- a crash between sending COMMIT and its answer
                    failpoints.reach(failpoint)
                self._driver.execute_simple("commit")
        except (ConnectionLost, Unavailable):
            raise OutcomeUnknown("the connection was lost during COMMIT") from None

    def rollback(self) -> None:
        """Roll back; a connection that can't is lost."""
        with _translated():
            self._driver.execute_simple("rollback")

    def simple(self, sql: str) -> None:
        """One or several statements without parameters or result: savepoints, the injected failure, migrations."""
        with _translated():
            self._driver.execute_simple(sql)

    def close(self) -> None:
        """Close, whatever state it is in."""
        try:
            self._driver.close()
        except _LOST:
            return
