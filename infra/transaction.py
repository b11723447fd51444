"""Run a transaction function of `lib.domain` over an operator's session, and end the command by what came of it."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import pg8000.exceptions
import pg8000.native

from infra.environment import NoDatabase, NoEnvironment
from infra.google.client import BadEndpoint, GoogleError, NotLoggedIn
from lib.db import DatabaseError, schema
from lib.db.address import BadAddress
from lib.db.connection import AdoptedConnection, Timeouts
from lib.db.transaction import Transaction
from lib.settings.pricelist import InvalidPriceList

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")
_TIMEOUTS = Timeouts(statement_ms=30_000, lock_ms=10_000, idle_in_transaction_ms=30_000, connect_s=15.0)
"""A person waits for it: longer than a function would, and never for ever."""


class Session:
    """An operator's session, for several transactions one after the other; to be closed."""

    def __init__(self, driver: pg8000.native.Connection) -> None:
        """Raises: SchemaTooOld: the database lacks migrations that this code needs. DatabaseError: the session can't be set."""
        self._driver = driver
        try:
            self._connection = AdoptedConnection(driver, timeouts=_TIMEOUTS, needs=schema.needed())
        except BaseException:
            self.close()
            raise

    def run(self, function: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """`function(tx, ...)` as one transaction, once.

        Raises:
            lib.db.OutcomeUnknown: lost during COMMIT; to say it again tells whether it was done.
            lib.db.DatabaseError: refused or lost; nothing was changed.
        """
        name = getattr(function, "__name__", "transaction")
        self._connection.begin()
        tx = Transaction(self._connection, lambda: False, name)
        try:
            result = function(tx, *args, **kwargs)
            tx.assert_sound()
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.commit(f"{name}.in-commit")
        return result

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError, pg8000.exceptions.InterfaceError):  # what was lost is closed already
            self._driver.close()


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
    opened = Session(session)
    try:
        return opened.run(function, *args, **kwargs)
    finally:
        opened.close()


def exit_code(
    work: Callable[[], int], *, nothing: str, perhaps: str, again: str, refusals: tuple[type[Exception], ...]
) -> int:
    """What the command ends with, and in words why, when it is not what `work` says.

    Args:
        work: does it, tells of it and returns the code.
        nothing: `Nothing was changed`: when that is certain.
        perhaps: `It may not have been done`: when it is not.
        again: what the same command does when it is given again.
        refusals: what `work` raises where the words of the command, or the domain, refuse: 2.

    Returns:
        2 also for an environment that can't be used and for what the domain can't reckon; 1 when the database can't be had or Google
        can't be asked.
    """
    refused: tuple[type[Exception], ...] = (*refusals, NoEnvironment, BadEndpoint, BadAddress, InvalidPriceList)
    try:
        return work()
    except DatabaseError as error:
        sys.stderr.write(f"{perhaps} ({error}). {again}\n")
        return 1
    except (NoDatabase, NotLoggedIn, GoogleError) as error:
        sys.stderr.write(f"{nothing}.\n{error}\n")
        return 1
    except refused as error:
        sys.stderr.write(f"{nothing}.\n{error}\n")
        return 2
    except (ArithmeticError, LookupError, ValueError) as error:
        sys.stderr.write(f"{nothing}.\n{type(error).__name__}: {error}\n")
        return 2
