"""`make card-statement ENV=... FILE=...`: what a card provider's statement says becomes news, fees and payouts; then it is compared."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import re
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, cast
from zoneinfo import ZoneInfo

from infra import environment, parameters, transaction
from lib import currencies
from lib.db import StatementFailed
from lib.domain import reconciliation, statements
from lib.domain.reconciliation import CHARGE, PAYOUT, REFUND, UNDER_WAY, Line
from lib.payments import card_statement, reconciling, telegram_charges
from lib.payments.card_statement import UnreadableStatement
from lib.payments.provider import Listed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from lib.db import Database, Transaction
    from lib.domain.pricelist import PriceList
    from lib.domain.statements import Said, Taken
    from lib.payments.card_statement import Statement

P = ParamSpec("P")
T = TypeVar("T")

NAMES = ("file", "from", "to", "operator", "dry-run")
TO_BE_LOOKED_AT = 3
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_QUIET = frozenset({"known", "repeated", "booked", "settled"})
_COMPARED_AS = {
    statements.CHARGE: CHARGE,
    statements.REFUND: REFUND,
    statements.CHARGEBACK: REFUND,
    statements.PAYOUT: PAYOUT,
}


class BadArguments(Exception):
    """Nothing was changed; the text says everything that is wrong, one a line."""


class Refused(Exception):
    """This database is not of the environment that was meant: nothing was changed."""


class _DryRun(Exception):
    """What would be done is known, and is undone."""

    def __init__(self, taken: list[tuple[Said, Taken]]) -> None:
        super().__init__()
        self.taken = taken


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which file, and of which days it speaks, both included, where that is said."""

    environment: str
    path: Path
    first: date | None
    last: date | None
    operator: int
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Shop:
    """What the database says of itself."""

    environment: str
    zone: str
    currency: str


@dataclass(frozen=True, slots=True)
class StatementAccount:
    """A statement as the other side of the clearing account (`lib.payments.provider.ProviderAccount`): it says nothing of a balance."""

    listed: Sequence[Line]
    begins: datetime | None
    ends: datetime | None

    @property
    def lists(self) -> frozenset[str]:
        """See `ProviderAccount`."""
        return frozenset({CHARGE, REFUND, PAYOUT})

    async def balances(self) -> None:
        """See `ProviderAccount`."""

    async def lines(self, since: datetime | None) -> AsyncIterator[Listed]:  # noqa: ARG002 -- all of it is at hand
        """See `ProviderAccount`."""
        yield Listed(self.listed, complete=True)

    async def look(self, ids: Sequence[str]) -> Listed:
        """See `ProviderAccount`: of all that it speaks of."""
        return Listed([line for line in self.listed if line.id in ids], complete=True)


