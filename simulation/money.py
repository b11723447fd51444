"""What the money must be: every charge that a provider took is in the books once, and every wallet is what the oracle reckons.

The providers' side is the stand-ins' own; the order of events is the books', what each of them does is the oracle's to say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from lib.oracle import Books, Order, Refused, Sum

if TYPE_CHECKING:
    from simulation.world import World

_CRYPTO: Final = "cryptobot"
_HAPPENED: Final = "select provider, charge_id, kind, order_id from payments order by created_at, id"
_AGREED: Final = "select id, account_id, kind, list_price, price, value, currency from orders"
_UNMATCHED: Final = "select provider, external_id from payment_events where kind = 'charge' and status = 'unmatched' and resolved_at is null"
_KNOWN: Final = "select provider, external_id from payment_events where kind = 'charge'"
_PURCHASES: Final = "select cast(purchase_id as text), id from orders"
_WALLETS: Final = """
select account_id, substr(code, 6), balance from ledger_accounts
where code in ('user:topped_up', 'user:earned') and account_id is not null and balance <> 0
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """Money that a provider took.

    Attributes:
        purchase: the order's own id, as the invoice carried it.
        minor: in minor units of what was agreed in (whole Stars).
        at: when, seconds since 1970.
        returned: it went back to the payer.
    """

    provider: str
    charge: str
    purchase: str
    minor: int
    currency: str
    at: float
    returned: bool


def taken(world: World) -> list[Taken]:
    """All of it, as the providers have it."""
    found = []
    for number, one in world.crypto_pay.invoices.items():
        if one["status"] == "paid":
            paid_at = world.crypto_pay.invoice(number).fields["paid_at"]
            minor = int(Decimal(str(one["amount"])) * 100)
            found.append(
                Taken(
                    _CRYPTO,
                    str(number),
                    str(one.get("payload", "")),
                    minor,
                    str(one["fiat"]),
                    _moment(paid_at),
                    returned=False,
                )
            )
    for charge in world.telegram.payments.charges:
        provider, key = ("stars", charge.charge_id) if charge.currency == "XTR" else ("card", charge.provider_charge_id)
        found.append(
            Taken(provider, key, charge.payload, charge.amount, charge.currency, float(charge.date), charge.returned)
        )
    return found


def _moment(said: str) -> float:
    return datetime.fromisoformat(said).timestamp()


def problems(world: World, *, older_than: float) -> list[str]:
    """What is wrong; `older_than`: charges taken later (seconds since 1970) may still be on their way."""
    all_taken = {(one.provider, one.charge): one for one in taken(world)}
    known = {(provider, charge) for provider, charge in world.query(_KNOWN)}
    found = [
        f"{provider} took {one.minor} {one.currency}, and Atlas does not know of it"
        for (provider, charge), one in all_taken.items()
        if one.at < older_than and (provider, charge) not in known
    ]
    return found + _judged(world, all_taken)


@dataclass
class _Judge:
    """Tells the oracle what the books took up, one by one, and keeps what does not fit."""

    all_taken: dict[tuple[str, str], Taken]
    purchases: dict[str, int]
    books: Books = field(default_factory=Books)
    found: list[str] = field(default_factory=list)

    def payment(self, provider: str, charge: str, kind: str, order_id: int) -> None:
        """A row of `payments`."""
        name, order = str(order_id), self.books.orders[str(order_id)]
        try:
            if provider in {"balance", "promo"}:
                self.books.pay_from_balance(name)
            elif (one := self.all_taken.get((provider, charge))) is None:
                self.found.append(f"order {order_id} is settled by a charge that {provider} never took")
            else:
                self._outside(one, kind, order_id, order)
        except Refused as error:
            self.found.append(f"payment of order {order_id}: the oracle refuses: {error}")

    def _outside(self, one: Taken, kind: str, order_id: int, order: Order) -> None:
        if self.purchases.get(one.purchase) != order_id:
            self.found.append(f"order {order_id} is settled by a charge for another order")
        event = f"{one.provider} {one.charge}"
        verdict = self.books.charge(event, one.provider, Sum(one.minor, one.currency), order=str(order_id))
        if (verdict == "settled") != (kind == "settling"):
            self.found.append(f"a charge of order {order_id} is {kind}, and the oracle says {verdict}")
        if verdict != "duplicate":
            return
        if one.provider == "stars":
            self.books.give_back(event)
        else:
            self.books.credit(event, order.customer, one.minor * order.value // order.price)

    def unmatched(self, provider: str, charge: str) -> None:
        """A charge that fits nothing, as the books have it."""
        one = self.all_taken.get((provider, charge))
        if one is None:
            self.found.append(f"an unmatched charge that {provider} never took")
            return
        order = self.purchases.get(one.purchase)
        name = None if order is None else str(order)
        verdict = self.books.charge(f"{provider} {charge}", provider, Sum(one.minor, one.currency), order=name)
        if verdict != "unmatched":
            self.found.append(f"a charge of order {order} fits nothing, and the oracle says {verdict}")

    def wallets(self, held: dict[tuple[int, str], int]) -> None:
        """What customers have, by account and part."""
        reckoned = {
            (account, code.removeprefix("user:")): -minor
            for (code, _, account), minor in self.books.balances.items()
            if code.startswith("user:") and account is not None and minor
        }
        self.found += [
            f"account {one[0]} has {held.get(one, 0)} {one[1]}, and should have {reckoned.get(one, 0)}"
            for one in sorted(reckoned.keys() | held.keys())
            if held.get(one, 0) != reckoned.get(one, 0)
        ]


def _judged(world: World, all_taken: dict[tuple[str, str], Taken]) -> list[str]:
    judge = _Judge(all_taken, dict(world.query(_PURCHASES)))
    for order_id, *agreed in world.query(_AGREED):
        judge.books.order(str(order_id), Order(*agreed))
    for provider, charge, kind, order_id in world.query(_HAPPENED):
        judge.payment(provider, charge, kind, order_id)
    for provider, charge in world.query(_UNMATCHED):
        judge.unmatched(provider, charge)
    judge.wallets({(account, part): int(minor) for account, part, minor in world.query(_WALLETS)})
    return judge.found
