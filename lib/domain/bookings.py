"""How money that came is written down: the payment, the order's and the event's state, the entries of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib import currencies
from lib.domain import ledger
from lib.domain.postings import About, Amount, posting, table

if TYPE_CHECKING:
    from uuid import UUID

    from lib.db import Transaction
    from lib.domain.ledger import Posting


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
    list_price: int
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
        invoice_id = coalesce(invoice_id, nullif(:invoice_id, ''))
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
        paid_amount=money.paid_amount if money.paid_asset else None,
        paid_rate=money.paid_rate,
        fee_asset=money.fee_asset,
        fee_amount=money.fee_amount if money.fee_asset else None,
        invoice_id=money.invoice_id,
        status="settled" if kind == "settling" else "duplicate",
    )
    return payment_id


def sale(provider: str, money: Money, *, payment_id: int, order_id: int, list_price: int) -> Posting:
    """The transfer of an order that was paid from outside; `list_price` in the minor units of prices.

    An asset that the list of currencies does not have has no number of digits, so it can't be booked: its side of the exchange
    waits until it has. The payment keeps what was said of it.
    """
    currency = currencies.of(money.currency)
    price = Amount(currency.booked(money.amount), currency.code)
    return posting(
        table.SALE,
        About(provider=provider, payment_id=payment_id, order_id=order_id),
        price=price,
        received=price if money.paid_asset in {None, money.currency} else _moved(money.paid_asset, money.paid_amount),
        fee=_moved(money.fee_asset, money.fee_amount) if money.fee_asset else None,
        discount=Amount(currency.booked(list_price - money.amount), currency.code),
    )


def _moved(asset: str | None, amount: str | None) -> Amount:
    known = currencies.ALL.get(asset or "")
    if known is None or amount is None:
        return Amount(0, asset or "")
    return Amount(ledger.minor_units(amount, known.digits), known.code)
