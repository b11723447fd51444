"""A charge or another payment, and what the books say of its money now: what of it is where, as it was booked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib import currencies
from lib.domain.bookings import PayableOrder
from lib.domain.postings import Amount, clearing

if TYPE_CHECKING:
    from decimal import Decimal

    from lib.db import Transaction


@dataclass(frozen=True, slots=True)
class Paid:
    """A charge or another payment, and what it was taken for.

    Attributes:
        event_id: its news; None of what the balance paid.
        kind: settling or duplicate; None of money that fits nothing.
        amount: as agreed, minor units of prices.
        asset: what came for it, where that is another.
        charged, charged_currency: what its provider charged, minor units of prices: of money that an operator assigned, `amount` is
            what it counted for.
    """

    event_id: int | None
    payment_id: int | None
    kind: str | None
    provider: str
    charge_id: str
    order_id: int | None
    account_id: int | None
    amount: int
    currency: str
    asset: str
    charged: int
    charged_currency: str
    resolution: str | None


_OF_EVENT = """
select e.id as event_id, p.id as payment_id, p.kind, e.provider, e.external_id as charge_id,
       coalesce(p.order_id, e.order_id) as order_id, coalesce(p.account_id, o.account_id) as account_id,
       cast(coalesce(p.amount, e.amount, 0) as bigint) as amount, coalesce(p.currency, e.currency, '') as currency,
       coalesce(p.paid_asset, p.currency, e.currency, '') as asset, cast(coalesce(e.amount, p.amount, 0) as bigint) as charged,
       coalesce(e.currency, p.currency, '') as charged_currency, e.resolution
from payment_events e
left join payments p on p.event_id = e.id
left join orders o on o.id = e.order_id
where e.id = :id
"""
_OF_PAYMENT = """
select p.event_id, p.id as payment_id, p.kind, p.provider, p.charge_id, p.order_id, p.account_id, p.amount, p.currency,
       coalesce(p.paid_asset, p.currency) as asset, cast(coalesce(e.amount, p.amount) as bigint) as charged,
       coalesce(e.currency, p.currency) as charged_currency, e.resolution
from payments p left join payment_events e on e.id = p.event_id
where p.id = :id
"""

_LOCK_ACCOUNT = "select id from accounts where id = :id for no key update"
_LOCK_ORDER = """
select id, account_id, kind, tariff, period_days, list_price, price, currency, value, status
from orders where id = :id for no key update
"""

# What its transfers have left at the provider and in wallets, whatever undid which. A fee is the provider's, whatever becomes of the rest.
# What went back in part is left out: a part is a share of all that was booked.
_LEFT = """
select s.code, s.owner, s.currency, sum(s.amount) as minor
from ledger_transfers t
left join ledger_transfers o on o.id = t.reverses_id
join ledger_entries e on e.transfer_id = t.id
join ledger_accounts d on d.id = e.debit_account_id
join ledger_accounts c on c.id = e.credit_account_id
cross join lateral (values
    (d.code, coalesce(d.account_id, 0), d.currency, case when d.of_customer then -e.amount else e.amount end),
    (c.code, coalesce(c.account_id, 0), c.currency, case when c.of_customer then e.amount else -e.amount end)
) s (code, owner, currency, amount)
where (t.payment_id = :payment_id or t.event_id = :event_id)
  and coalesce(o.kind, t.kind) in ('sale', 'top_up', 'gift_bought', 'suspense', 'suspense_resolved', 'refund', 'chargeback')
  and 'provider_fees' not in (d.code, c.code)
  and s.code in (cast(:clearing as text), 'user:topped_up', 'user:earned')
  and not (coalesce(o.kind, t.kind) in ('refund', 'chargeback')
           and exists (select from refunds r where r.id = coalesce(o.refund_id, t.refund_id) and r.part_of_charge is not null))
group by s.code, s.owner, s.currency having sum(s.amount) <> 0
"""


@dataclass(frozen=True, slots=True)
class _Side:
    code: str
    owner: int
    currency: str
    minor: Decimal


@dataclass(frozen=True, slots=True)
class Standing:
    """What the books say of a payment's money now, as it was booked, before any part of it went back.

    Attributes:
        there: what of it the provider's account still has, in the asset that came.
        credited: what of it went to a customer's `topped_up`.
        owner: whose.
        spent: what the wallets paid for it, by their code.
    """

    there: Amount
    credited: int
    owner: int | None
    spent: dict[str, int]


def standing(tx: Transaction, paid: Paid) -> Standing:
    """Of what its transfers have left."""
    where = clearing(paid.provider) if paid.event_id is not None else ""
    sides = tx.rows(_Side, _LEFT, payment_id=paid.payment_id, event_id=paid.event_id, clearing=where)
    there = next((Amount(int(one.minor), one.currency) for one in sides if one.code == where), Amount(0, paid.asset))
    credited = next((one for one in sides if one.code == "user:topped_up" and one.minor > 0), None)
    spent = {one.code: -int(one.minor) for one in sides if one.owner and one.minor < 0}
    return Standing(there, int(credited.minor) if credited else 0, credited.owner if credited else None, spent)


def left_by_another_way(tx: Transaction, paid: Paid) -> bool:
    """Whether the money was paid back by hand before its provider took it: then this is a loss, whatever it was for."""
    if paid.payment_id is None:
        return paid.resolution == "refunded"
    by_hand = "select exists (select from refunds where payment_id = :id and route = 'bank')"
    return (paid.kind == "duplicate" and paid.resolution == "refunded") or bool(tx.value(by_hand, id=paid.payment_id))


def lock(tx: Transaction, paid: Paid) -> PayableOrder | None:
    """The buyer's account and the order, in that order; the order of money that has one."""
    if paid.account_id is not None:
        tx.value(_LOCK_ACCOUNT, id=paid.account_id)
    return None if paid.order_id is None else tx.row(PayableOrder, _LOCK_ORDER, id=paid.order_id)


