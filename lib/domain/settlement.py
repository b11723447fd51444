"""What money is for: an event meets its order, and the order has its effect (product.md#payment-methods).

The webhook, the sweep and the customer's "check" button all bring their news to `inbox.receive` under the same natural key, so
they settle by the same one transaction.
"""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, NamedTuple

from lib.domain import bookings, ledger, suspense
from lib.domain.bookings import Money, PayableOrder
from lib.domain.effects import EFFECTS
from lib.domain.postings import Amount
from lib.domain.suspense import InSuspense

if TYPE_CHECKING:
    from lib.db import Transaction
    from lib.domain import outbox
    from lib.domain.pricelist import PriceList


@dataclass(frozen=True, slots=True)
class Event:
    """News about money, as it came.

    Attributes:
        external_id: natural key at the provider, the same by whichever way the news comes.
        body: raw bytes, kept for ever.
        money: None when the event says of no money that could be booked; `reason` tells why.
        reason: with money, why it pays for no order whatever its amount: it lies in suspense at once.
        kind: charge, refund, chargeback or other; part of the key.
        payer_telegram_id: who paid, where the provider says it.
        concerns_money: False for news in which no money is told of (another kind of update, an invoice that is not paid): it is
            recorded, and alarms no operator.
        charge_id: of a refund or chargeback: the key of the charge whose money went back. `external_id` is the refund's own id at the
            provider, the same by whichever way it is told; `money` what left, and its fee.
    """

    provider: str
    external_id: str
    body: bytes
    via: str
    correlation_id: str
    money: Money | None
    reason: str = ""
    kind: str = "charge"
    concerns_money: bool = True
    payer_telegram_id: int | None = None
    charge_id: str = ""

    @property
    def meaning(self) -> str:
        """What the event says as far as money goes: two bodies of one meaning are the same news (SHA-256, hex)."""
        money = () if self.money is None else astuple(self.money)
        of = (self.charge_id,) if self.charge_id else ()
        said = (self.kind, self.concerns_money, self.reason, *of, *(_normal(value) for value in money))
        return hashlib.sha256(repr(said).encode()).hexdigest()


def _normal(value: object) -> str:
    """1.50 and 1.5 say the same."""
    try:
        return str(Decimal(value).normalize()) if isinstance(value, str) else str(value)
    except InvalidOperation:
        return str(value)


@dataclass(frozen=True, slots=True)
class Received:
    """What became of an event.

    Attributes:
        outcome: settled, duplicate (a second charge on a paid order), unmatched, no_money (nothing to settle, no alarm), repeated
            (known already), differs (its key had its effect, and now something else is said under it: kept, for an operator) or
            kept (settling failed: `task_settle` tries again).
        error: why it is kept; of a top-up, why it renewed no access that waited for it.
    """

    outcome: str
    event_id: int
    order_id: int | None = None
    reason: str = ""
    error: str = ""
    follow_up: tuple[outbox.Item, ...] = ()


# The account's row first, as everywhere, so that grants to one account queue up in one order.
# By the invoice we made; else by our purchase id inside a signed event, whose amount is checked like any other.
_FIND_ORDER = """
select o.id, o.account_id, o.kind, o.tariff, o.period_days, o.list_price, o.price, o.currency, o.value, o.status,
       a.banned_at is not null as is_banned
from accounts a join orders o on o.account_id = a.id
where o.provider = :provider
  and (o.invoice_id = :invoice_id or o.purchase_id = cast(:purchase_id as uuid))
order by o.invoice_id = :invoice_id desc nulls last
limit 1
for no key update of a, o
"""

_GOES_BACK = frozenset({"refund", "chargeback"})

_WITHOUT_EFFECT = """
update payment_events
set status = :status, reason = :reason, processed_at = atlas.now(), order_id = :order_id
where id = :id
"""


