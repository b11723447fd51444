"""Which fact is booked how: the one table of it, as data (docs/data.md, Books). Nothing else posts.

A row names the accounts an amount moves from and to. The amounts of a fact come by name, each in its own currency; one that is
not there, or is nothing, makes no entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.domain.ledger import Entry, Posting

if TYPE_CHECKING:
    from collections.abc import Mapping

CLEARING = {
    "cryptobot": "clearing:cryptobot",
    "stars": "clearing:stars",
    "card": "clearing:card",
    "transfer": "bank",
}
"""Where the money lies that a provider took; the database's table `providers` says the same."""

SAME, OTHER = "the order's currency came", "another asset came"


@dataclass(frozen=True, slots=True)
class Amount:
    """Minor units of the books."""

    minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Leg:
    """One row of the table.

    Attributes:
        debit, credit: codes of the chart; `clearing` stands for the provider's.
        amount: its name; it says the currency as well.
        when: what came, where the row depends on it.
    """

    debit: str
    credit: str
    amount: str
    when: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """What can be booked.

    Attributes:
        kind: of the transfer.
        key: its idempotency key, made of what the fact is about.
    """

    kind: str
    key: str
    legs: tuple[Leg, ...]


AMOUNTS = {
    "price": "what was agreed, in the order's currency",
    "discount": "list price less price, in the order's currency",
    "received": "what came, in the asset that came",
    "fee": "what the provider kept, in its asset",
}

SALE = Fact(
    "sale",
    "payment:{payment_id}",
    (
        Leg("clearing", "revenue", "price", SAME),
        Leg("clearing", "exchange", "received", OTHER),
        Leg("exchange", "revenue", "price", OTHER),
        Leg("provider_fees", "clearing", "fee"),
        Leg("discounts", "revenue", "discount"),
    ),
)
FACTS = (SALE,)
"""The facts that the code books now; the database's list of kinds has those to come as well."""


def posting(
    fact: Fact,
    amounts: Mapping[str, Amount | None],
    *,
    provider: str,
    came: str,
    payment_id: int,
    order_id: int,
) -> Posting:
    """The transfer of a fact, with the entries that its rows make of these amounts.

    Args:
        fact: a row of `FACTS`.
        amounts: by name; None is what is not known.
        provider: whose clearing account is meant.
        came: `SAME` or `OTHER`.
        payment_id: what it is about.
        order_id: of the payment.

    Raises:
        LookupError: no clearing account of that provider.
    """
    clearing = CLEARING[provider]
    entries = []
    for leg in fact.legs:
        amount = amounts.get(leg.amount)
        if leg.when not in {"", came} or amount is None or amount.minor <= 0:
            continue
        debit, credit = (clearing if code == "clearing" else code for code in (leg.debit, leg.credit))
        entries.append(Entry(debit, credit, amount.minor, amount.currency))
    return Posting(
        fact.kind, fact.key.format(payment_id=payment_id), tuple(entries), payment_id=payment_id, order_id=order_id
    )
