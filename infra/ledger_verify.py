"""`make ledger-verify FROM=s3://bucket/folder`: is the copy of the books whole and unchanged, and what do the books come to by it.

It needs the bucket alone, and a key that may read there, in `LEDGER_EXPORT_KEY`. With `AGAINST=` or `ENV=` each line is compared with the
books themselves. It writes nothing, there or here.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import httpx

from infra import environment
from infra.environment import NoDatabase, NoEnvironment
from infra.google.client import BadEndpoint, GoogleError, NotLoggedIn
from lib import currencies
from lib.db import DatabaseError, schema
from lib.db.address import BadAddress
from lib.db.connection import AdoptedConnection, Connection, Timeouts
from lib.db.transaction import Transaction
from lib.domain import ledger_export
from lib.off_site import files
from lib.off_site.store import Store, StoreError
from lib.off_site.verify import BrokenError, verify
from lib.settings import plain, values
from lib.settings.values import UnusableSetting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date

    from infra.environment import Environment
    from lib.domain.ledger_export import Copied, Due
    from lib.off_site.verify import Verified

GOOD, BROKEN, NOT_CHECKED = 0, 1, 2
_TIMEOUTS: Final = Timeouts(statement_ms=60_000, lock_ms=10_000, idle_in_transaction_ms=600_000, connect_s=15.0)
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,99}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_KEY: Final = "LEDGER_EXPORT_KEY"
_OF_ENVIRONMENT: Final = ("LEDGER_EXPORT_ENDPOINT", "LEDGER_EXPORT_REGION")


class _Refused(Exception):
    """What was said can't be; the text says why and quotes nothing that may be secret."""


