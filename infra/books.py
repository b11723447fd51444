"""`make books ENV=...`: what the books say, read as oneself: balances at a moment, a month, statements, providers' differences.

Nothing is changed. Amounts are exact, with their currency's digits; text that a spreadsheet could take for a formula is quoted.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from infra import environment, parameters, transaction
from lib import currencies
from lib.domain import books, reconciliation, reports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lib.db import Transaction
    from lib.domain.books import Line, Move

NAMES = ("at", "month", "account", "customer", "order", "charge", "csv")
_CHARGE = re.compile(r"([a-z]{1,32}):(.{1,512})", re.DOTALL)
_ACCOUNT = re.compile(r"([a-z_:]{1,64})(?: ([A-Z0-9]{2,12}))?", re.ASCII)
_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])", re.ASCII)
_PAGE = 1000
_OF_ONE = ("account", "customer", "order", "charge")
_OF_NO_TIME = ("order", "charge")

# Every code of the chart, and whether customers have each an account of it, in its order.
_CHART = "select code, of_customer from ledger_codes order by code"
_IS_CUSTOMER = "select exists (select from accounts where id = :id)"
_IS_ORDER = "select exists (select from orders where id = :id)"
_IS_CHARGE = """
select exists (select from payment_events where provider = :provider and (external_id = :charge_id or charge_id = :charge_id))
    or exists (select from refunds where provider = :provider and external_id = :charge_id)
"""

Cell = str | int | Decimal | None


class BadArguments(Exception):
    """Nothing was read; the text says everything that is wrong, one a line."""


class NotThere(Exception):
    """What was named does not exist: an empty answer would say that it has no money."""


@dataclass(frozen=True, slots=True)
class _Code:
    code: str
    of_customer: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for, read."""

    at: datetime | None
    month: date | None
    account: tuple[str, str | None] | None
    customer: int | None
    order: int | None
    charge: tuple[str, str] | None
    csv: Path | None


