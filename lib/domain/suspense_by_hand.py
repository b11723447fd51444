"""How an operator ends what lies in suspense (money.md, Postings): each way is one transaction, once, with its row in the audit log.

No customer's path loads this module.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lib import currencies
from lib.domain import audit, bookings, ledger, operators, refund_requests, refunds, suspense
from lib.domain.bookings import Assigned, PayableOrder
from lib.domain.effects import EFFECTS
from lib.domain.postings import About, Amount, posting, table

if TYPE_CHECKING:
    from collections.abc import Collection
    from decimal import Decimal

    from lib.db import Transaction
    from lib.domain import outbox
    from lib.domain.pricelist import PriceList
    from lib.domain.suspense import InSuspense

_MAY = operators.MAY[operators.Action.END_SUSPENSE]


@dataclass(frozen=True, slots=True)
class Left:
    """What a line of the provider's list says left its account.

    Attributes:
        external_id: of the line, at the provider.
    """

    external_id: str
    amount: Amount


class Why(StrEnum):
    """Why it is refused; the end of its text's name on a screen."""

    NOT_ALLOWED = "not-allowed"
    NO_EVENT = "no-event"
    ENDED = "ended"
    NOTHING_LIES = "nothing-lies"
    HAS_MONEY = "has-money"
    DUPLICATE = "duplicate"
    NO_ORDER = "no-order"
    ORDER_PAID = "order-paid"
    NOT_SOLD = "not-sold"
    BANNED = "banned"
    BEYOND = "beyond"
    NO_ACCOUNT = "no-account"
    NO_AMOUNT = "no-amount"
    ALL_OR_NOTHING = "all-or-nothing"
    WORTH = "worth"
    NOTHING_LEFT = "nothing-left"
    FEE_CURRENCY = "fee-currency"
    FEE_BEYOND = "fee-beyond"
    OTHER = "other"


class Refused(Exception):
    """Nothing was changed; the text says why, and to whom it was too late what came of the money before."""

    def __init__(self, text: str, why: Why = Why.OTHER) -> None:
        super().__init__(text)
        self.why = why


@dataclass(frozen=True, slots=True)
class By:
    """Who does it.

    Attributes:
        actor_id: the operator, by Telegram id.
        owners: Telegram ids of those who may do everything (`ADMIN_IDS`).
        reason: in their words.
        correlation_id: of the update or command.
    """

    actor_id: int
    owners: Collection[int]
    reason: str
    correlation_id: str


@dataclass(frozen=True, slots=True)
class _Event:
    id: int
    provider: str
    external_id: str
    status: str
    amount: Decimal | None
    currency: str | None
    order_id: int | None
    resolution: str | None


_LOCK = """
select id, provider, external_id, status, amount, currency, order_id, resolution
from payment_events where id = :id for no key update
"""
_LOCK_ACCOUNT = "select id from accounts where id = :id for no key update"
# The account first, as in every settlement.
_LOCK_ORDER = """
select o.id, o.account_id, o.kind, o.tariff, o.period_days, o.list_price, o.price, o.currency, o.value, o.status,
       a.banned_at is not null as is_banned
from accounts a join orders o on o.account_id = a.id
where o.id = :id
for no key update of a, o
"""


def assign(
    tx: Transaction, event_id: int, order_id: int, by: By, prices: PriceList, *, worth: int | None = None
) -> list[outbox.Item]:
    """The money pays for an order that is not paid, as if it had fitted; the work to enqueue.

    Args:
        tx: of its own.
        event_id: whose money it is.
        order_id: short of its price, the shop makes it good; what is over goes to its customer's balance.
        by: who does it, and why.
        prices: of today: what running time is worth, and the currency of the books.
        worth: what it counts for, in minor units of prices in the order's currency: needed where neither what came nor what the
            provider said of it is in that currency, refused where it is.

    Raises:
        Refused: not allowed, not in suspense, no such order, or one that can't be paid by it.
    """
    event, held = _take(tx, event_id, by, "assigned")
    if event.status == "duplicate":
        raise Refused(
            f"event {event_id} is a further charge of order {event.order_id}: credit it or give it back", Why.DUPLICATE
        )
    order = tx.row(PayableOrder, _LOCK_ORDER, id=order_id)
    if order is None:
        raise Refused(f"there is no order {order_id}", Why.NO_ORDER)
    if order.is_banned:
        raise Refused(f"the customer of order {order_id} is banned", Why.BANNED)
    effect = EFFECTS.get(order.kind)
    if order.status == "paid" or effect is None:
        why = Why.ORDER_PAID if effect else Why.NOT_SOLD
        raise Refused(f"order {order_id} {'is paid' if effect else f'is a {order.kind}, which is not sold'}", why)
    counted = _counted(event, held, order.currency, worth)
    beyond = bookings.rest(order, counted, prices.currency)
    if held.received.currency == beyond.currency and beyond.minor > held.received.minor:
        raise Refused(
            f"{_said(held)} came: {currencies.of(beyond.currency).said(beyond.minor)} beyond the price is more than that",
            Why.BEYOND,
        )
    payment_id = bookings.assign(
        tx,
        event_id,
        provider=event.provider,
        charge_id=event.external_id,
        received=held.received,
        worth=counted,
        order=order,
    )
    assigned = Assigned(event_id, held.received, counted, by.actor_id, by.reason)
    follow_up = effect.deliver(
        tx,
        order,
        payment_id,
        prices,
        paid=counted,
        correlation_id=by.correlation_id,
        credited=bookings.assigned_credit(assigned, order, prices.currency),
    )
    suspense.post(tx, effect.assigned(assigned, order, payment_id, books=prices.currency))
    _record(tx, event, by, "assigned", {"order_id": order_id, "worth": counted, "currency": order.currency})
    return follow_up