def main(arguments: list[str] | None = None) -> int:
    """0: whole, and as the books say. 1: the first thing that is not, named. 2: it could not be looked at."""
    options = _parser().parse_args(arguments)
    try:
        return _checked(options)
    except BrokenError as error:
        return _complain(f"BROKEN  {error}", BROKEN)
    except plain.MissingSetting as error:
        return _complain(f"Nothing was checked.\n{error} is not set", NOT_CHECKED)
    except (_Refused, UnusableSetting, NoEnvironment, BadEndpoint, BadAddress) as error:
        return _complain(f"Nothing was checked.\n{error}", NOT_CHECKED)
    except StoreError as error:
        return _complain(f"The store {error}. It was not checked to its end.", NOT_CHECKED)
    except (DatabaseError, NoDatabase, NotLoggedIn, GoogleError) as error:
        return _complain(f"The books can't be had ({error}). It was not checked to its end.", NOT_CHECKED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.ledger_verify", description="Check the copy of the books.")
    parser.add_argument("--from", dest="source", default="", help="s3://bucket/folder; with --env that of its settings")
    parser.add_argument("--against", default="", help="the NAME of the variable that holds the database's address")
    parser.add_argument("--env", default="", help="local, dev or prod: compare with its books, as a reader")
    parser.add_argument("--known", default="", help="sha256 of a manifest that was written down elsewhere")
    parser.add_argument("--wallets", action="store_true", help="list what each customer has")
    return parser


def _checked(options: argparse.Namespace) -> int:
    found = environment.load(options.env) if options.env else None
    _refuse_nonsense(options)
    source = options.source or (found.settings.get("LEDGER_EXPORT_URL", "") if found else "")
    try:
        folder = values.store_folder(source)
    except ValueError as error:
        raise _Refused(f"FROM: {error}") from None
    settings = _settings(folder, found)
    if options.against:
        address = plain.required(options.against, plain.database_url)
        connection = Connection(
            address, application="ledger-verify", timeouts=_TIMEOUTS, needs=schema.needed(), reads_only=True
        )
    elif found is not None:
        connection = AdoptedConnection(found.connect("readonly"), timeouts=_TIMEOUTS, needs=schema.needed())
    else:
        return _told(source, asyncio.run(_verify(settings, None, options.known)), options)
    with closing(connection):
        books = Books(connection, settings.address)
        code = _told(source, asyncio.run(_verify(settings, books, options.known)), options)
        if code == GOOD:
            _say(f"Every line is what the books have. Closed there last: {books.newest_closed() or 'no day'}.")
        return code


def _refuse_nonsense(options: argparse.Namespace) -> None:
    problems = []
    if options.against and not _VARIABLE.fullmatch(options.against):
        problems.append(
            "AGAINST is the name of a variable, such as DATABASE_URL: an address has a password, and a command line is for all to read"
        )
    if options.against and options.env:
        problems.append("AGAINST and ENV both say which books are meant: give one of them")
    if options.known and not _HASH.fullmatch(options.known):
        problems.append("KNOWN must be the sha256 of a manifest: 64 hexadecimal digits")
    if problems:
        raise _Refused("\n".join(problems))


def _settings(folder: tuple[str, str], found: Environment | None) -> plain.StoreSettings:
    """By the variables; what is not among them is the environment's, where one was named."""
    if found is not None:
        for name in _OF_ENVIRONMENT:
            if not plain.text(name) and found.settings.get(name):
                os.environ[name] = found.settings[name]
        if not plain.text(_KEY):
            os.environ[_KEY] = found.secret(_KEY)
    return plain.store_of(folder)


async def _verify(settings: plain.StoreSettings, books: Books | None, known: str) -> Verified:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await verify(Store(lambda: client, settings), books, known)


class Books:
    """The books as rows to compare with: pages of a day's lines, each read in a transaction that changes nothing."""

    def __init__(self, connection: Connection, store: str) -> None:
        self._connection, self._store = connection, store
        self._due: Due | None = None

    def day(self, day: date) -> bool:
        """See `lib.off_site.verify.Rows`."""
        self._due = self._read(lambda tx: ledger_export.closed(tx, day))
        return self._due is not None

    def lines(self, kind: str) -> Iterator[bytes]:
        """As above."""
        due, after = self._due, ()
        assert due is not None  # noqa: S101 -- the caller asked for the day
        while True:
            page = self._read(lambda tx, after=after: ledger_export.READERS[kind](tx, due, after))  # type: ignore[misc]
            yield from map(files.line, page.lines)
            if page.is_last:
                return
            after = page.last

    def recorded(self) -> Copied | None:
        """As above."""
        due = self._due
        found: Copied | None = (
            None if due is None else self._read(lambda tx: ledger_export.recorded(tx, self._store, due.day))
        )
        return found

    def newest(self) -> date | None:
        """As above."""
        newest = self._read(lambda tx: ledger_export.newest_copied(tx, self._store))
        return None if newest is None else newest.day

    def newest_closed(self) -> date | None:
        """The last day that is closed."""
        day: date | None = self._read(ledger_export.newest_closed)
        return day

    def _read(self, function: Callable[[Transaction], Any]) -> Any:
        self._connection.begin()
        try:
            return function(Transaction(self._connection, lambda: False, "ledger_verify"))
        finally:
            self._connection.rollback()


def _told(source: str, found: Verified, options: argparse.Namespace) -> int:
    if found.last is None:
        _complain(f"{source}: there is no day there.", 0)
        return BROKEN
    _say(f"{source}: {found.days} days, {found.first} to {found.last}, whole and unchanged.")
    _say("  " + ", ".join(f"{count} {kind}" for kind, count in found.lines.items()))
    _say(f"  newest manifest: sha256 {found.manifest}")
    _say(f"Trial balance at the end of {found.last}, debit and credit:")
    for one in found.totals:
        debit, credit = (_amount(side, one.currency) for side in (one.debit, one.credit))
        _say(f"  {one.account:<22} {debit:>24} {credit:>24} {one.currency}")
    for currency in sorted({currency for _, _, currency in found.wallets}):
        held = [balance for (_, _, its), balance in found.wallets.items() if its == currency]
        _say(f"Customers' wallets: {len(held)}, with {_amount(sum(held), currency)} {currency} in them.")
    if options.wallets:
        for (account, code, currency), balance in sorted(found.wallets.items()):
            _say(f"  {account:<12} {code:<18} {_amount(balance, currency):>20} {currency}")
    return GOOD


def _amount(minor: int, currency: str) -> str:
    known = currencies.ALL.get(currency)
    if known is None or not known.digits:
        return str(minor)
    sign, digits = "-" if minor < 0 else "", str(abs(minor)).zfill(known.digits + 1)
    return f"{sign}{digits[: -known.digits]}.{digits[-known.digits :]}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _complain(text: str, code: int) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
