"""The database as the doctor reads it: in a transaction that can't write, one for each question."""

from __future__ import annotations

import contextlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import pg8000.exceptions
import pg8000.native

from infra.doctor.check import WrongError
from infra.environment import NoDatabase
from infra.google.client import NotLoggedIn
from lib.db.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lib.db.connection import Connection, Result

STATEMENT_S = 8.0
"""Of one statement; a check's own time is longer, so that what is slow is named by the database and not by the clock."""


class Reading:
    """A session that reads, in the shape in which the domain's queries and the invariants want one."""

    def __init__(self, driver: pg8000.native.Connection, statement_s: float) -> None:
        self._driver = driver
        # A statement ends before the socket gives up; a server that is gone without a word ends here.
        driver._usock.settimeout(statement_s + 2)  # noqa: SLF001 - the driver takes it for connecting alone
        # In the session, not in the transaction alone: a statement that ends the transaction would begin a writing one.
        driver.run(
            "set session characteristics as transaction read only; set search_path = atlas;"
            f" set statement_timeout = {round(statement_s * 1000)}; set lock_timeout = 2000; set timezone = 'UTC'"
        )
        driver.run("begin transaction isolation level repeatable read read only")

    def execute(self, sql: str, parameters: dict[str, Any]) -> Result:
        """One statement; column names, rows, and how many."""
        rows = self._driver.run(sql, **parameters) or []
        columns = [str(column["name"]) for column in self._driver.columns or ()]
        return columns, [list(row) for row in rows], self._driver.row_count

    @property
    def connection(self) -> Connection:
        """For `lib.db.invariants`, which executes and does nothing else with it."""
        return cast("Connection", self)

    @property
    def transaction(self) -> Transaction:
        """For the queries of `lib.domain`."""
        return Transaction(self.connection, lambda: False, "doctor")


class Sessions:
    """Those of one run of the doctor. One that answered is kept for the next question: to come in costs certificates and round trips.

    Args:
        connect: opens one.
    """

    def __init__(self, connect: Callable[[], pg8000.native.Connection]) -> None:
        self._connect = connect
        self._kept: list[pg8000.native.Connection] = []

    @contextmanager
    def reading(self, statement_s: float = STATEMENT_S) -> Iterator[Reading]:
        """A session that reads at one moment; a statement ends after `statement_s`. From any thread.

        Raises:
            WrongError: it can't be had, or a statement was refused; in words without user, password or values.
        """
        driver = None
        try:
            driver, session = self._begun(statement_s)
            yield session
            driver.run("rollback")
        except (NoDatabase, NotLoggedIn) as error:
            raise WrongError(str(error)) from None
        except pg8000.exceptions.DatabaseError as error:
            details = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
            words = (
                details.get("M", "no reason given") if details.get("C", "")[:2] in _TELLING else "see the server's log"
            )
            raise WrongError(f"the database refuses: SQLSTATE {details.get('C', 'unknown')}, {words}") from None
        except (pg8000.exceptions.InterfaceError, OSError) as error:
            raise WrongError(f"the database does not answer: {type(error).__name__}") from None
        else:
            self._kept.append(driver)
            driver = None
        finally:
            if driver is not None:
                _close(driver)

    def close(self) -> None:
        """Let go of those that are kept."""
        while self._kept:
            _close(self._kept.pop())

    def _begun(self, statement_s: float) -> tuple[pg8000.native.Connection, Reading]:
        while self._kept:
            kept = self._kept.pop()
            try:
                return kept, Reading(kept, statement_s)
            except (pg8000.exceptions.Error, OSError):  # it ended meanwhile, which says nothing of the next one
                _close(kept)
        fresh = self._connect()
        try:
            return fresh, Reading(fresh, statement_s)
        except BaseException:
            _close(fresh)
            raise


def _close(driver: pg8000.native.Connection) -> None:
    with contextlib.suppress(pg8000.exceptions.InterfaceError, OSError):
        driver.close()


_TELLING = frozenset({"3D", "42", "53", "57", "55", "28"})
"""Classes of SQLSTATE whose message names objects and states of the server, never a value."""