def credit(
    tx: Transaction, event_id: int, account_id: int, by: By, books: str, *, worth: int | None = None
) -> list[outbox.Item]:
    """The money goes to a customer's balance, who is told; the work to enqueue.

    Args:
        tx: of its own.
        event_id: whose money it is.
        account_id: the customer's.
        by: who does it, and why.
        books: the books' currency.
        worth: as in `assign`, in the books' currency.

    Raises:
        Refused: not allowed, not in suspense, or no such account.
    """
    event, held = _take(tx, event_id, by, "credited")
    if tx.value(_LOCK_ACCOUNT, id=account_id) is None:
        raise Refused(f"there is no account {account_id}", Why.NO_ACCOUNT)
    counted = Amount(currencies.of(books).booked(_counted(event, held, books, worth)), books)
    suspense.post(
        tx,
        posting(
            table.SUSPENSE_CREDITED,
            About(event_id=event_id, account_id=account_id, actor_id=by.actor_id, reason=by.reason),
            received=held.received,
            counted=counted,
        ),
    )
    follow_up = suspense.tell_credited(tx, account_id, event_id, counted, by.correlation_id)
    _record(tx, event, by, "credited", {"account_id": account_id, "amount": counted.minor, "currency": books})
    return follow_up


def given_back(tx: Transaction, event_id: int, by: By) -> None:
    """The provider has given it back to who paid.

    Raises:
        Refused: not allowed, or not in suspense.
    """
    event, held = _take(tx, event_id, by, "refunded")
    about = About(event_id=event_id, provider=event.provider, actor_id=by.actor_id, reason=by.reason)
    suspense.post(tx, posting(table.SUSPENSE_GIVEN_BACK, about, received=held.received))
    refunds.write_left(tx, event_id, made_by=by.actor_id, reason=by.reason)
    _record(tx, event, by, "given_back", {"amount": held.received.minor, "currency": held.received.currency})


_NOTE = """
update payment_events set resolved_at = atlas.now(), resolution = 'no_money' where id = :id
"""


def noted(tx: Transaction, event_id: int, by: By) -> None:
    """News without any money was looked into: it waits no more. What is told of its key later has its effect all the same.

    Raises:
        Refused: not allowed, no such event, ended before, or money came with it.
    """
    event = _locked(tx, event_id, by)
    if event.status != "unmatched" or event.amount is not None or suspense.lying(tx, event_id) is not None:
        raise Refused(
            f"event {event_id} is {event.status}, and tells of money: it ends where its money goes", Why.HAS_MONEY
        )
    tx.execute(_NOTE, id=event_id)
    _record(tx, event, by, "noted", {"resolution": "no_money"})


def paid_out(tx: Transaction, event_id: int, by: By, left: Left, arrived: Amount) -> None:
    """A withdrawal that the provider's list tells of arrived in the bank.

    Args:
        tx: of its own.
        event_id: the news of it.
        by: who does it, and why.
        left: what the provider says.
        arrived: what came to the bank, in minor units of the books; in the currency that left it is no more than that, and the rest
            was kept.

    Raises:
        Refused: not allowed, ended before, money for a customer, or not an amount that it can have been.
    """
    event = _moved(tx, event_id, by)
    kept = left.amount.minor - arrived.minor if arrived.currency == left.amount.currency else 0
    if arrived.minor <= 0 or kept < 0:
        raise Refused("what arrived is above zero, and in one currency no more than what left", Why.NO_AMOUNT)
    settled = replace(left.amount, minor=left.amount.minor - kept)
    ledger.post(
        tx,
        posting(
            table.PAYOUT,
            About(
                provider=event.provider,
                external_id=left.external_id,
                event_id=event_id,
                actor_id=by.actor_id,
                reason=by.reason,
            ),
            settled=settled,
            arrived=arrived,
            fee=replace(left.amount, minor=kept) if kept else None,
        ),
    )
    _record(tx, event, by, "paid_out", {"amount": arrived.minor, "currency": arrived.currency})