@dataclass(frozen=True, slots=True)
class Table:
    """One part of the answer. `name` is that of its file; of a cell that is a Decimal every digit is shown."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def main(arguments: list[str] | None = None) -> int:
    """0: read. 1: the database can't be had. 2: what was said can't be."""
    parser = argparse.ArgumentParser(prog="python -m infra.books", description="What the books say. Changes nothing.")
    parser.add_argument("--env", required=True, help="local, dev or prod")
    for name in NAMES:
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--json", action="store_true")
    options = vars(parser.parse_args(arguments))
    return transaction.exit_code(
        lambda: _read(options),
        nothing="Nothing was read",
        perhaps="The books could not be read",
        again="Nothing is changed by it.",
        refusals=(BadArguments, NotThere),
    )


def _read(options: Mapping[str, str]) -> int:
    wanted = wanted_of(options)
    found = environment.load(options["env"])
    tables = transaction.run(found.connect("readonly"), look, wanted)
    if wanted.csv is not None:
        _put(wanted.csv, tables)
    sys.stdout.write(as_json(tables) if options["json"] else "\n".join(as_text(table) for table in tables))
    return 0


def _put(folder: Path, tables: Sequence[Table]) -> None:
    path = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for table in tables:
            path = folder / f"{table.name}.csv"
            path.write_bytes(as_csv(table))
            sys.stderr.write(f"{path}\n")
    except OSError as error:
        raise BadArguments(f"CSV: {path} can't be written: {error.strerror}") from None


def wanted_of(options: Mapping[str, str]) -> Wanted:
    """What the words say.

    Raises:
        BadArguments
    """
    said = {name: options[name].strip() for name in NAMES if options.get(name, "").strip()}
    problems: list[str] = []

    def read(name: str, how: Callable[[str], object], must: str) -> object:
        if name not in said:
            return None
        try:
            return how(said[name])
        except (ValueError, OverflowError):
            problems.append(f"{name.upper()} must be {must}")
            return None

    if len([name for name in _OF_ONE if name in said]) > 1:
        problems.append("one of ACCOUNT, CUSTOMER, ORDER and CHARGE at a time")
    problems += [
        f"{time.upper()} is nothing that {one.upper()} takes: it tells everything"
        for one in _OF_NO_TIME
        for time in ("at", "month")
        if one in said and time in said
    ]
    values = {
        "at": read("at", _moment, "a moment with its zone, such as 2026-11-30T03:00:00Z"),
        "month": read("month", _month, "a month, such as 2026-11"),
        "account": read("account", _account, "a code of the chart, such as clearing:cryptobot, or with its currency"),
        "customer": read("customer", _id, "a whole number from 1"),
        "order": read("order", _id, "a whole number from 1"),
        "charge": read("charge", _charge, "a provider and its id of the charge, such as cryptobot:17"),
        "csv": read("csv", Path, "a folder"),
    }
    account = values["account"]
    if isinstance(account, tuple) and account[1] is not None and account[1] not in currencies.ALL:
        problems.append(f"ACCOUNT: Atlas knows no currency {account[1]}")
    if problems:
        raise BadArguments("\n".join(problems))
    return Wanted(**values)  # type: ignore[arg-type] # each is read by what makes its type


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment.astimezone(UTC)  # at either end of the calendar another zone has no such moment


def _month(text: str) -> date:
    match = _MONTH.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return date(int(match[1]), int(match[2]), 1)


def _account(text: str) -> tuple[str, str | None]:
    match = _ACCOUNT.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return match[1], match[2]


def _id(text: str) -> int:
    if not parameters.is_number(text):
        raise ValueError(text)
    return int(text)


def _charge(text: str) -> tuple[str, str]:
    match = _CHARGE.fullmatch(text)
    if match is None or "\0" in text:
        raise ValueError(text)
    return match[1], match[2]


def look(tx: Transaction, wanted: Wanted) -> list[Table]:
    """What is asked for, all as it was at one moment; nothing but one thing when one is named, else the whole.

    Raises:
        NotThere: what is named.
    """
    tx.execute("set transaction isolation level repeatable read, read only")
    _need(tx, wanted)
    if wanted.account is not None:
        code, currency = wanted.account
        return [
            _statement(tx, wanted, f"account-{code.replace(':', '-')}", f"account {code}", code=code, currency=currency)
        ]
    if wanted.customer is not None:
        return [
            _statement(
                tx, wanted, f"customer-{wanted.customer}", f"customer {wanted.customer}", account_id=wanted.customer
            )
        ]
    if wanted.order is not None:
        return [_moves(f"order-{wanted.order}", f"order {wanted.order}", books.moves_of_order(tx, wanted.order))]
    if wanted.charge is not None:
        provider, charge = wanted.charge
        return [
            _moves(f"charge-{provider}", f"charge {provider}:{charge}", reports.moves_of_charge(tx, provider, charge))
        ]
    return [_balances(tx, wanted.at), *_of_month(tx, wanted.month), *_of_providers(tx)]


def _need(tx: Transaction, wanted: Wanted) -> None:
    """Raises: NotThere."""
    if wanted.account is not None:
        code, chart = wanted.account[0], {one.code: one.of_customer for one in tx.rows(_Code, _CHART)}
        if code not in chart:
            shops = ", ".join(one for one, of_customer in chart.items() if not of_customer)
            raise NotThere(f"the chart has no account {code}; it has {shops}")
        if chart[code]:
            raise NotThere(f"{code} is each customer's own: CUSTOMER says whose")
    for name, number, exists in (("customer", wanted.customer, _IS_CUSTOMER), ("order", wanted.order, _IS_ORDER)):
        if number is not None and not tx.value(exists, id=number):
            raise NotThere(f"there is no {name} {number}")
    if wanted.charge is not None:
        provider, charge = wanted.charge
        if not tx.value(_IS_CHARGE, provider=provider, charge_id=charge):
            raise NotThere(f"there is no news of a charge {provider}:{charge}")


def _balances(tx: Transaction, at: datetime | None) -> Table:
    title = f"Balances at {_shown(at)}" if at else "Balances now"
    rows: list[Sequence[Cell]] = [
        (
            one.currency,
            one.code,
            one.type,
            *[exact(minor, one.currency) for minor in (one.debit, one.credit, one.balance)],
        )
        for one in books.trial_balance(tx, at)
    ]
    return Table("balances", title, ("currency", "account", "type", "debit", "credit", "balance"), rows)


def _of_month(tx: Transaction, of: date | None) -> list[Table]:
    month = reports.month(tx, of)
    books_currency = tx.value("select books_currency from deployment")
    name = f"{month.first:%Y-%m}"
    state = "closed" if month.is_closed else "so far"
    waits = f"; money that fits nothing waits since {_shown(month.suspense_oldest)}" if month.suspense_oldest else ""

    def valued(value: int | None) -> Cell:
        return None if value is None else exact(value, books_currency)

    results = [
        (one.code, one.method, one.tariff, one.currency, one.count, exact(one.amount, one.currency), valued(one.value))
        for one in month.results
    ]
    standings: list[Sequence[Cell]] = [
        (
            one.currency,
            one.code,
            one.type,
            *[exact(minor, one.currency) for minor in (one.opening, one.debit, one.credit, one.closing)],
            valued(one.value),
        )
        for one in month.standings
    ]
    return [
        Table(
            f"month-{name}-results",
            f"Month {name} ({state}): what was earned and spent",
            ("account", "method", "tariff", "currency", "transfers", "amount", f"in {books_currency}"),
            results,
        ),
        Table(
            f"month-{name}-accounts",
            f"Month {name} ({state}): every account before and after{waits}",
            ("currency", "account", "type", "opening", "debit", "credit", "closing", f"in {books_currency}"),
            standings,
        ),
    ]


def _of_providers(tx: Transaction) -> list[Table]:
    last = [
        (
            one.provider,
            str(one.day),
            _shown(one.compared_at),
            one.lines,
            one.matched,
            one.under_way,
            "yes" if one.complete else "no",
        )
        for one in reconciliation.last_comparisons(tx)
    ]
    found = []
    after = 0
    while page := reconciliation.open_differences(tx, after=after, page=_PAGE):
        after = page[-1].id
        found += [
            (
                one.provider,
                one.state.replace("_", " "),
                one.kind or "balance",
                one.external_id,
                "fee" if one.of_fee else "amount",
                one.asset,
                one.said,
                one.booked,
                one.order_id,
                _shown(one.first_seen_at),
            )
            for one in page
        ]
    return [
        Table(
            "providers",
            "Providers' own accounts, as they were last compared",
            ("provider", "day", "compared", "lines", "matched", "under way", "whole"),
            last,
        ),
        Table(
            "differences",
            "What differs from them",
            ("provider", "state", "line", "id", "of", "asset", "provider says", "books say", "order", "seen since"),
            found,
        ),
    ]


def _statement(
    tx: Transaction,
    wanted: Wanted,
    name: str,
    title: str,
    *,
    code: str | None = None,
    currency: str | None = None,
    account_id: int | None = None,
) -> Table:
    days = reports.days_of(tx, wanted.month) if wanted.month else (None, None)

    def lines() -> Iterator[Line]:
        after: Line | None = None
        while page := books.statement(
            tx,
            code=code,
            currency=currency,
            account_id=account_id,
            first=days[0],
            last=days[1],
            after=after,
            page=_PAGE,
        ):
            yield from page
            after = page[-1]

    rows = [
        (
            _shown(one.booked_at),
            one.transfer_id,
            one.key,
            one.code,
            one.other,
            one.currency,
            exact(one.amount, one.currency),
            exact(one.balance, one.currency),
            one.order_id,
            one.actor_id,
            one.reason,
        )
        for one in lines()
        if wanted.at is None or one.booked_at <= wanted.at
    ]
    return Table(
        name,
        f"Statement of {title}",
        (
            "booked",
            "transfer",
            "key",
            "account",
            "other side",
            "currency",
            "amount",
            "balance",
            "order",
            "operator",
            "reason",
        ),
        rows,
    )


def _moves(name: str, title: str, moves: Sequence[Move]) -> Table:
    rows = [
        (
            _shown(one.booked_at),
            one.transfer_id,
            one.key,
            one.debit,
            one.credit,
            exact(one.amount, one.currency),
            one.currency,
            one.reverses_id,
            one.actor_id,
            one.reason,
        )
        for one in moves
    ]
    return Table(
        name,
        f"Everything of {title}",
        ("booked", "transfer", "key", "debit", "credit", "amount", "currency", "undoes", "operator", "reason"),
        rows,
    )


def exact(minor: int, currency: str) -> Decimal:
    """An amount with all digits of its currency."""
    return Decimal(minor).scaleb(-currencies.of(currency).digits)


def _shown(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    return format(cell, "f") if isinstance(cell, Decimal) else str(cell)


def as_text(table: Table) -> str:
    """For a terminal: in columns, numbers to the right; a control character can't move anything."""
    shown = [list(table.columns), *([_printable(_text(cell)) for cell in row] for row in table.rows)]
    widths = [max(len(row[place]) for row in shown) for place in range(len(table.columns))]
    right = [all(isinstance(row[place], int | Decimal | None) for row in table.rows) for place in range(len(widths))]
    lines = [
        "  ".join(
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in shown
    ]
    if not table.rows:
        lines = ["(nothing)"]
    return "\n".join([_printable(table.title), *lines]) + "\n"


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)


def as_csv(table: Table) -> bytes:
    """The same bytes for the same books: UTF-8, as RFC 4180 has it.

    Numbers stand as they are. Text that begins like a formula gets an apostrophe before it: a spreadsheet shows it and runs nothing.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(table.columns)
    for row in table.rows:
        writer.writerow([_quoted(cell) if isinstance(cell, str) else _text(cell) for cell in row])
    return out.getvalue().encode()


def _quoted(text: str) -> str:
    begins = text.lstrip(" \u00a0\u3000")[:1]
    return "'" + text if begins and begins in "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20" else text


def as_json(tables: Sequence[Table]) -> str:
    """Each table by its name; amounts are text, since no number of JSON is exact everywhere."""
    said = {
        table.name: [
            dict(
                zip(
                    table.columns,
                    (_text(cell) if isinstance(cell, Decimal) else cell for cell in row),
                    strict=True,
                )
            )
            for row in table.rows
        ]
        for table in tables
    }
    return json.dumps(said, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
