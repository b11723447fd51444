"""What can go wrong between a function and Postgres, in the words its callers need.

A driver error's text may quote row values (`Key (id)=(...) already exists`), so none of it is passed on: only the
SQLSTATE and the constraint's name are.
"""

from __future__ import annotations


class DatabaseError(Exception):
    """Base of all of them."""


class Unavailable(DatabaseError):
    """Postgres can't be had now; nothing was changed. The answer to a sender is 503 with Retry-After."""

    retry_after_seconds = 2


class SchemaTooOld(Unavailable):
    """The database lacks migrations that this code needs: a release got traffic before its migrations, or one was restored.

    Attributes:
        held: number of the newest pre file that the database has, 0 for none.
        needed: of the newest that this code has.
    """

    retry_after_seconds = 10  # a migration takes longer than a lost connection

    def __init__(self, held: int, needed: int) -> None:
        super().__init__(
            f"the database's schema is {held} and this release needs {needed}: it is to be migrated; try again"
        )
        self.held, self.needed = held, needed


class Busy(Unavailable):
    """Every connection of this instance stayed busy for the whole waiting time."""


class OutcomeUnknown(DatabaseError):
    """The connection was lost while COMMIT was under way: it may or may not have happened.

    A `@idempotent` function is run again and finds its key used or not; it raises this only when every further attempt failed too.
    """


_RERUN_WHOLE = frozenset({"40001", "40P01"})  # serialization, deadlock


class StatementFailed(DatabaseError):
    """Postgres refused a statement.

    Attributes:
        code: SQLSTATE, five characters.
        constraint: name of the violated constraint, or None.
    """

    def __init__(self, code: str, constraint: str | None = None) -> None:
        super().__init__(f"SQLSTATE {code}" + (f" ({constraint})" if constraint else ""))
        self.code = code
        self.constraint = constraint

    @property
    def must_rerun(self) -> bool:
        """Whether the whole transaction is to be run again: nothing may be made of the part that failed."""
        return self.code in _RERUN_WHOLE


class TooSlow(StatementFailed):
    """statement_timeout or lock_timeout ended the statement; the transaction is rolled back."""


class ConnectionLost(DatabaseError):
    """The connection went away before COMMIT was sent, so nothing happened. `run` retries it by itself."""


class ConnectionTimedOut(ConnectionLost):
    """No answer within the longest time that the statements under way may take: a frozen server or a lost network."""


class StalePlan(ConnectionLost):
    """A statement's plan is of before a migration, or it asks for what this server does not have.

    Attributes:
        code: SQLSTATE.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"SQLSTATE {code}")
        self.code = code


class ExternalCallInTransaction(AssertionError):
    """A transaction function tried to reach the network (seen only where the guard is on: tests, local runs)."""


class Cancelled(DatabaseError):
    """The caller's budget ran out: nothing more is sent, and the session, with its transaction, ends."""
