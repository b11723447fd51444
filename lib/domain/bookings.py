"""How money that came is written down: the payment, the order's and the event's state, the entries of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, TypedDict

from lib import currencies
from lib.domain import ledger
from lib.domain.postings import About, Amount, amounts, posting, table

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
    """What a payment is compared with and booked for.

    Attributes:
        value: the price in minor units of the books' currency.
        is_banned: its customer is: its money waits in suspense.
    """

    id: int
    account_id: int
    kind: str
    tariff: str
    period_days: int
    list_price: int
    price: int
    currency: str
    value: int
    status: str
    is_banned: bool = False


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


# What was booked for this event before it was set back to `new`: only what suspense could not take then is left to do.
_DUPLICATE_AGAIN = """
with booked as (
    select id from payments where event_id = :event_id and kind = 'duplicate'
), processed as (
    update payment_events set status = 'duplicate', processed_at = atlas.now(), reason = null
    where id = :event_id and exists (select from booked)
)
select id from booked
"""


def duplicate_again(tx: Transaction, event_id: int) -> int | None:
    """The payment of a further charge that was booked already, whose event is ended once more; None when it has none."""
    payment_id: int | None = tx.value(_DUPLICATE_AGAIN, event_id=event_id)
    return payment_id


_ASSIGN = """
with paid as (
    update orders set status = 'paid', paid_at = atlas.now(), provider_closed_at = atlas.now() where id = :order_id
)
insert into payments (provider, charge_id, kind, order_id, account_id, event_id, amount, currency, paid_asset, paid_amount)
values (:provider, :charge_id, 'settling', :order_id, :account_id, :event_id, :amount, :currency, :paid_asset, :paid_amount)
returning id
"""


def assign(
    tx: Transaction,
    event_id: int,
    *,
    provider: str,
    charge_id: str,
    received: Amount,
    worth: int,
    order: PayableOrder,
) -> int:
    """Write the payment of an order that money from suspense pays, and make it paid. Returns the payment's id.

    The payment is over what the money counts for, in the order's currency; the event goes on saying what came.
    """
    digits = currencies.of(received.currency).digits
    payment_id: int = tx.value(
        _ASSIGN,
        provider=provider,
        charge_id=charge_id,
        order_id=order.id,
        account_id=order.account_id,
        event_id=event_id,
        amount=worth,
        currency=order.currency,
        paid_asset=received.currency,
        paid_amount=format(Decimal(received.minor).scaleb(-digits), "f"),
    )
    return payment_id


def sale(provider: str, money: Money, order: PayableOrder, payment_id: int, *, books: str) -> Posting:
    """The transfer of an order that was paid from outside, by the agreed price or more; `books` is the books' currency.

    An asset that the list of currencies does not have has no number of digits, so it can't be booked: its side of the exchange
    waits until it has. The payment keeps what was said of it.
    """
    currency = currencies.of(order.currency)
    return posting(
        table.SALE,
        _of_payment(provider, order, payment_id),
        price=Amount(currency.booked(order.price), currency.code),
        discount=Amount(currency.booked(order.list_price - order.price), currency.code),
        **_came(money, order, books),
    )


def top_up(provider: str, money: Money, order: PayableOrder, payment_id: int, *, books: str) -> Posting:
    """The transfer of a top-up, by the agreed price or more: the order's value, and what was more, come to the balance."""
    return posting(
        table.TOP_UP,
        _of_payment(provider, order, payment_id),
        value=Amount(order.value, books),
        **_came(money, order, books),
    )


def _of_payment(provider: str, order: PayableOrder, payment_id: int) -> About:
    return About(provider=provider, payment_id=payment_id, order_id=order.id, account_id=order.account_id)


class _Came(TypedDict):
    received: Amount
    rest: Amount | None
    rest_received: Amount | None
    fee: Amount | None


def _came(money: Money, order: PayableOrder, books: str) -> _Came:
    """What came for an order from outside, what of it is for the balance, and what the provider kept."""
    currency = currencies.of(order.currency)
    over = currency.booked(money.amount - order.price)
    moved = _moved(money.paid_asset, money.paid_amount)
    in_asset = money.paid_asset not in {None, money.currency}
    return {
        "received": moved if in_asset else Amount(currency.booked(order.price), currency.code),
        "rest": rest(order, money.amount, books) if over else None,
        "rest_received": (Amount(0, moved.currency) if in_asset else Amount(over, currency.code)) if over else None,
        "fee": _moved(money.fee_asset, money.fee_amount) if money.fee_asset else None,
    }


