"""`make end-suspense ENV=... EVENT=... HOW=... OPERATOR=... REASON=...`: how money that fits nothing ends without the bot (lib/bot/finance).

Without CONFIRM, which repeats the event's number, it is a dry run: it says what would be posted.
"""

from __future__ import annotations

import argparse
import sys
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra import environment, parameters, said_amount, transaction
from lib import currencies
from lib.domain import inbox, suspense_by_hand
from lib.domain.postings import Amount
from lib.domain.suspense_by_hand import By, Left, Refused
from lib.payments import stars

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from lib.db import Transaction
    from lib.domain.pricelist import PriceList

ASSIGN, CREDIT, GIVEN_BACK, PAID_BACK = "assign", "credit", "given-back", "paid-back"
PAID_OUT, OWNERS = "paid-out", "owners"
_TAKES = {
    ASSIGN: ("order", "worth"),
    CREDIT: ("account", "worth"),
    GIVEN_BACK: (),
    PAID_BACK: ("paid", "fee"),
    PAID_OUT: ("paid",),
    OWNERS: (),
}
_NEEDS = {ASSIGN: "order", CREDIT: "account", PAID_BACK: "paid", PAID_OUT: "paid"}
NAMES = ("event", "how", "order", "account", "worth", "paid", "fee", "operator", "reason", "confirm")


class BadArguments(Exception):
    """Nothing was changed; the text says everything that is wrong, one a line."""


class DryRun(Exception):
    """It could be done, and was not: `moves` is what would be posted, one entry a line."""

    def __init__(self, moves: list[str]) -> None:
        super().__init__("a dry run")
        self.moves = moves


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to become of an event's money; amounts as they were written. Not confirmed, it is a dry run."""

    environment: str
    how: str
    event: int
    operator: int
    reason: str
    order: int | None = None
    account: int | None = None
    worth: Amount | None = None
    paid: Amount | None = None
    fee: Amount | None = None
    is_confirmed: bool = False


