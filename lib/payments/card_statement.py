"""A card provider's statement: CSV that an operator uploads. Read line by line: what can't be read is named, and the rest is read.

Telegram has no list of card payments to ask for, so the statement is what finds money that was never heard of, and what tells of fees,
refunds, chargebacks and payouts (docs/runbooks/card-statement.md says the columns).
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from lib import currencies
from lib.domain.statements import CHARGE, CHARGEBACK, FEE, PAYOUT, REFUND, Said

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from zoneinfo import ZoneInfo

MOST_BYTES = 32 * 1024 * 1024
"""A hundred thousand lines are a third of it."""
KINDS = (CHARGE, FEE, REFUND, CHARGEBACK, PAYOUT)
NEEDED = ("kind", "id", "amount", "currency", "at")
OPTIONAL = ("charge", "fee", "purchase")
_OF_A_CHARGE = frozenset({FEE, REFUND, CHARGEBACK})
_SEPARATORS = ";,\t"
_LINE_END = re.compile("\r\n|\n|\r")
# Kopecks, exactly. Other digits than ASCII's, signs, exponents, sums and blanks inside are no amount.
_AMOUNT = re.compile(r"([0-9]{1,12})(?:[.,]([0-9]{1,2}))?", re.ASCII)
_ID = re.compile(r"[!-~]{1,200}", re.ASCII)
_SHORTENED = re.compile(r"[0-9]+(?:[.,][0-9]+)?[eE]\+?[0-9]+", re.ASCII)
_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)(Z|[+-][0-9]{2}:[0-9]{2})?",
    re.ASCII,
)
_MOST_SHOWN = 40


class UnreadableStatement(Exception):
    """Nothing of the file can be used; the text says why."""


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """A line that can't be read, and why; `number` is its own in the file, from 1."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Statement:
    """What a file says: lines in its order, and those that say nothing that could be used."""

    lines: tuple[Said, ...]
    broken: tuple[BrokenLine, ...]


def read(body: bytes, *, currency: str, zone: ZoneInfo) -> Statement:
    """Every line of a statement.

    Args:
        body: the file as it is: UTF-8 or UTF-16 with or without their marks, or Windows' Cyrillic; commas, semicolons or tabs.
        currency: that the provider is asked for: a line in another one is broken.
        zone: of moments that say none.

    Raises:
        UnreadableStatement: no text, no lines, or a column is lacking.
    """
    rows = _LINE_END.split(_text(body))
    first = next((number for number, row in enumerate(rows) if row.strip()), None)
    if first is None:
        raise UnreadableStatement("the file is empty")
    separator = max(_SEPARATORS, key=rows[first].count)
    try:
        names = [name.strip().lower() for name in _cells(rows[first], separator)]
    except ValueError as error:
        raise UnreadableStatement(f"the first line is {error}") from None
    columns = _columns(names)
    lines: dict[tuple[str, str], Said] = {}
    broken: list[BrokenLine] = []
    for number, row in enumerate(rows[first + 1 :], first + 2):
        if not row.strip(f"{separator} "):
            continue
        try:
            said = _said(number, _named(_cells(row, separator), columns, len(names)), currency, zone)
            _keep(lines, said)
        except ValueError as error:
            broken.append(BrokenLine(number, str(error)))
    return Statement(tuple(lines.values()), tuple(broken))


def _text(body: bytes) -> str:
    if len(body) > MOST_BYTES:
        raise UnreadableStatement(f"the file is above {MOST_BYTES // 1024 // 1024} MiB")
    encodings = ("utf-16",) if body[:2] in {b"\xff\xfe", b"\xfe\xff"} else ("utf-8-sig", "cp1251")
    for encoding in encodings:
        try:
            text = body.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\x00" in text:
            break
        return text
    raise UnreadableStatement("the file is no text: save it as CSV, in UTF-8")


def _columns(names: Sequence[str]) -> dict[str, int]:
    if lacking := [name for name in NEEDED if name not in names]:
        raise UnreadableStatement(f"the first line lacks {', '.join(lacking)}: it names the columns")
    if twice := [name for name in (*NEEDED, *OPTIONAL) if names.count(name) > 1]:
        raise UnreadableStatement(f"the first line has {', '.join(twice)} twice")
    return {name: names.index(name) for name in (*NEEDED, *OPTIONAL) if name in names}