def taken_by_owner(tx: Transaction, event_id: int, by: By, left: Left) -> None:
    """What the provider's list says left was the owner's own doing, and none of the shop's.

    Raises:
        Refused: not allowed, ended before, or money for a customer.
    """
    event = _moved(tx, event_id, by)
    about = About(
        provider=event.provider,
        operation=left.external_id,
        event_id=event_id,
        actor_id=by.actor_id,
        reason=by.reason,
    )
    ledger.post(tx, posting(table.OWNER_TAKES_FROM_PROVIDER, about, moved=left.amount))
    _record(tx, event, by, "taken_by_owner", {"amount": left.amount.minor, "currency": left.amount.currency})


def _moved(tx: Transaction, event_id: int, by: By) -> _Event:
    """News of money that left by itself, which is resolved by this."""
    event = _locked(tx, event_id, by)
    if event.status != "unmatched" or event.amount is not None or suspense.lying(tx, event_id) is not None:
        raise Refused(f"event {event_id} is {event.status}, and tells of a customer's money", Why.HAS_MONEY)
    tx.execute(suspense.RESOLVE, id=event_id, resolution="moved")
    return event


def paid_back(tx: Transaction, event_id: int, by: By, paid: Amount, fee: Amount | None = None) -> None:
    """It was given back by hand from the bank.

    Args:
        tx: of its own.
        event_id: whose money it is.
        by: who does it, and why.
        paid: what left the bank for it, in minor units of the books; in the currency that came it is all of it.
        fee: what the bank took beside it: never more than was paid, or a digit was typed too many.

    Raises:
        Refused: not allowed, not in suspense, or not an amount that it can have been.
    """
    event, held = _take(tx, event_id, by, "refunded")
    if paid.minor <= 0 or (fee is not None and fee.minor <= 0):
        raise Refused("an amount is above zero", Why.NO_AMOUNT)
    if fee is not None and fee.currency != paid.currency:
        raise Refused(f"FEE is said in {paid.currency}, as PAID is", Why.FEE_CURRENCY)
    if fee is not None and fee.minor > paid.minor:
        raise Refused("FEE is more than PAID: no bank takes that", Why.FEE_BEYOND)
    if paid.currency == held.received.currency and paid.minor != held.received.minor:
        raise Refused(
            f"{_said(held)} lie in suspense: all of it is given back, or nothing",
            Why.ALL_OR_NOTHING,
        )
    about = About(event_id=event_id, actor_id=by.actor_id, reason=by.reason)
    suspense.post(tx, posting(table.SUSPENSE_PAID_BACK, about, received=held.received, paid=paid, fee=fee))
    _record(tx, event, by, "paid_back", {"amount": paid.minor, "currency": paid.currency})


def _take(tx: Transaction, event_id: int, by: By, resolution: str) -> tuple[_Event, InSuspense]:
    """The event, which is resolved by this: two operators at once queue up here, and the second is told."""
    event = _locked(tx, event_id, by)
    if refund_requests.open_request(tx, event_id) is not None:
        raise Refused(f"the refund of event {event_id} is under way")
    held = suspense.lying(tx, event_id)
    if held is None:
        raise Refused(f"nothing of event {event_id} lies in suspense: it is {event.status}", Why.NOTHING_LIES)
    tx.execute(suspense.RESOLVE, id=event_id, resolution=resolution)
    return event, held


def _locked(tx: Transaction, event_id: int, by: By) -> _Event:
    """The event, which no one has ended yet: two operators at once queue up here."""
    if not operators.roles(tx, by.actor_id, by.owners) & _MAY:
        raise Refused(f"{by.actor_id} may not: neither in ADMIN_IDS nor with the role finance", Why.NOT_ALLOWED)
    event = tx.row(_Event, _LOCK, id=event_id)
    if event is None:
        raise Refused(f"there is no event {event_id}", Why.NO_EVENT)
    if event.resolution is not None:
        raise Refused(f"event {event_id} was {event.resolution} before", Why.ENDED)
    return event


def _counted(event: _Event, held: InSuspense, currency: str, worth: int | None) -> int:
    """What it counts for, in minor units of prices: what came, else what the provider said of it, else what an operator says."""
    known = currencies.of(currency)
    came = None
    if held.received.currency == currency:
        came, left = divmod(held.received.minor, known.booked(1))
        if left:
            raise Refused(f"{_said(held)} is no whole number of what {currency} is priced in", Why.WORTH)
    elif event.currency == currency and event.amount is not None:
        came = int(event.amount)
    if came is not None and worth is not None and worth != came:
        raise Refused(f"it counts for {known.decimal(came)} {currency}, as it came", Why.WORTH)
    counted = came if came is not None else worth
    if counted is None or counted <= 0:
        raise Refused(f"say what {_said(held)} count for in {currency}", Why.WORTH)
    return counted


def _said(held: InSuspense) -> str:
    return currencies.of(held.received.currency).said(held.received.minor)


def _record(tx: Transaction, event: _Event, by: By, how: str, facts: dict[str, Any]) -> None:
    audit.record(
        tx,
        by.actor_id,
        f"suspense.{how}",
        audit.Subject("payment_event", str(event.id)),
        before={"status": event.status, "order_id": event.order_id},
        after=facts | {"reason": by.reason},
        correlation_id=by.correlation_id,
    )
