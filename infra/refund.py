"""`make refund ENV=... ORDER=... HOW=... OPERATOR=... REASON=...`: a payment goes back, once. Without AMOUNT it is a dry run."""

from __future__ import annotations

import argparse
import sys
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from infra import environment, parameters, said_amount, transaction
from lib import currencies
from lib.domain import refunds_by_hand
from lib.domain.refund_requests import NotRefunded
from lib.domain.refunds_by_hand import Made, Route, Wanted
from lib.domain.suspense_by_hand import By
from lib.payments import stars, synthetic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lib.db import Transaction
    from lib.domain.postings import Amount
    from lib.domain.pricelist import PriceList

CHARGEBACK = "chargeback"
GIVE_BACK = frozenset({stars.NAME, synthetic.NAME})
"""The providers that give a charge back when they are asked to; of the others it would be refused a minute later."""
NAMES = ("order", "event", "how", "access", "paid", "fee", "amount", "operator", "reason")
_HOW = (*(str(route) for route in Route), CHARGEBACK)
_ACCESS = {"keep": False, "end": True}


class BadArguments(Exception):
    """Nothing was changed; the text says everything that is wrong, one a line."""


class DryRun(Exception):
    """It could be done, and was not: `made` is what would have been."""

    def __init__(self, made: Made) -> None:
        super().__init__("a dry run")
        self.made = made


@dataclass(frozen=True, slots=True)
class Asked:
    """What the words of the command ask for.

    Attributes:
        order: whose settling payment goes back; else `event`, a charge by its news.
        amount: what has to come of it, exactly as the dry run said it; None asks for the dry run.
    """

    environment: str
    how: str
    operator: int
    reason: str
    order: int | None = None
    event: int | None = None
    ends_access: bool = False
    paid: Amount | None = None
    fee: Amount | None = None
    amount: str | None = None


def main(arguments: list[str] | None = None) -> int:
    """0: done, asked for, or shown by a dry run. 1: the database can't be had, or it may have been done. 2: it may not be."""
    parser = argparse.ArgumentParser(prog="python -m infra.refund", description="Give a payment back, once.")
    parser.add_argument("--env", required=True, help="local, dev or prod")
    for name in NAMES:
        parser.add_argument(f"--{name}", default="")
    options = vars(parser.parse_args(arguments))
    return transaction.exit_code(
        lambda: _refund(options),
        nothing="Nothing was changed",
        perhaps="It may not have been done",
        again="The same command again does it, or says that it was done before.",
        refusals=(BadArguments, NotRefunded),
    )


def _refund(options: Mapping[str, str]) -> int:
    asked = asked_of(options)
    found = environment.load(asked.environment)
    by = By(asked.operator, environment.owners(found), asked.reason, f"refund-{uuid.uuid4()}")
    prices = environment.prices(found)
    try:
        made = transaction.run(found.connect("owner"), refund, asked, by, prices)
    except DryRun as dry_run:
        amount = said(dry_run.made)
        sys.stdout.write(
            f"A dry run: {amount} would go back by {asked.how}"
            f"{', and access would be taken off' if asked.ends_access else ''}. Nothing was changed.\n"
            f'Say it again with AMOUNT="{amount}" to do it.\n'
        )
        return 0
    if made.request_id is not None:
        sys.stdout.write(
            f"The provider is asked to give {said(made)} back (request {made.request_id}) within a minute.\n"
        )
    else:
        sys.stdout.write(f"{said(made)} went back by {asked.how}. Messages and access follow.\n")
    return 0


def refund(tx: Transaction, asked: Asked, by: By, prices: PriceList) -> Made:
    """Do it, in the database of the environment that was meant.

    Raises:
        NotRefunded: nothing was changed.
        DryRun: it could be done.
    """
    held = tx.value("select environment from deployment")
    if held != asked.environment:
        raise NotRefunded(f"this database belongs to environment {held}, not {asked.environment}")
    payment_id = None
    if asked.order is not None:
        payment_id = refunds_by_hand.settling_payment(tx, asked.order)
        if payment_id is None:
            raise NotRefunded(f"no payment settled an order {asked.order}")
    if asked.how == CHARGEBACK:
        event_id = asked.event
        if payment_id is not None:
            event_id = tx.value("select event_id from payments where id = :id", id=payment_id)
        if event_id is None:
            raise NotRefunded("what was paid from the balance can't be charged back")
        if refunds_by_hand.tells_of_a_return(tx, event_id):
            made = refunds_by_hand.booked_as_its_charge(tx, event_id, by, prices)
        else:
            made = refunds_by_hand.taken_by_provider(tx, event_id, by, prices)
    else:
        wanted = Wanted(
            Route(asked.how),
            payment_id,
            None if payment_id is not None else asked.event,
            reverses_access=asked.ends_access,
            paid=asked.paid,
            fee=asked.fee,
        )
        made = refunds_by_hand.refund(tx, wanted, by, prices, GIVE_BACK)
    if asked.amount is None:
        raise DryRun(made)
    if asked.amount != said(made):
        raise NotRefunded(f"it is {said(made)}, not {asked.amount}: the dry run says what AMOUNT is")
    return made


def said(made: Made) -> str:
    """The amount that goes back, such as `149.00 RUB`."""
    digits = currencies.of(made.currency).price_digits
    return f"{Decimal(made.amount).scaleb(-digits):f} {made.currency}"


def asked_of(options: Mapping[str, str]) -> Asked:
    """What the words of the command ask for.

    Raises:
        BadArguments: with everything that is wrong.
    """
    given = {name: options[name].strip() for name in NAMES if options[name].strip()}
    problems = []
    how = given.get("how", "")
    if how not in _HOW:
        problems.append(f"HOW must be one of {', '.join(_HOW)}")
    if ("order" in given) == ("event" in given):
        problems.append("either ORDER or EVENT says what goes back")
    if "operator" not in given:
        problems.append("OPERATOR is not given")
    problems += [
        f"{number.upper()} must be a whole number from 1"
        for number in ("order", "event", "operator")
        if number in given and not parameters.is_number(given[number])
    ]
    if given.get("access", "keep") not in _ACCESS:
        problems.append("ACCESS must be keep or end")
    if how == CHARGEBACK and "access" in given:
        problems.append("ACCESS is nothing that HOW=chargeback takes")
    by_hand = how == Route.BANK
    problems += [
        f"{name.upper()} is nothing that HOW={how} takes" for name in ("paid", "fee") if name in given and not by_hand
    ]
    if by_hand and "paid" not in given:
        problems.append("PAID is not given: what left the bank")
    amounts = _amounts(given, problems)
    reason = given.get("reason", "")
    problems += parameters.problems_of_reason(reason)
    if problems:
        raise BadArguments("\n".join(problems))
    return Asked(
        options["env"],
        how,
        int(given["operator"]),
        reason,
        order=int(given["order"]) if "order" in given else None,
        event=int(given["event"]) if "event" in given else None,
        ends_access=_ACCESS[given.get("access", "keep")],
        paid=amounts.get("paid"),
        fee=amounts.get("fee"),
        amount=given.get("amount"),
    )


def _amounts(given: Mapping[str, str], problems: list[str]) -> dict[str, Amount]:
    amounts: dict[str, Amount] = {}
    for name in ("paid", "fee"):
        if name in given:
            try:
                amounts[name] = said_amount.read(given[name])
            except ValueError as error:
                problems.append(f"{name.upper()}: {error}")
    return amounts


if __name__ == "__main__":
    sys.exit(main())
