"""How money that came is written down: the payment, the order's and the event's state, the entries of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.domain import ledger
from lib.domain.ledger import Entry

if TYPE_CHECKING:
    from uuid import UUID

    from lib.db import Transaction


@dataclass(frozen=True, slots=True)
class Money:
    """What a provider says was paid.

    Attributes:
        amount: minor units of `currency`: the agreement.
        invoice_id: the provider's.
        purchase_id: ours, as the invoice carried it; None when it carried something else.
        paid_*, fee_*: what really moved, decimal strings, booked in its own currency.
    """

    amount: int
    currency: str
    invoice_id: str
    purchase_id: UUID | None
    paid_asset: str | None = None
    paid_amount: str | None = None
    paid_rate: str | None = None
    fee_asset: str | None = None
    fee_amount: str | None = None


@dataclass(frozen=True, slots=True)
class PayableOrder:
    """What a payment is compared with and booked for."""

    id: int
    account_id: int
    kind: str
    tariff: str
    period_days: int
    price: int
    currency: str
    status: str


# Payment, order and event change together; the partial unique index payments_one_settling backs the status check up.
_BOOK = """
with payment as (
    insert into payments (provider, charge_id, kind, order_id, account_id, event_id, amount, currency,
                          paid_asset, paid_amount, paid_rate, fee_asset, fee_amount)
    values (:provider, :charge_id, :kind, :order_id, :account_id, :event_id, :amount, :currency,
            :paid_asset, :paid_amount, :paid_rate, :fee_asset, :fee_amount)
    returning id
), paid as (
    update orders set status = 'paid', paid_at = atlas.now(), provider_closed_at = atlas.now(),
        invoice_id = coalesce(invoice_id, :invoice_id), invoice_url = coalesce(invoice_url, '')
    where id = :order_id and :kind = 'settling'
), processed as (
    update payment_events
    set status = :status, processed_at = atlas.now(), reason = null, amount = :amount, currency = :currency, order_id = :order_id
    where id = :event_id
)
select id from payment
"""


def book(
    tx: Transaction, event_id: int, *, provider: str, charge_id: str, money: Money, order: PayableOrder, kind: str
) -> int:
    """Write the payment and end its event; a `settling` one also makes the order paid. Returns the payment's id."""
    payment_id: int = tx.value(
        _BOOK,
        provider=provider,
        charge_id=charge_id,
        kind=kind,
        order_id=order.id,
        account_id=order.account_id,
        event_id=event_id,
        amount=money.amount,
        currency=money.currency,
        paid_asset=money.paid_asset,
        paid_amount=money.paid_amount,
        paid_rate=money.paid_rate,
        fee_asset=money.fee_asset,
        fee_amount=money.fee_amount,
        invoice_id=money.invoice_id,
        status="settled" if kind == "settling" else "duplicate",
    )
    return payment_id


def exponents(tx: Transaction, money: Money) -> dict[str, int]:
    """Digits of the assets that moved, by code; only asked for when a foreign asset did."""
    codes = sorted({code for code in (money.paid_asset, money.fee_asset) if code})
    if not codes:
        return {}
    found = tx.value(
        "select coalesce(jsonb_object_agg(code, exponent), '{}') from currencies where code = any(cast(:codes as text[]))",
        codes=codes,
    )
    return {code: int(found.get(code, 18)) for code in codes}


def entries(provider: str, money: Money, exponents: dict[str, int]) -> list[Entry]:
    """A settlement's entries. A foreign asset passes an exchange account, so each currency sums to zero by itself."""
    clearing, exchange = f"clearing:{provider}", "exchange"
    if not money.paid_asset or not money.paid_amount:
        return [Entry(clearing, "revenue", money.amount, money.currency)]
    asset = money.paid_asset
    made = [
        Entry(clearing, exchange, ledger.minor_units(money.paid_amount, exponents[asset]), asset),
        Entry(exchange, "revenue", money.amount, money.currency),
    ]
    if money.fee_asset and money.fee_amount:
        fee = ledger.minor_units(money.fee_amount, exponents[money.fee_asset])
        if fee > 0:
            made.append(Entry("provider_fees", clearing, fee, money.fee_asset))
    return [entry for entry in made if entry.amount > 0]