def credited(order: PayableOrder, amount: int) -> int:
    """What an amount paid for a top-up, in minor units of its price, brings to the balance: floor(amount x value / price)."""
    return amounts.credited(amount, value=order.value, price=order.price)


def assigned_credit(assigned: Assigned, order: PayableOrder, books: str) -> int:
    """What money from suspense brings to the balance for a top-up: in the books' currency itself, else what it is worth."""
    return assigned.received.minor if assigned.received.currency == books else credited(order, assigned.worth)


def rest(order: PayableOrder, amount: int, books: str) -> Amount:
    """What of an amount, in minor units of prices, is beyond the order's price: floor(rest x value / price), for the balance."""
    return Amount(credited(order, max(0, amount - order.price)), books)


@dataclass(frozen=True, slots=True)
class Assigned:
    """Money that leaves suspense for an order.

    Attributes:
        received: all of it, as it lies in suspense.
        worth: in minor units of prices, in the order's currency.
    """

    event_id: int
    received: Amount
    worth: int
    actor_id: int
    reason: str


def assigned_sale(assigned: Assigned, order: PayableOrder, payment_id: int, *, books: str) -> Posting:
    """The transfer of an order that money from suspense pays: short, the shop makes it good; over, the rest goes to the balance."""
    currency = currencies.of(order.currency)
    counted, over = min(assigned.worth, order.price), max(0, assigned.worth - order.price)
    same = assigned.received.currency == currency.code
    counted_booked, over_booked = currency.booked(counted), currency.booked(over)
    beyond = rest(order, assigned.worth, books) if over else None
    received, beyond_received = assigned.received, 0
    if same:
        received, beyond_received = Amount(counted_booked, currency.code), over_booked
    elif beyond and received.currency == books:  # what goes to the balance is of what came, without `exchange`
        received, beyond_received = Amount(received.minor - beyond.minor, books), beyond.minor
    return posting(
        table.SUSPENSE_TO_SALE,
        _of_assigned(assigned, order, payment_id),
        counted=Amount(counted_booked, currency.code),
        received=received,
        missing=Amount(currency.booked(order.price - counted), currency.code) if counted < order.price else None,
        rest=beyond,
        rest_received=Amount(beyond_received, assigned.received.currency) if over else None,
        discount=Amount(currency.booked(order.list_price - order.price), currency.code),
    )


def _of_assigned(assigned: Assigned, order: PayableOrder, payment_id: int) -> About:
    return About(
        event_id=assigned.event_id,
        payment_id=payment_id,
        order_id=order.id,
        account_id=order.account_id,
        actor_id=assigned.actor_id,
        reason=assigned.reason,
    )


def assigned_top_up(assigned: Assigned, order: PayableOrder, payment_id: int, *, books: str) -> Posting:
    """The transfer of a top-up that money from suspense pays: it is credited with what came instead, less or more."""
    return posting(
        table.SUSPENSE_TO_TOP_UP,
        _of_assigned(assigned, order, payment_id),
        counted=Amount(assigned_credit(assigned, order, books), books),
        received=assigned.received,
    )


def suspense(provider: str, money: Money, event_id: int, order_id: int | None = None) -> Posting | None:
    """The transfer of money that fits nothing; None when the list of currencies lacks what came, so that it can't be counted."""
    currency = currencies.ALL.get(money.currency)
    received = _moved(money.paid_asset, money.paid_amount)
    if money.paid_asset in {None, money.currency} and money.paid_amount is None:
        received = Amount(currency.booked(money.amount) if currency else 0, money.currency)
    if not received.minor:
        return None
    return posting(
        table.SUSPENSE,
        About(provider=provider, event_id=event_id, order_id=order_id),
        received=received,
        fee=_moved(money.fee_asset, money.fee_amount) if money.fee_asset else None,
    )


def not_booked(money: Money) -> str:
    """Why what came can't be counted, or nothing: then its side of a sale stays open, and suspense can't take it."""
    asset = money.paid_asset
    if asset in {None, money.currency}:
        return "" if money.currency in currencies.ALL else "not booked: the list of currencies lacks what came"
    if asset not in currencies.ALL:
        return "not booked: the list of currencies lacks what came"
    if money.paid_amount is None:
        return f"not booked: its provider does not say how much {asset} came"
    return "" if _moved(asset, money.paid_amount).minor else f"not booked: less than the least amount of {asset} came"


def _moved(asset: str | None, amount: str | None) -> Amount:
    known = currencies.ALL.get(asset or "")
    if known is None or amount is None:
        return Amount(0, asset or "")
    return Amount(ledger.minor_units(amount, known.digits), known.code)
