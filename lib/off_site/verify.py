"""The check of a copy of the books, by the copy alone: the chain, every byte, every sum; and against the books, row for row.

It stops at the first thing that is not so and names it. Of all days it keeps the sums and every customer's wallets in memory.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol
from zoneinfo import ZoneInfo

from lib import json_reader
from lib.domain.ledger_export import Copied
from lib.off_site import copy, files
from lib.off_site.files import BadManifestError, Kept, Manifest, Sum, Unpacker
from lib.off_site.store import NotThereError, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NAMES: Final[Mapping[str, frozenset[str]]] = {
    "transfers": frozenset(
        "transfer key kind entries order payment event account refund withdrawal reverses by_operator booked_at".split()  # noqa: SIM905 -- as the page lists them
    ),
    "entries": frozenset("transfer number debit debit_account credit credit_account amount currency".split()),  # noqa: SIM905 -- as above
    "payments": frozenset(
        "payment provider charge kind order account event amount currency paid_asset paid_amount paid_rate fee_asset fee_amount paid_at".split()  # noqa: SIM905 -- as above
    ),
    "orders": frozenset(
        "order account kind tariff period_days list_price price currency discount discount_percent value recurring parent provider made_at".split()  # noqa: SIM905 -- as above
    ),
    "balances": frozenset("account wallet currency balance".split()),  # noqa: SIM905 -- as above
}


class BrokenError(Exception):
    """The first thing that is not as it was copied: which object, which line of it where it is one line, and what."""

    def __init__(self, name: str, what: str, line: int | None = None) -> None:
        place = name if line is None else f"{name}, line {line}"
        super().__init__(f"{place}: {what}")


class Rows(Protocol):
    """The books themselves, to compare a copy with."""

    def day(self, day: date) -> bool:
        """Whether that day is closed there; what follows is of that day."""

    def lines(self, kind: str) -> Iterator[bytes]:
        """Its lines of one kind, in their order."""

    def recorded(self) -> Copied | None:
        """What the books recorded of it as copied to this store; None for nothing."""

    def newest(self) -> date | None:
        """The last day that the books recorded as copied to this store."""


@dataclass(slots=True)
class Verified:
    """What a copy comes to.

    Attributes:
        first, last: its days; None when it has none.
        lines: of each kind.
        manifest: sha256 of the newest manifest, to be kept elsewhere: a chain that was rewritten as a whole has another one.
        totals: the trial balance at the end of the last day.
        wallets: what each customer has, by account and wallet, in its currency; who has nothing is not among them.
    """

    first: date | None = None
    last: date | None = None
    days: int = 0
    lines: dict[str, int] = field(default_factory=lambda: dict.fromkeys(files.KINDS, 0))
    manifest: str = ""
    totals: tuple[Sum, ...] = ()
    wallets: dict[tuple[int, str, str], int] = field(default_factory=dict)


async def verify(source: Source, rows: Rows | None = None, known: str = "") -> Verified:
    """Check a whole copy.

    Args:
        source: the store, or whatever has its objects.
        rows: the books, where each line is to be compared as well.
        known: sha256 of a manifest that was kept elsewhere, which must be one of the chain; "" for none.

    Raises:
        BrokenError: the first thing that is wrong.
        lib.off_site.store.StoreError: it can't be had.
    """
    found = Verified()
    before: Manifest | None = None
    is_known = not known
    for day in _days(await source.names(files.MANIFESTS)):
        name = files.manifest_name(day)
        manifest, digest = await _manifest(source, day)
        _follows(name, manifest, before, found)
        checker = _Day(source, manifest, found)
        if rows is not None and not rows.day(day):
            raise BrokenError(name, "the books have no such closed day")
        recorded = rows.recorded() if rows is not None else None
        if recorded is not None and recorded != Copied(day, digest):
            raise BrokenError(name, "the books recorded another manifest")
        for kind, kept in zip(files.KINDS, manifest.files, strict=True):
            await checker.check(kind, kept, rows.lines(kind) if rows is not None else None)
        checker.adds_up(name)
        found.first, found.last, found.days = found.first or day, day, found.days + 1
        found.manifest, found.totals, before = digest, manifest.totals, manifest
        is_known = is_known or digest == known
    if not is_known:
        raise BrokenError(files.MANIFESTS, f"none of them is {known}")
    newest = rows.newest() if rows is not None else None
    if newest is not None and (found.last is None or found.last < newest):
        raise BrokenError(files.manifest_name(newest), "is missing: the books recorded that day as copied")
    return found


def _days(names: list[str]) -> list[date]:
    """The days of the manifests that are there, none left out."""
    found: list[date] = []
    for name in names:
        try:
            day = files.date_of(name)
        except ValueError:
            raise BrokenError(name, "is no manifest's name") from None
        if found and day != found[-1] + timedelta(days=1):
            raise BrokenError(
                files.manifest_name(found[-1] + timedelta(days=1)), "is missing, and later days are there"
            )
        found.append(day)
    return found


async def _manifest(source: Source, day: date) -> tuple[Manifest, str]:
    name = files.manifest_name(day)
    body = await copy.read_whole(source.chunks(name), name)
    if body is None:
        raise BrokenError(name, "is missing")
    try:
        return Manifest.read(body, day), files.sha256_of(body)
    except BadManifestError as error:
        raise BrokenError(name, str(error)) from None


def _follows(name: str, manifest: Manifest, before: Manifest | None, found: Verified) -> None:
    """It goes on from the one before."""
    if before is None:
        if manifest.previous is not None or manifest.number != 1:
            missing = files.manifest_name(manifest.day - timedelta(days=1))
            raise BrokenError(missing, f"is missing: {name} is day {manifest.number} of these books")
        return
    if manifest.previous != found.manifest:
        raise BrokenError(files.manifest_name(before.day), f"was changed: {name} names another content of it")
    if manifest.number != before.number + 1:
        raise BrokenError(name, f"says that it is day {manifest.number}, after day {before.number}")
    if (manifest.environment, manifest.zone) != (before.environment, before.zone):
        raise BrokenError(name, "is of other books than the day before it")


class _Day:
    """One day: each file is what its manifest says, and all of them fit together."""

    def __init__(self, source: Source, manifest: Manifest, found: Verified) -> None:
        self._source, self._manifest, self._found = source, manifest, found
        try:
            self._zone = ZoneInfo(manifest.zone)
        except (KeyError, ValueError, OSError):
            raise BrokenError(files.manifest_name(manifest.day), "names a zone that there is not") from None
        self._lacks: dict[int, int] = {}  # transfers whose entries have not all come
        self._last: Any = None
        self._moved: dict[tuple[str, str], list[int]] = {}
        self._told: dict[tuple[int, str, str], int] = {}

    async def check(self, kind: str, kept: Kept, expected: Iterator[bytes] | None) -> None:
        """A file, byte for byte and line for line."""
        if kept.name != files.file_name(self._manifest.day, kind):
            raise BrokenError(files.manifest_name(self._manifest.day), f"names {kept.name} for {kind}")
        unpacker, number = Unpacker(), 0
        self._last = None
        try:
            async with contextlib.aclosing(self._source.chunks(kept.name)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    for line in unpacker.feed(chunk):
                        number += 1
                        self._line(kind, kept.name, number, line)
                        if expected is not None and next(expected, None) != line:
                            raise BrokenError(kept.name, "is not what the books have", number)
            seen = unpacker.kept(kept.name)
        except NotThereError:
            raise BrokenError(kept.name, "is missing") from None
        except ValueError as error:
            raise BrokenError(kept.name, str(error)) from None
        for what in ("bytes", "sha256", "lines", "lines_sha256"):
            if getattr(seen, what) != getattr(kept, what):
                raise BrokenError(kept.name, f"was changed: its {what} is not that of its manifest")
        if expected is not None and next(expected, None) is not None:
            raise BrokenError(kept.name, "the books have more lines")
        self._found.lines[kind] += number

    def _line(self, kind: str, name: str, number: int, line: bytes) -> None:
        try:
            said = json_reader.read_object(line)
            if said.keys() != _NAMES[kind] or files.line(said) != line:
                raise ValueError("it is not as lines are written")
            {"transfers": self._transfer, "entries": self._entry, "balances": self._balance}.get(kind, _nothing)(said)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            why = str(error) if type(error) is ValueError else "it is not as lines are written"
            raise BrokenError(name, why, number) from None

    def _transfer(self, said: dict[str, Any]) -> None:
        self._ordered(said["transfer"])
        at = datetime.fromisoformat(said["booked_at"])
        if at.astimezone(self._zone).date() != self._manifest.day:
            raise ValueError("it is of another day")
        if said["entries"] < 1:
            raise ValueError("it has no entries")
        self._lacks[said["transfer"]] = said["entries"]

    def _entry(self, said: dict[str, Any]) -> None:
        transfer, amount = said["transfer"], files.amount(said["amount"])
        self._ordered((transfer, said["number"]))
        if self._lacks.get(transfer, 0) < 1:
            raise ValueError("it belongs to no transfer of that day, or is one too many")
        if amount <= 0:
            raise ValueError("its amount is not above zero")
        self._lacks[transfer] -= 1
        copy.add_entry(self._moved, said)
        for side, sign in (("debit", -1), ("credit", 1)):
            if (said[side] in copy.WALLETS) != (said[f"{side}_account"] is not None):
                raise ValueError("a wallet is a customer's, and nothing else is")
            if said[f"{side}_account"] is not None:
                wallet = (said[f"{side}_account"], said[side], said["currency"])
                self._found.wallets[wallet] = self._found.wallets.get(wallet, 0) + sign * amount

    def _balance(self, said: dict[str, Any]) -> None:
        wallet = (said["account"], said["wallet"], said["currency"])
        if wallet in self._told:
            raise ValueError("that wallet stands there twice")
        self._told[wallet] = files.amount(said["balance"])

    def _ordered(self, key: Any) -> None:
        if self._last is not None and not key > self._last:
            raise ValueError("it does not follow the line before")
        self._last = key

    def adds_up(self, name: str) -> None:
        """The sums, the trial balance and the wallets, from the entries alone."""
        manifest, found = self._manifest, self._found
        if lacking := next((one for one, missing in self._lacks.items() if missing), None):
            raise BrokenError(files.file_name(manifest.day, "entries"), f"transfer {lacking} lacks entries")
        _same(name, "of the day", copy.listed(self._moved), manifest.moved)
        _same(name, "to its end", copy.with_more(found.totals, manifest.moved), manifest.totals)
        for currency in sorted({one.currency for one in manifest.totals}):
            of_it = [one for one in manifest.totals if one.currency == currency]
            if sum(one.debit for one in of_it) != sum(one.credit for one in of_it):
                raise BrokenError(name, f"debits and credits in {currency} are not one sum")
        for wallet in [wallet for wallet, balance in found.wallets.items() if balance == 0]:
            del found.wallets[wallet]
        for account, code, currency in sorted({*found.wallets, *self._told}):
            has = found.wallets.get((account, code, currency), 0)
            told = self._told.get((account, code, currency), 0)
            if has != told or has < 0:
                raise BrokenError(
                    files.file_name(manifest.day, "balances"),
                    f"account {account} has {has} {currency} in {code} by the entries, and {told} by this file",
                )


def _nothing(_said: dict[str, Any]) -> None:
    """A line of payments or orders stands by itself."""


def _same(name: str, when: str, here: tuple[Sum, ...], there: tuple[Sum, ...]) -> None:
    if here == there:
        return
    mine = {(one.account, one.currency): one for one in here}
    said = {(one.account, one.currency): one for one in there}
    for account, currency in sorted({*mine, *said}):
        by_entries, told = mine.get((account, currency)), said.get((account, currency))
        if by_entries != told:
            raise BrokenError(
                name,
                f"the sums {when} of {account} in {currency} differ: {_sums(by_entries)} by the entries, {_sums(told)} here",
            )
    raise BrokenError(name, f"the sums {when} are not in their order")


def _sums(one: Sum | None) -> str:
    return "nothing" if one is None else f"debit {one.debit}, credit {one.credit}"