class _Database:
    """The session as what `reconciling` asks."""

    def __init__(self, session: transaction.Session) -> None:
        self._session = session

    async def run(self, function: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._session.run(function, *args, **kwargs)


def main(arguments: list[str] | None = None) -> int:
    """0: all of it is known or booked. 3: something is to be looked at. 1: the database can't be had. 2: the file or the words can't be used."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.card_statement", description="Take up a card provider's statement."
    )
    parser.add_argument("--env", required=True, help="local, dev or prod")
    for name in NAMES:
        parser.add_argument(f"--{name}", default="")
    options = vars(parser.parse_args(arguments))
    return transaction.exit_code(
        lambda: _take_up(options),
        nothing="Nothing was changed",
        perhaps="Not all of it may have been taken up",
        again="The same command again takes up the rest, and nothing twice.",
        refusals=(BadArguments, Refused, UnreadableStatement, statements.NotAllowed),
    )


def _take_up(options: Mapping[str, str]) -> int:
    wanted = wanted_of(options)
    body = _read(wanted.path)
    found = environment.load(wanted.environment)
    prices = environment.prices(found)
    session = transaction.Session(found.connect("owner"))
    try:
        shop = session.run(_shop, wanted.environment)
        zone = ZoneInfo(shop.zone)
        statement = card_statement.read(body, currency=shop.currency, zone=zone)
        digest = hashlib.sha256(body).hexdigest()
        name = f"card-statement-{digest[:12]}"
        by = statements.By(wanted.operator, environment.owners(found), name)
        said = statements.File(digest, len(statement.lines), len(statement.broken), wanted.first, wanted.last)
        session.run(statements.begin, telegram_charges.CARD, said, by, dry_run=wanted.dry_run)
        taken = _take_all(session, statement, prices, name, dry_run=wanted.dry_run)
        looked_at = _tell(statement, taken)
        if wanted.dry_run:
            sys.stdout.write("A dry run: nothing was changed, and nothing was compared.\n")
        elif statement.lines:
            looked_at |= _compare(session, account_of(statement, wanted, zone))
        return TO_BE_LOOKED_AT if looked_at else 0
    finally:
        session.close()


def _take_all(
    session: transaction.Session, statement: Statement, prices: PriceList, name: str, *, dry_run: bool
) -> list[tuple[Said, Taken]]:
    """Each line in a transaction of its own; in a dry run all of them in one that is undone."""
    lines = list(card_statement.all_of(statement))
    if not dry_run:
        return [(said, _take(session, said, prices, f"{name}:{said.number}")) for said in lines]

    def try_all(tx: Transaction) -> None:
        raise _DryRun([(said, _tried(tx, said, prices, f"{name}:{said.number}")) for said in lines])

    try:
        session.run(try_all)
    except _DryRun as done:
        return done.taken
    return []


def _take(session: transaction.Session, said: Said, prices: PriceList, correlation_id: str) -> Taken:
    """What the books refuse is told of its line, and the others go on; a database that is lost ends it."""
    try:
        return session.run(statements.take, telegram_charges.CARD, said, prices, correlation_id)
    except (StatementFailed, RuntimeError) as error:
        return statements.Taken("refused", str(error))


def _tried(tx: Transaction, said: Said, prices: PriceList, correlation_id: str) -> Taken:
    try:
        with tx.savepoint("line"):
            return statements.take(tx, telegram_charges.CARD, said, prices, correlation_id)
    except (StatementFailed, RuntimeError) as error:
        return statements.Taken("refused", str(error))


def _shop(tx: Transaction, meant: str) -> Shop:
    held = tx.one(Shop, "select environment, books_zone as zone, books_currency as currency from deployment")
    if held.environment != meant:
        raise Refused(f"this database belongs to environment {held.environment}, not {meant}")
    return held


# What is told ---------------------------------------------------------------------------------------------------------


def _tell(statement: Statement, taken: Sequence[tuple[Said, Taken]]) -> bool:
    """Say what became of each line that is not simply known; whether one is to be looked at."""
    for broken in statement.broken:
        sys.stdout.write(f"line {broken.number}: can't be read: {broken.reason}\n")
    for said, one in sorted(taken, key=lambda pair: pair[0].number):
        if one.outcome not in {"known", "repeated"}:
            of = "".join(
                f", {name} {value}" for name, value in (("event", one.event_id), ("order", one.order_id)) if value
            )
            reason = f": {one.reason}" if one.reason else ""
            sys.stdout.write(f"line {said.number}: {said.kind} {said.id}: {one.outcome}{of}{reason}\n")
    counts = Counter(one.outcome for _, one in taken)
    words = ", ".join(f"{outcome} {count}" for outcome, count in sorted(counts.items())) or "none"
    sys.stdout.write(f"Lines: {words}; can't be read {len(statement.broken)}.\n")
    return bool(statement.broken) or any(one.outcome not in _QUIET or one.reason for _, one in taken)


def _compare(session: transaction.Session, account: StatementAccount) -> bool:
    """Whether the books and the statement say something else."""
    done = asyncio.run(
        reconciling.reconcile(cast("Database", _Database(session)), telegram_charges.CARD, account, anyway=True)
    )
    if done is None:
        return False
    for difference in done.outcome.differences:
        sys.stdout.write(f"differs: {difference}\n")
    sys.stdout.write(f"Compared with the books: {done.outcome.matched} of {done.outcome.lines} lines match.\n")
    return bool(done.outcome.differences)


def account_of(statement: Statement, wanted: Wanted, zone: ZoneInfo) -> StatementAccount:
    """The statement as lines that are compared; what it does not list counts as absent within its days, a quarter of an hour off the ends."""
    moments = [line.at for line in statement.lines]
    begins = _midnight(wanted.first, zone) if wanted.first else min(moments)
    ends = _midnight(wanted.last + timedelta(days=1), zone) if wanted.last else max(moments)
    fees = [line for line in statement.lines if line.kind == statements.FEE]
    kinds = {line.id: line.kind for line in statement.lines}
    begins, ends = begins + UNDER_WAY, ends - UNDER_WAY
    lines = [
        _line(line, _COMPARED_AS[line.kind], line.at if begins <= line.at <= ends else None)
        for line in statement.lines
        if line.kind != statements.FEE
    ]
    lines += [
        Line(REFUND if kinds.get(fee.charge) in {statements.REFUND, statements.CHARGEBACK} else CHARGE, fee.charge, fee.currency,
             Decimal(0), fee=_whole(fee.amount, fee.currency))
        for fee in fees
        if fee.charge in kinds
    ]  # fmt: skip
    return StatementAccount(lines, begins, ends)


def _line(said: Said, kind: str, at: datetime | None) -> Line:
    amount = _whole(said.amount, said.currency)
    return Line(
        kind,
        said.id,
        said.currency,
        amount if kind == reconciliation.CHARGE else -amount,
        fee=_whole(said.fee, said.currency),
        at=at,
    )


def _whole(minor: int, currency: str) -> Decimal:
    return Decimal(currencies.of(currency).decimal(minor))


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


# What is asked for ----------------------------------------------------------------------------------------------------


def wanted_of(options: Mapping[str, str]) -> Wanted:
    """What the words of the command ask for.

    Raises:
        BadArguments: with everything that is wrong.
    """
    problems: list[str] = []
    if not options["file"].strip():
        problems.append("FILE is not given")
    first, last = (_day(options[name].strip(), name.upper(), problems) for name in ("from", "to"))
    if bool(first) != bool(last) and not problems:
        problems.append("FROM and TO are given together")
    if first and last and last < first:
        problems.append("TO is before FROM")
    operator = options["operator"].strip()
    if not operator:
        problems.append("OPERATOR is not given")
    elif not parameters.is_number(operator):
        problems.append("OPERATOR must be a whole number from 1")
    if options["dry_run"] not in {"", "0", "1"}:
        problems.append("DRY_RUN must be 1, or nothing")
    if problems:
        raise BadArguments("\n".join(problems))
    return Wanted(options["env"], Path(options["file"].strip()), first, last, int(operator), options["dry_run"] == "1")


def _day(text: str, name: str, problems: list[str]) -> date | None:
    if not text:
        return None
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
        problems.append(f"{name} must be a day, such as 2026-01-31")
    except ValueError:
        problems.append(f"{name} is no day of the calendar")
    return None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(card_statement.MOST_BYTES + 1)
    except OSError as error:
        raise BadArguments(f"FILE: {path} can't be read: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(main())