def is_sold(tx: Transaction, paid: Paid, order: PayableOrder) -> bool:
    """Whether the price stands in what was sold: not in a balance, as of a top-up, a further charge, a sale given back to the balance."""
    return is_sold_price(paid, order) and not tx.value(
        "select exists (select from refunds where payment_id = :id and route = 'balance')", id=paid.payment_id
    )


def is_sold_price(paid: Paid, order: PayableOrder) -> bool:
    """Whether the payment was the price of what was sold."""
    return paid.kind == "settling" and order.kind != "top_up"


def is_debited(tx: Transaction, paid: Paid) -> bool:
    """Whether a debit of all that was left of the charge at its provider is booked."""
    return bool(
        tx.value(
            "select exists (select from refunds where charge_event_id = :id and route = 'provider' and part_of_charge is null)",
            id=paid.event_id,
        )
    )


@dataclass(frozen=True, slots=True)
class SaleParts:
    """What came for a sale: for the price, and for what was more and went to the balance. Minor units of the books.

    Attributes:
        price: what of the price was paid, in the order's currency: the shop may have made good the rest of it.
        came, rest_came: in the asset that came.
        rest: in the currency of the books.
    """

    price: int
    came: int
    rest: int
    rest_came: int

    @classmethod
    def of(cls, paid: Paid, order: PayableOrder, left: Standing, books: str) -> SaleParts:
        """By the amounts that were booked."""
        currency, total, rest = currencies.of(order.currency), left.there.minor, left.credited
        beyond = max(0, paid.amount - order.price)
        if not rest:  # what was more may have been worth less than the least amount of the books
            return cls(currency.booked(paid.amount), total, 0, 0)
        in_books = left.there.currency == books != order.currency
        rest_came = rest if in_books else total * beyond // paid.amount
        return cls(currency.booked(min(paid.amount, order.price)), total - rest_came, rest, rest_came)


def find(tx: Transaction, *, payment_id: int | None = None, event_id: int | None = None) -> Paid | None:
    """A payment, or a charge by its news."""
    if payment_id is not None:
        return tx.row(Paid, _OF_PAYMENT, id=payment_id)
    return tx.row(Paid, _OF_EVENT, id=event_id)


_CAME = """
select sum(e.amount) as minor, e.currency
from ledger_transfers t
join ledger_entries e on e.transfer_id = t.id
join ledger_accounts d on d.id = e.debit_account_id
where (t.payment_id = :payment_id or t.event_id = :event_id) and t.kind in ('sale', 'top_up', 'gift_bought', 'suspense')
  and d.code = :clearing and not exists (select from ledger_transfers undone where undone.reverses_id = t.id)
group by t.id, e.currency order by t.id desc limit 1
"""


@dataclass(frozen=True, slots=True)
class _Came:
    minor: Decimal
    currency: str


def came(tx: Transaction, paid: Paid) -> Amount:
    """What came of a charge, as it was booked last, whatever left of it since."""
    row = tx.row(_Came, _CAME, payment_id=paid.payment_id, event_id=paid.event_id, clearing=clearing(paid.provider))
    return Amount(int(row.minor), row.currency) if row else Amount(0, paid.asset)


# Parts ---------------------------------------------------------------------------------------------------------------

_PARTS = """
select coalesce(sum(r.part_of_charge), 0) as gone,
       coalesce(sum(r.part_of_charge) filter (where exists (
           select from ledger_transfers t where t.refund_id = r.id and t.kind = 'suspense_resolved')), 0) as of_suspense
from refunds r where r.charge_event_id = :event_id and r.part_of_charge is not null
"""


@dataclass(frozen=True, slots=True)
class _Parts:
    gone: Decimal
    of_suspense: Decimal


@dataclass(frozen=True, slots=True)
class Part:
    """What of a charge goes back now, in minor units of what was charged.

    Attributes:
        whole: of how much it is a part: what left while it lay in suspense was booked by itself.
        begins, ends: how much of that is gone, before it and with it.
    """

    whole: int
    begins: int
    ends: int

    @property
    def is_all(self) -> bool:
        """Nothing went back before, and nothing stays."""
        return (self.begins, self.ends) == (0, self.whole)

    @property
    def is_last(self) -> bool:
        """Nothing stays."""
        return self.ends == self.whole

    def of(self, amount: int) -> int:
        """Its share of an amount: rounded so that the shares of all parts are the amount."""
        return amount * self.ends // self.whole - amount * self.begins // self.whole

    def of_sale(self, parts: SaleParts, *, in_one_currency: bool) -> SaleParts:
        """Its share of what came for a sale.

        Args:
            parts: all of it.
            in_one_currency: the price is in the currency that came: then what left for it is what is taken of it.
        """
        rest_came = self.of(parts.rest_came)
        came = self.of(parts.came + parts.rest_came) - rest_came
        return SaleParts(came if in_one_currency else self.of(parts.price), came, self.of(parts.rest), rest_came)


def part(tx: Transaction, paid: Paid, left: int | None = None) -> Part:
    """What goes back of a charge when so much of it leaves; all that is still there when `left` is None. Its news is locked."""
    charged = max(1, paid.charged)
    if paid.event_id is None:
        return Part(charged, 0, charged)
    known = tx.one(_Parts, _PARTS, event_id=paid.event_id)
    gone, of_suspense = int(known.gone), int(known.of_suspense)
    there = max(0, charged - gone)
    ends = gone + (there if left is None else min(left, there))
    return Part(max(1, charged - of_suspense), gone - of_suspense, ends - of_suspense)