def main(arguments: list[str] | None = None) -> int:
    """0: done, or shown by a dry run. 1: the database can't be had, or it may have been done. 2: it may not be, or what was said can't be."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.end_suspense", description="End what lies in suspense, once."
    )
    parser.add_argument("--env", required=True, help="local, dev or prod")
    for name in NAMES:
        parser.add_argument(f"--{name}", default="")
    options = vars(parser.parse_args(arguments))
    return transaction.exit_code(
        lambda: _end(options),
        nothing="Nothing was changed",
        perhaps="It may not have been done",
        again="The same command again does it, or says what was done.",
        refusals=(BadArguments, Refused),
    )


def _end(options: Mapping[str, str]) -> int:
    wanted = wanted_of(options)
    found = environment.load(wanted.environment)
    by = By(wanted.operator, environment.owners(found), wanted.reason, f"end-suspense-{uuid.uuid4()}")
    prices = environment.prices(found)
    try:
        transaction.run(found.connect("owner"), end, wanted, by, prices)
    except DryRun as dry_run:
        moves = "".join(f"  {move}\n" for move in dry_run.moves)
        sys.stdout.write(
            f"A dry run: {wanted.how} of event {wanted.event} would post\n{moves}Nothing was changed."
            f" CONFIRM={wanted.event} does it.\n"
        )
        return 0
    sys.stdout.write(
        f"The money of event {wanted.event} is out of suspense: {wanted.how}. Messages and access follow.\n"
    )
    return 0


def end(tx: Transaction, wanted: Wanted, by: By, prices: PriceList) -> None:
    """Do it, in the database of the environment that was meant.

    Raises:
        Refused: nothing was changed.
        DryRun: it could be done.
    """
    held = tx.value("select environment from deployment")
    if held != wanted.environment:
        raise Refused(f"this database belongs to environment {held}, not {wanted.environment}")
    worth = None if wanted.worth is None else _of_prices(wanted.worth)
    if wanted.how == ASSIGN and wanted.order is not None:
        sold_in = tx.value("select currency from orders where id = :id", id=wanted.order)
        _check_currency(wanted.worth, sold_in or "")
        suspense_by_hand.assign(tx, wanted.event, wanted.order, by, prices, worth=worth)
    elif wanted.how == CREDIT and wanted.account is not None:
        _check_currency(wanted.worth, prices.currency)
        suspense_by_hand.credit(tx, wanted.event, wanted.account, by, prices.currency, worth=worth)
    elif wanted.how == PAID_OUT and wanted.paid is not None:
        suspense_by_hand.paid_out(tx, wanted.event, by, _left(tx, wanted.event), wanted.paid)
    elif wanted.how == OWNERS:
        suspense_by_hand.taken_by_owner(tx, wanted.event, by, _left(tx, wanted.event))
    elif wanted.how == PAID_BACK and wanted.paid is not None:
        suspense_by_hand.paid_back(tx, wanted.event, by, wanted.paid, wanted.fee)
    else:
        suspense_by_hand.given_back(tx, wanted.event, by)
    if not wanted.is_confirmed:
        raise DryRun([one.said() for one in tx.rows(_Move, _POSTED)])


# What this very transaction has written.
_POSTED = """
select d.code as debit, c.code as credit, e.amount, e.currency
from ledger_transfers t join ledger_entries e on e.transfer_id = t.id
join ledger_accounts d on d.id = e.debit_account_id join ledger_accounts c on c.id = e.credit_account_id
where t.xmin = cast(pg_current_xact_id() as xid) order by e.transfer_id, e.number
"""


@dataclass(frozen=True, slots=True)
class _Move:
    debit: str
    credit: str
    amount: Decimal
    currency: str

    def said(self) -> str:
        return f"{self.debit} -> {self.credit}: {currencies.of(self.currency).said(int(self.amount))}"


def _left(tx: Transaction, event_id: int) -> Left:
    """What a line of Telegram's list says left.

    Raises:
        Refused: the event is no such line.
    """
    stored = inbox.read_event(tx, event_id)
    line = stars.debit_of(stored) if stored is not None and stored.provider == stars.NAME else None
    if line is None:
        raise Refused(f"event {event_id} tells of nothing that left a provider by itself")
    return Left(line[0], Amount(line[1], stars.STAR))


def wanted_of(options: Mapping[str, str]) -> Wanted:
    """What the words of the command ask for.

    Raises:
        BadArguments: with everything that is wrong.
    """
    said = {name: options[name].strip() for name in NAMES if options[name].strip()}
    problems = []
    how = said.get("how", "")
    if how not in _TAKES:
        problems.append(f"HOW must be one of {', '.join(_TAKES)}")
    foreign = [
        name
        for name in ("order", "account", "worth", "paid", "fee")
        if name in said and name not in _TAKES.get(how, ())
    ]
    problems += [f"{name.upper()} is nothing that HOW={how} takes" for name in foreign if how in _TAKES]
    needed = ["event", "operator", *([_NEEDS[how]] if how in _NEEDS else [])]
    problems += [f"{name.upper()} is not given" for name in needed if name not in said]
    for number in ("event", "operator", "order", "account"):
        if number in said and not parameters.is_number(said[number]):
            problems.append(f"{number.upper()} must be a whole number from 1")
    amounts: dict[str, Amount] = {}
    for kind in ("worth", "paid", "fee"):
        if kind in said:
            try:
                amounts[kind] = said_amount.read(said[kind])
            except ValueError as error:
                problems.append(f"{kind.upper()}: {error}")
    if said.get("confirm", said.get("event")) != said.get("event"):
        problems.append("CONFIRM repeats the number of EVENT, or is left out for a dry run")
    reason = said.get("reason", "")
    problems += parameters.problems_of_reason(reason)
    if problems:
        raise BadArguments("\n".join(problems))
    return Wanted(
        options["env"],
        how,
        int(said["event"]),
        int(said["operator"]),
        reason,
        order=int(said["order"]) if "order" in said else None,
        account=int(said["account"]) if "account" in said else None,
        worth=amounts.get("worth"),
        paid=amounts.get("paid"),
        fee=amounts.get("fee"),
        is_confirmed="confirm" in said,
    )


def _of_prices(amount: Amount) -> int:
    """In minor units of prices.

    Raises:
        Refused: prices of that currency have no such part.
    """
    whole, left = divmod(amount.minor, currencies.of(amount.currency).booked(1))
    if left:
        raise Refused(f"WORTH must be a whole number of what {amount.currency} is priced in")
    return whole


def _check_currency(worth: Amount | None, currency: str) -> None:
    if worth is not None and currency and worth.currency != currency:
        raise Refused(f"WORTH is said in {currency}")


if __name__ == "__main__":
    sys.exit(main())