def settle(  # noqa: C901, PLR0911 -- one for each of what can have come
    tx: Transaction, event_id: int, event: Event, prices: PriceList, *, is_new: bool = True
) -> Received:
    """Give the event its effect: the order it pays for, or the reason why it pays for none.

    Args:
        tx: whose savepoint undoes everything.
        event_id: its row, which is locked.
        event: what was said.
        prices: of today: what running time is worth.
        is_new: False when something was said under its key before: its money may lie in suspense.

    Raises:
        StatementFailed, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError: nothing was changed that the caller's
            savepoint does not undo.
    """
    if event.kind in _GOES_BACK:
        from lib.domain import refunds  # noqa: PLC0415 -- customers wait for charges, and these are rare

        return refunds.receive(tx, event_id, event, prices)
    money = event.money
    if money is None or event.kind != "charge":
        return _without_effect(tx, event_id, event, event.reason or "given back, as its provider says")
    lying = None if is_new else suspense.lying(tx, event_id)
    if lying is not None and suspense.is_in_part(tx, event_id):
        return _without_effect(tx, event_id, event, "a part of it went back: what is left of it lies in suspense")
    goes_back = lying is not None and _goes_back(tx, event_id)
    charge = _Charge(event_id, event, money, lying, is_new=is_new, goes_back=goes_back)
    order = (
        None
        if event.reason
        else tx.row(
            PayableOrder,
            _FIND_ORDER,
            provider=event.provider,
            invoice_id=money.invoice_id,
            purchase_id=money.purchase_id,
        )
    )
    if order is None:
        return _unmatched(tx, charge, event.reason or "no such order")
    if order.is_banned:
        return _unmatched(tx, charge, "its customer is banned", order.id)
    if order.status == "paid":
        return _duplicate(tx, charge, order, prices)
    effect = EFFECTS.get(order.kind)
    if effect is None:
        return _unmatched(tx, charge, f"{order.kind} is not sold", order.id)
    if money.currency != order.currency or money.amount < order.price:
        return _unmatched(tx, charge, "not the amount agreed", order.id)
    if goes_back:
        return _unmatched(tx, charge, "its refund is under way", order.id)
    if lying is not None:
        suspense.post(tx, suspense.superseded(lying, event_id, event.provider))
    payment_id = _book(tx, charge, order, kind="settling")
    tx.reach("settle.mid-transaction")
    follow_up = effect.deliver(tx, order, payment_id, prices, paid=money.amount, correlation_id=event.correlation_id)
    if not is_new and suspense.late_fee_is_booked(tx, event_id):
        money = _without_fee(money)
    ledger.post(tx, effect.sale(event.provider, money, order, payment_id, books=prices.currency))
    reason = bookings.not_booked(money)
    renewed, error = _renewed(tx, order, prices, event.correlation_id)
    return Received("settled", event_id, order.id, reason=reason, error=error, follow_up=(*follow_up, *renewed))


def _renewed(
    tx: Transaction, order: PayableOrder, prices: PriceList, correlation_id: str
) -> tuple[tuple[outbox.Item, ...], str]:
    """Access that waited for a top-up renews with it: the work that follows, and why it could not be (the sweep tries again)."""
    if order.kind != "top_up":
        return (), ""
    from lib.domain import renewals  # noqa: PLC0415 -- most who pay buy access

    renewed, error = renewals.after_top_up(tx, order.account_id, prices, correlation_id)
    return renewed.follow_up, error


def _without_fee(money: Money) -> Money:
    """The fee of a charge is booked once: it was booked when it was known alone."""
    return replace(money, fee_asset=None, fee_amount=None)


class _Charge(NamedTuple):
    """News that says how much came.

    Attributes:
        lying: what of it is in suspense already.
        goes_back: its provider is asked for a refund of it: until that ends it pays for nothing else.
    """

    event_id: int
    event: Event
    money: Money
    lying: InSuspense | None
    is_new: bool
    goes_back: bool


