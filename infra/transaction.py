"""Run a transaction function of `lib.domain` over an operator's session, which `infra.environment` opened."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import pg8000.exceptions
import pg8000.native

from lib.db import schema
from lib.db.connection import AdoptedConnection, Timeouts
from lib.db.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")
_TIMEOUTS = Timeouts(statement_ms=30_000, lock_ms=10_000, idle_in_transaction_ms=30_000, connect_s=15.0)
"""A person waits for it: longer than a function would, and never for ever."""


def run(
    session: pg8000.native.Connection,
    function: Callable[Concatenate[Transaction, P], T],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run `function(tx, ...)` as one transaction, once, and close the session.

    Raises:
        lib.db.SchemaTooOld: the database lacks migrations that this code needs.
        lib.db.OutcomeUnknown: lost during COMMIT; to say it again tells whether it was done.
        lib.db.DatabaseError: refused or lost; nothing was changed.
    """
    name = getattr(function, "__name__", "transaction")
    try:
        connection = AdoptedConnection(session, timeouts=_TIMEOUTS, needs=schema.needed())
        connection.begin()
        tx = Transaction(connection, lambda: False, name)
        try:
            result = function(tx, *args, **kwargs)
            tx.assert_sound()
        except BaseException:
            connection.rollback()
            raise
        connection.commit(f"{name}.in-commit")
        return result
    finally:
        with contextlib.suppress(OSError, pg8000.exceptions.InterfaceError):  # what was lost is closed already
            session.close()
