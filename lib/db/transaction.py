"""What a transaction function is given: SQL in, frozen values out."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from lib import failpoints
from lib.db.errors import Cancelled, StatementFailed
from lib.db.query import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lib.db.connection import Connection, Result

T = TypeVar("T")
U = TypeVar("U")


class Transaction:
    """Runs statements of one transaction. Only `Database.run` makes one; nothing outlives it."""

    def __init__(self, connection: Connection, cancelled: Callable[[], bool], name: str) -> None:
        self._connection = connection
        self._cancelled = cancelled
        self.name = name
        self.first_statement: str | None = None
        self._poisoned = False

    def _run(self, sql: str, parameters: dict[str, Any]) -> Result:
        return self._send(sql, lambda: self._connection.execute(sql, parameters))

    def _send(self, sql: str, how: Callable[[], T]) -> T:
        if self._cancelled():
            raise Cancelled(self.name)
        if self.first_statement is None:
            self.first_statement = sql
        try:
            return how()
        except Exception:  # a value that can't be sent or read as well: the statement did not do what was asked for
            self._poisoned = True
            raise

    def _control(self, how: Callable[[], None]) -> None:
        try:
            how()
        except Exception:
            self._poisoned = True
            raise

    def rows(self, shape: type[T], sql: str, **parameters: Any) -> list[T]:
        """Every row as a `shape` (a frozen dataclass) whose field names are the column names."""
        return self.ask(Query(shape, sql, parameters))

    def ask(self, query: Query[T]) -> list[T]:
        """Every row of a query."""
        columns, rows, _ = self._run(query.sql, query.parameters)
        return query.read(columns, rows)

    def row(self, shape: type[T], sql: str, **parameters: Any) -> T | None:
        """The only row, or None.

        Raises:
            RuntimeError: more than one row came back.
        """
        found = self.rows(shape, sql, **parameters)
        if len(found) > 1:
            raise RuntimeError(f"{self.name}: one row expected, {len(found)} came back")
        return found[0] if found else None

    def one(self, shape: type[T], sql: str, **parameters: Any) -> T:
        """The only row, which must be there.

        Raises:
            RuntimeError: none or several.
        """
        found = self.row(shape, sql, **parameters)
        if found is None:
            raise RuntimeError(f"{self.name}: a row expected, none came back")
        return found

    def value(self, sql: str, **parameters: Any) -> Any:
        """First column of the first row, or None when there is no row."""
        _, rows, _ = self._run(sql, parameters)
        return rows[0][0] if rows else None

    def values(self, sql: str, **parameters: Any) -> list[Any]:
        """First column of every row."""
        _, rows, _ = self._run(sql, parameters)
        return [row[0] for row in rows]

    def execute(self, sql: str, **parameters: Any) -> int:
        """Run a statement; how many rows it touched."""
        return self._run(sql, parameters)[2]

    def execute_with_commit(self, sql: str, **parameters: Any) -> None:
        """Run a statement whose result is not needed, on the way with COMMIT: the last one of most transactions.

        Its refusal ends the transaction there. A statement after it is allowed; then it goes before that one, alone.
        """
        self._send(sql, lambda: self._connection.execute_with_commit(sql, parameters))

    def together(self, first: Query[T], second: Query[U]) -> tuple[list[T], list[U]]:
        """Run two statements in one round trip; the second is run whatever rows the first returns, and sees what it did.

        Raises:
            DatabaseError: one was refused; after a refused first one the second was not run.
        """
        pair = (first.sql, first.parameters), (second.sql, second.parameters)
        one, other = self._send(first.sql, lambda: self._connection.execute_together(*pair))
        return first.read(*one[:2]), second.read(*other[:2])

    @contextmanager
    def savepoint(self, name: str) -> Iterator[None]:
        """A part that may fail alone: what it did is undone, the error is passed on, the transaction lives.

        Only a refused statement or an ordinary exception is undone this way; a lost connection ends it all. Its beginning goes
        with its first statement, its end with what follows it, COMMIT most often: neither is a round trip.
        """
        self._control(lambda: self._connection.precede(f"savepoint {name}"))
        try:
            yield
            self._connection.send_pending()
        except (StatementFailed, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
            self._connection.drop_pending()  # it would be undone anyway, and its own refusal must not hide this error
            self._control(lambda: self._connection.simple(f"rollback to savepoint {name}"))
            self._poisoned = False
            raise
        self._control(lambda: self._connection.execute_with_commit(f"release savepoint {name}", {}))

    def reach(self, place: str) -> None:
        """A failpoint inside the transaction (lib/failpoints.py)."""
        failpoints.reach(place)

    def assert_sound(self) -> None:
        """Refuse to commit after a swallowed error: Postgres would answer COMMIT with a silent ROLLBACK.

        Raises:
            RuntimeError: a statement failed outside a savepoint and the function went on.
        """
        if self._poisoned:
            raise RuntimeError(f"{self.name} went on after a failed statement")