def _book(tx: Transaction, charge: _Charge, order: PayableOrder, *, kind: str) -> int:
    return bookings.book(
        tx,
        charge.event_id,
        provider=charge.event.provider,
        charge_id=charge.event.external_id,
        money=charge.money,
        order=order,
        kind=kind,
    )


def _duplicate(tx: Transaction, charge: _Charge, order: PayableOrder, prices: PriceList) -> Received:
    """A further charge of a paid order, whatever its amount: in the currency of the books it goes to the balance at once."""
    event_id = charge.event_id
    payment_id = None if charge.is_new else bookings.duplicate_again(tx, event_id)
    if payment_id is None:
        payment_id = _book(tx, charge, order, kind="duplicate")
    held = _put_aside(tx, charge, order.id)
    reason = bookings.not_booked(charge.money)
    if reason:
        tx.execute("update payment_events set reason = :reason where id = :id", reason=reason, id=event_id)
    if charge.goes_back:
        return Received("duplicate", event_id, order.id, reason=reason)
    if charge.money.currency != prices.currency:
        if held is not None and charge.money.currency == order.currency:
            _ask_back(tx, charge, prices)
        return Received("duplicate", event_id, order.id, reason=reason)
    follow_up = suspense.credit_duplicate(
        tx,
        # as in a sale: what can't be counted leaves its side of `exchange` open
        held or InSuspense(Amount(0, charge.money.paid_asset or ""), None),
        order,
        event_id=event_id,
        payment_id=payment_id,
        agreed=charge.money.amount,
        books=prices.currency,
        correlation_id=charge.event.correlation_id,
    )
    return Received("duplicate", event_id, order.id, reason=reason, follow_up=tuple(follow_up))


def _ask_back(tx: Transaction, charge: _Charge, prices: PriceList) -> None:
    """It can't be credited, so its provider gives it back (product.md, Payment methods): the payments sweep sees to it."""
    from lib.domain import refund_requests  # noqa: PLC0415 -- customers wait for charges, and these are rare

    refund_requests.ask(
        tx,
        charge.event_id,
        prices.currency,
        reason="a further charge of an order that was paid",
        correlation_id=charge.event.correlation_id,
    )


def _goes_back(tx: Transaction, event_id: int) -> bool:
    """Whether a refund of the charge is under way."""
    from lib.domain import refund_requests  # noqa: PLC0415 -- as above: asked of money in suspense alone

    return refund_requests.open_request(tx, event_id) is not None


def _unmatched(tx: Transaction, charge: _Charge, reason: str, order_id: int | None = None) -> Received:
    if _put_aside(tx, charge, order_id) is None:
        reason = f"{reason}; {bookings.not_booked(charge.money)}"
    return _without_effect(tx, charge.event_id, charge.event, reason, order_id)


def _put_aside(tx: Transaction, charge: _Charge, order_id: int | None) -> InSuspense | None:
    """What is in suspense now: what was said last, which takes the place of what was said before."""
    # a fee that was booked by itself stays; what is said of it again is not booked twice
    known = not charge.is_new and suspense.late_fee_is_booked(tx, charge.event_id)
    money = _without_fee(charge.money) if known else charge.money
    posting = bookings.suspense(charge.event.provider, money, charge.event_id, order_id)
    held = None if posting is None else suspense.of(posting)
    if held == charge.lying:
        return held
    if charge.lying is not None:
        suspense.post(tx, suspense.superseded(charge.lying, charge.event_id, charge.event.provider))
    if posting is not None:
        suspense.post(tx, posting)
    return held


def _without_effect(tx: Transaction, event_id: int, event: Event, reason: str, order_id: int | None = None) -> Received:
    outcome = "unmatched" if event.concerns_money else "no_money"
    tx.execute(_WITHOUT_EFFECT, id=event_id, status=outcome, reason=reason, order_id=order_id)
    return Received(outcome, event_id, order_id, reason=reason)


__all__ = ["Event", "Money", "Received", "settle"]
