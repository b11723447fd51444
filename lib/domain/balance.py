"""Paying from the balance: order, payment, access, books, receipt and the work that follows, in one transaction (product.md#balance-and-top-up)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lib import currencies
from lib.domain import ledger, orders
from lib.domain.bookings import PayableOrder
from lib.domain.effects import EFFECTS
from lib.domain.postings import About, Amount, posting, table

if TYPE_CHECKING:
    from collections.abc import Collection

    from lib.db import Transaction
    from lib.domain.ledger import Wallets
    from lib.domain.orders import Order, Replaced
    from lib.domain.outbox import Item
    from lib.domain.pricelist import PriceList
    from lib.domain.pricing import Quote

PROVIDER = "balance"

# A customer who never had any money has no wallets yet.
_HELD = """
select cast(coalesce(sum(balance - held) filter (where code = 'user:topped_up'), 0) as bigint) as topped_up,
       cast(coalesce(sum(balance) filter (where code = 'user:earned'), 0) as bigint) as earned
from ledger_accounts where coalesce(account_id, 0) = :account_id
"""

_HELD_BY_SEVERAL = """
select account_id, cast(sum(case when code = 'user:topped_up' then balance - held else balance end) as bigint) as total
from ledger_accounts where coalesce(account_id, 0) = any(cast(:account_ids as bigint[]))
group by account_id
"""

# Read by a statement of its own: the one that waited for the lock would still see what was there before it.
_BOUGHT_BEFORE = "select order_id from payments where provider = 'balance' and charge_id = :key"

# No news tells of it: the customer's own tap, or the renewal that is due, is the event, and its key is the charge.
_BOOK = """
with payment as (
    insert into payments (provider, charge_id, kind, order_id, account_id, amount, currency)
    select provider, :key, 'settling', id, account_id, price, currency from orders where id = :order_id
    returning id, order_id
), paid as (
    update orders o set status = 'paid', paid_at = atlas.now(), provider_closed_at = atlas.now()
    from payment where o.id = payment.order_id
)
select id from payment
"""


@dataclass(frozen=True, slots=True)
class Purchase:
    """What is bought.

    Attributes:
        key: makes it one purchase, however often it is asked for: of the dialogue's step, of the end that a renewal is for.
        quote: what it was shown to cost, in the currency of the books.
        renews: it happens by itself, of access that runs and is about to end (lib/domain/renewals.py).
    """

    account_id: int
    key: str
    tariff: str
    period_days: int
    quote: Quote
    renews: bool = False


@dataclass(frozen=True, slots=True)
class Bought:
    """What became of it.

    Attributes:
        already: it had been bought under this key before; nothing was changed now.
        replaced: an open order that made way, whose invoice is to be withdrawn, best effort.
    """

    order: Order
    already: bool
    replaced: tuple[Replaced, ...] = ()
    follow_up: tuple[Item, ...] = ()


def of(tx: Transaction, account_id: int) -> Wallets:
    """What can be spent of the balance now, for a screen: it may move before anything is paid from it."""
    return tx.one(ledger.Wallets, _HELD, account_id=account_id)


@dataclass(frozen=True, slots=True)
class _Total:
    account_id: int
    total: int


def of_several(tx: Transaction, account_ids: Collection[int]) -> dict[int, int]:
    """What each of these customers can spend now, in minor units; who never had any money is left out."""
    return {
        one.account_id: one.total for one in tx.rows(_Total, _HELD_BY_SEVERAL, account_ids=sorted(set(account_ids)))
    }


def buy(tx: Transaction, purchase: Purchase, prices: PriceList, correlation_id: str) -> Bought:
    """Buy access from the balance: what was topped up is spent first.

    Args:
        tx: whose savepoint undoes everything when this raises.
        purchase: what, by whom.
        prices: of today: what running time is worth, how long an order stays open.
        correlation_id: of the update or sweep.

    Raises:
        BalanceTooLow: there is less on the balance than the price.
        UnknownTariff: what running time is worth is not known.
        ValueError: a price in another currency, or of nothing.
    """
    quote = purchase.quote
    if quote.currency != prices.currency or quote.price <= 0:
        raise ValueError("only a price above zero in the currency of the books is paid from the balance")
    tx.reach("balance.before-claim")
    tx.execute("select id from accounts where id = :id for no key update", id=purchase.account_id)
    tx.reach("balance.after-claim")
    if (known := tx.value(_BOUGHT_BEFORE, key=purchase.key)) is not None:
        if (order := orders.of_account(tx, purchase.account_id, known)) is None:
            raise ValueError(f"{purchase.key} is another customer's purchase")
        return Bought(order, already=True)
    opened, replaced = orders.open_without_invoice(
        tx,
        purchase.account_id,
        tariff=purchase.tariff,
        period_days=purchase.period_days,
        quote=quote,
        provider=PROVIDER,
        minutes=prices.order_minutes,
    )
    payable = _payable(opened, purchase)
    payment_id = tx.value(_BOOK, key=purchase.key, order_id=opened.id)
    tx.reach("balance.mid-transaction")
    follow_up = EFFECTS[opened.kind].deliver(
        tx,
        payable,
        payment_id,
        prices,
        paid=opened.price,
        correlation_id=correlation_id,
        source="renewal" if purchase.renews else "payment",
    )
    _spend(tx, payable, payment_id)
    return Bought(replace(opened, status="paid"), already=False, replaced=replaced, follow_up=tuple(follow_up))


def _payable(order: Order, purchase: Purchase) -> PayableOrder:
    return PayableOrder(
        id=order.id,
        account_id=order.account_id,
        kind=order.kind,
        tariff=purchase.tariff,
        period_days=purchase.period_days,
        list_price=purchase.quote.list_price,
        price=order.price,
        currency=order.currency,
        value=order.value,
        status=order.status,
    )


def _spend(tx: Transaction, order: PayableOrder, payment_id: int) -> None:
    currency = currencies.of(order.currency)
    spent = ledger.lock_wallets(tx, order.account_id)[order.account_id].spent(currency.booked(order.price))
    sale = posting(
        table.SALE_FROM_BALANCE,
        About(payment_id=payment_id, order_id=order.id, account_id=order.account_id),
        topped_up=Amount(spent.topped_up, currency.code),
        earned=Amount(spent.earned, currency.code),
        discount=Amount(currency.booked(order.list_price - order.price), currency.code),
    )
    ledger.post(tx, sale)