def _cells(row: str, separator: str) -> list[str]:
    """One line by itself: a quotation mark that is never closed swallows no line but its own.

    Raises:
        ValueError: not a line of CSV.
    """
    try:
        (cells,) = csv.reader([row], delimiter=separator, strict=True)
    except (csv.Error, ValueError):
        raise ValueError("not a line of CSV, such as one with a quotation mark that is not closed") from None
    return cells


def _named(cells: Sequence[str], columns: dict[str, int], width: int) -> dict[str, str]:
    # a comma within an amount would be taken for the end of its cell
    if any(cell.strip() for cell in cells[width:]):
        raise ValueError(f"{len(cells)} cells, where the first line has {width}")
    if len(cells) <= max(columns[name] for name in NEEDED):
        raise ValueError(f"{len(cells)} cells are too few")
    return {name: cells[place].strip() if place < len(cells) else "" for name, place in columns.items()}


def _said(number: int, cell: dict[str, str], currency: str, zone: ZoneInfo) -> Said:
    problems: list[str] = []

    def take(name: str, value: object, wants: str) -> None:
        if value is None:
            problems.append(f"{name} {_shown(cell.get(name, ''))} is not {wants}")

    kind = cell["kind"].lower()
    if kind not in KINDS:
        problems.append(f"kind {_shown(cell['kind'])} is none of {', '.join(KINDS)}")
    for name in ("id", *(["charge"] if kind in _OF_A_CHARGE else [])):
        if _SHORTENED.fullmatch(cell.get(name, "")):
            problems.append(f"{name} {_shown(cell[name])} was shortened by a spreadsheet: export it as text")
        else:
            take(name, _ID.fullmatch(cell.get(name, "")), "an id of 1 to 200 printable characters")
    amount, fee = _minor(cell["amount"], currency), _minor(cell.get("fee", "") or "0", currency)
    take("amount", amount or None, "an amount above zero in whole kopecks, such as 149.00")
    take("fee", fee, "an amount in whole kopecks, such as 5.22")
    if cell["currency"].upper() != currency:
        problems.append(f"currency {_shown(cell['currency'])} is not {currency}, which cards are asked for")
    at = _moment(cell["at"], zone)
    take("at", at, "a moment, such as 2026-01-31 12:00:00 or 2026-01-31T12:00:00+03:00")
    purchase = _purchase(cell.get("purchase", ""))
    if cell.get("purchase"):
        take("purchase", purchase, "a purchase id of ours")
    if fee and kind == FEE:
        problems.append("a fee has no fee beside it: it is the amount")
    if problems or at is None:
        raise ValueError("; ".join(problems))
    return Said(
        number=number,
        kind=kind,
        id=cell["id"],
        charge=cell.get("charge", "") if kind in _OF_A_CHARGE else "",
        amount=amount or 0,
        fee=fee or 0,
        currency=currency,
        at=at,
        purchase_id=purchase,
    )


def _keep(lines: dict[tuple[str, str], Said], said: Said) -> None:
    """The same line twice is one; two that differ under one id are the first one, and the other is named."""
    before = lines.setdefault((said.kind, said.id), said)
    if before is not said and not before.says_the_same(said):
        raise ValueError(f"{said.kind} {said.id} stands on line {before.number} with other amounts")


def _minor(text: str, currency: str) -> int | None:
    """Minor units of prices; None when it is no amount, to the kopeck."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        return None
    return int(Decimal(f"{match[1]}.{match[2] or '0'}").scaleb(currencies.of(currency).price_digits))


def _moment(text: str, zone: ZoneInfo) -> datetime | None:
    match = _MOMENT.fullmatch(text)
    if match is None:
        return None
    try:
        at = datetime.fromisoformat(f"{match[1]}T{match[2]}{(match[3] or '').replace('Z', '+00:00')}")
        return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None  # such as 30 February: named by its line


def _purchase(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _shown(text: str) -> str:
    """As it stands in the file, without what a terminal would take for orders."""
    return ascii(text[:_MOST_SHOWN]) if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]!a}..."


def all_of(statement: Statement) -> Iterator[Said]:
    """The lines in the order in which they are taken: charges first, then what went back, for fees speak of either."""
    for kind in (CHARGE, REFUND, CHARGEBACK, FEE, PAYOUT):
        yield from (line for line in statement.lines if line.kind == kind)
