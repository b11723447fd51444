"""Money that goes back: refunds of ours, refunds and chargebacks that a provider tells of (product.md; money.md, Postings).

What went back is a row of `refunds`, written with its transfer in one transaction. A refund that a provider is to make is asked for
first (`refund_requests`); what the provider then says is news like any other. By an operator: `refunds_by_hand`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lib import currencies
from lib.domain import charges, ledger, messages, outbox, receipts, refund_requests, reversal, suspense
from lib.domain.charges import SaleParts
from lib.domain.postings import About, Amount, posting, table
from lib.domain.postings.amounts import HadBack, had_back
from lib.domain.settlement import Received

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from lib.db import Transaction
    from lib.domain.bookings import PayableOrder
    from lib.domain.charges import Paid, Part
    from lib.domain.pricelist import PriceList
    from lib.domain.refund_requests import Request
    from lib.domain.settlement import Event, Money

WAITS = "its charge is not known yet"
_TOLD_BEFORE = "told before, under another kind"
BOOKED_BEFORE = "booked before it was told"
_SECOND = "a second debit of its charge"


# The charge's news first: whatever is done about one charge queues up here, as its settlement does.
_LOCK_CHARGE = """
select id from payment_events
where provider = :provider and kind = 'charge' and external_id = :charge_id and status <> 'new'
for no key update
"""

# What is booked of a charge at its provider beside parts, and what of that was told: an operator may have booked it before. Two news
# of one refund id, of different kinds, are one.
_DEBITS = """
select exists (select from refunds r
               where r.charge_event_id = :event_id and r.route = 'provider' and r.part_of_charge is null) as is_over,
       exists (select from refunds r where r.charge_event_id = :event_id and r.route = 'provider' and r.part_of_charge is null
               and r.event_id is null) as by_operator,
       (select coalesce(sum(n.amount), 0) from payment_events n
        where n.provider = :provider and n.charge_id = :charge_id and n.status = 'settled' and n.reason = :booked_before) as told,
       (select coalesce(sum(r.part_of_charge), 0) from refunds r where r.charge_event_id = :event_id) as in_parts,
       exists (select from payment_events n
               where n.provider = :provider and n.charge_id = :charge_id and n.status = 'settled'
                 and n.external_id = :external_id) as same_told
"""


@dataclass(frozen=True, slots=True)
class _Debits:
    is_over: bool
    by_operator: bool
    told: Decimal
    in_parts: Decimal
    same_told: bool

    def untold(self, paid: Paid) -> int:
        """What an operator booked and no news has told, in minor units of what was charged."""
        return max(0, paid.charged - int(self.in_parts) - int(self.told)) if self.by_operator else 0


_END_EVENT = """
update payment_events set status = :status, reason = :reason, processed_at = atlas.now(), order_id = :order_id where id = :id
"""


def receive(tx: Transaction, event_id: int, event: Event, prices: PriceList) -> Received:
    """Give news of a refund or chargeback its effect, in the transaction and savepoint of `inbox.receive`.

    What leaves is booked as far as the charge goes: all of it, or a part, which is a share of everything that the charge was booked
    as. What an operator or our own request booked before is not booked again. What is more than the charge is lost. News whose charge
    is not known yet waits for it (`wake`).
    """
    money = event.money
    if money is None:
        status = "unmatched" if event.concerns_money else "no_money"
        return _end(tx, event_id, status, event.reason)
    charge_event_id = tx.value(_LOCK_CHARGE, provider=event.provider, charge_id=event.charge_id)
    if event.reason or charge_event_id is None:
        return _end(tx, event_id, "unmatched", event.reason or WAITS)
    paid = charges.find(tx, event_id=charge_event_id)
    assert paid is not None  # noqa: S101 -- locked
    debits = tx.one(
        _Debits,
        _DEBITS,
        event_id=charge_event_id,
        provider=event.provider,
        charge_id=event.charge_id,
        external_id=event.external_id,
        booked_before=BOOKED_BEFORE,
    )
    if debits.same_told:
        return replace(_end(tx, event_id, "settled", _TOLD_BEFORE, paid.order_id), reason="")
    if debits.is_over or charges.left_by_another_way(tx, paid):
        return _of_what_went_back(tx, event_id, event, money, paid, untold=debits.untold(paid))
    return _of_what_is_there(tx, event_id, event, money, paid=paid, prices=prices)


def _of_what_went_back(
    tx: Transaction, event_id: int, event: Event, money: Money, paid: Paid, *, untold: int
) -> Received:
    """Nothing of the charge is left: it is what an operator booked, and else lost."""
    known = min(money.amount, untold) if money.currency == paid.charged_currency else 0
    assert paid.event_id is not None  # noqa: S101 -- a charge
    if not known:
        _lose(tx, event_id, money, paid, fee=_amount_of(money.fee_asset, money.fee_amount))
        if (request := refund_requests.open_request(tx, paid.event_id)) is not None:
            refund_requests.end_request(tx, request, "refused", "the money had left by another way")
        return _end(tx, event_id, "settled", _SECOND, paid.order_id)
    _late_fee(tx, event_id, event, money, paid.event_id)
    if money.amount > known:
        _lose(tx, event_id, replace(money, amount=money.amount - known), paid)
    return replace(_end(tx, event_id, "settled", BOOKED_BEFORE, paid.order_id), reason="")


def _of_what_is_there(
    tx: Transaction, event_id: int, event: Event, money: Money, *, paid: Paid, prices: PriceList
) -> Received:
    """The charge goes back, or a part of it; what left beyond it is lost."""
    assert paid.event_id is not None  # noqa: S101 -- a charge
    if money.currency != paid.charged_currency:
        return _end(tx, event_id, "unmatched", "not in the currency of its charge", paid.order_id)
    if _is_broken(money):
        return _end(tx, event_id, "unmatched", "no whole number of what its charge was in", paid.order_id)
    request = refund_requests.open_request(tx, paid.event_id)
    part = charges.part(tx, paid, money.amount)
    refund = _told(event_id, event, money, paid=paid, request=request, part=part)
    follow_up = debit(tx, paid, refund, request, part=part, prices=prices, correlation_id=event.correlation_id)
    if follow_up is None:
        return _end(tx, event_id, "unmatched", "what came for its charge is not in the books", paid.order_id)
    if (beyond := money.amount - (part.ends - part.begins)) > 0:
        _lose(tx, event_id, replace(money, amount=beyond), paid)
    return replace(_end(tx, event_id, "settled", None, paid.order_id), follow_up=tuple(follow_up))


def _end(tx: Transaction, event_id: int, status: str, reason: str | None, order_id: int | None = None) -> Received:
    tx.execute(_END_EVENT, id=event_id, status=status, reason=reason, order_id=order_id)
    return Received(status, event_id, order_id, reason=reason or "")


def _is_broken(money: Money) -> bool:
    """Its exact amount has digits that prices do not have."""
    exact = _amount_of(money.paid_asset, money.paid_amount)
    return (
        exact is not None
        and exact.currency == money.currency
        and exact.minor != currencies.of(money.currency).booked(money.amount)
    )


def _lose(tx: Transaction, event_id: int, money: Money, paid: Paid, *, fee: Amount | None = None) -> None:
    """What left again is lost, in the asset that came."""
    exact = _amount_of(money.paid_asset, money.paid_amount)
    came = charges.came(tx, paid)
    if exact is None or exact.currency != money.currency:
        exact = Amount(currencies.of(money.currency).booked(money.amount), money.currency)
    if came.currency != money.currency and money.currency == paid.charged_currency and came.minor > 0:
        exact = Amount(max(1, came.minor * money.amount // max(1, paid.charged)), came.currency)
    lost = posting(table.SECOND_DEBIT, About(provider=paid.provider, event_id=event_id), lost=exact, fee=fee)
    ledger.post(tx, lost)


_BY_OPERATOR = """
select r.id, r.payment_id, p.order_id from refunds r left join payments p on p.id = r.payment_id
where r.charge_event_id = :event_id and r.route = 'provider' and r.event_id is null
"""


@dataclass(frozen=True, slots=True)
class _Row:
    """`payment_id` and `order_id` are None of money that fitted no order."""

    id: int
    payment_id: int | None
    order_id: int | None


def _late_fee(tx: Transaction, event_id: int, event: Event, money: Money, charge_event_id: int) -> None:
    """What its provider kept for a debit that an operator booked is known only with its news; its charge is locked."""
    fee = _amount_of(money.fee_asset, money.fee_amount)
    booked = tx.row(_Row, _BY_OPERATOR, event_id=charge_event_id)
    if fee is None or not fee.minor or booked is None:
        return
    if tx.value(_FEE_IS_KNOWN, id=booked.id):  # it was told in parts, and each may cost
        ledger.post(tx, posting(table.FEE, About(provider=event.provider, event_id=event_id), fee=fee))
    else:
        _keep_fee(tx, fee, event.provider, booked)


_FEE_IS_KNOWN = "select exists (select from ledger_transfers where key = 'fee:refund:' || cast(:id as text))"


def _keep_fee(tx: Transaction, fee: Amount, provider: str, refund: _Row) -> None:
    about = About(provider=provider, refund_id=refund.id, payment_id=refund.payment_id, order_id=refund.order_id)
    ledger.post(tx, posting(table.REFUND_FEE, about, fee=fee))


_REFUND = """
insert into refunds (payment_id, charge_event_id, kind, provider, external_id, route, amount, currency, fee_asset, fee_amount,
                     event_id, reverses_access, made_by, reason, part_of_charge)
values (:payment_id, :charge_event_id, :kind, :provider, :external_id, :route, :amount, :currency, :fee_asset, :fee_amount,
        :event_id, :reverses_access, :made_by, :reason, :part_of_charge)
returning id
"""


@dataclass(frozen=True, slots=True)
class Refund:
    """What went back, for its row.

    Attributes:
        amount: minor units of prices, in the payment's currency.
        event_id: the news that told of it.
        part_of_charge: what of the charge it is, in minor units of what was charged, where some of it stays; the last part has none.
    """

    kind: str
    provider: str
    external_id: str
    route: str
    amount: int
    reverses_access: bool = False
    made_by: int | None = None
    reason: str | None = None
    event_id: int | None = None
    fee_asset: str | None = None
    fee_amount: str | None = None
    part_of_charge: int | None = None


def write(tx: Transaction, paid: Paid, refund: Refund) -> int:
    """The row, whose id its transfer names; the payment's receipt is annulled, once nothing of it stays.

    Raises:
        StatementFailed: it went back by this way before (`refunds_once_per_payment`, `refunds_once_per_charge`).
    """
    refund_id: int = tx.value(
        _REFUND,
        payment_id=paid.payment_id,
        charge_event_id=paid.event_id,
        kind=refund.kind,
        provider=refund.provider,
        external_id=refund.external_id,
        route=refund.route,
        amount=refund.amount,
        currency=paid.currency,
        fee_asset=refund.fee_asset,
        fee_amount=refund.fee_amount,
        event_id=refund.event_id,
        reverses_access=refund.reverses_access,
        made_by=refund.made_by,
        reason=refund.reason,
        part_of_charge=refund.part_of_charge,
    )
    if paid.payment_id is not None and refund.part_of_charge is None:
        receipts.annul(tx, paid.payment_id, refund_id)
    return refund_id


def write_left(tx: Transaction, event_id: int, *, made_by: int, reason: str) -> None:
    """The row of money in suspense that its provider gave back, as an operator says: the first debit listed of it is this one."""
    paid = charges.find(tx, event_id=event_id)
    if paid is not None and paid.amount > 0:
        amount = agreed(paid, charges.part(tx, paid))
        left = Refund("refund", paid.provider, f"event:{event_id}", "provider", amount, made_by=made_by, reason=reason)
        write(tx, paid, left)


def agreed(paid: Paid, part: Part) -> int:
    """What of an amount that was agreed a part of its charge is, in minor units of prices: at least the least amount."""
    earlier = max(1, paid.charged) - part.whole  # what left while it lay in suspense
    begins, ends = (paid.amount * (earlier + one) // max(1, paid.charged) for one in (part.begins, part.ends))
    return max(1, ends - begins)


def about(paid: Paid, refund: Refund, refund_id: int, account_id: int | None) -> About:
    """What the transfer of a refund names."""
    return About(
        provider=refund.provider,
        external_id=refund.external_id,
        refund_id=refund_id,
        payment_id=paid.payment_id,
        order_id=paid.order_id if paid.payment_id is not None else None,
        account_id=account_id,
        actor_id=refund.made_by,
        reason=refund.reason,
    )


def _told(event_id: int, event: Event, money: Money, *, paid: Paid, request: Request | None, part: Part) -> Refund:
    return Refund(
        # a list may not tell what we asked for from what was taken by force
        kind="refund" if request is not None and request.status == "sent" else event.kind,
        provider=event.provider,
        external_id=event.external_id,
        route="provider",
        amount=agreed(paid, part),
        reverses_access=request is not None and request.reverses_access and part.is_last,
        made_by=request.made_by if request else None,
        reason=request.reason if request else None,
        event_id=event_id,
        fee_asset=money.fee_asset if money.fee_amount else None,
        fee_amount=money.fee_amount if money.fee_asset else None,
        part_of_charge=None if part.is_last else part.ends - part.begins,
    )


def debit(
    tx: Transaction,
    paid: Paid,
    refund: Refund,
    request: Request | None,
    *,
    part: Part,
    prices: PriceList,
    correlation_id: str,
) -> list[outbox.Item] | None:
    """Book what the provider took of a charge, or gave back: all that is left of it, or a part, leaves its account.

    Returns:
        The work to enqueue; None when the books do not have what came.
    """
    order = charges.lock(tx, paid)
    lying = None if paid.event_id is None else suspense.lying(tx, paid.event_id)
    if lying is None and paid.payment_id is None and paid.resolution != "credited":
        return None
    refund_id = write(tx, paid, refund)
    tx.reach("refund.mid-transaction")
    taken = take_access(tx, paid, refund, refund_id, prices=prices, correlation_id=correlation_id)
    follow_up = taken.follow_up if taken else []
    if refund.kind == "refund":
        follow_up = follow_up + tell(
            tx, paid, refund, refund_id, correlation_id=correlation_id, until=taken.ends if taken else None
        )
    if request is not None and part.is_last:
        refund_requests.end_request(tx, request, "done")
    elif request is not None:
        refund_requests.end_request(
            tx, request, "refused", "a part of it went back: the rest goes back at its provider"
        )
    if lying is not None and paid.event_id is not None:
        _leave_suspense(tx, paid, refund, refund_id, part=part, lying=lying.received)
    else:
        ours = request is not None and refund.kind == "refund"  # it may be taken by force before it is asked for
        _post_debit(tx, paid, refund, refund_id, part=part, order=order, books=prices.currency, ours=ours)
    return follow_up


def _leave_suspense(tx: Transaction, paid: Paid, refund: Refund, refund_id: int, *, part: Part, lying: Amount) -> None:
    """Out of suspense by the way it came; what was kept for it is of the refund."""
    reason = refund.reason or "the provider gave it back"
    given_back = About(
        event_id=paid.event_id, provider=paid.provider, refund_id=refund_id, actor_id=refund.made_by, reason=reason
    )
    share = Amount(lying.minor * (part.ends - part.begins) // max(1, part.whole - part.begins), lying.currency)
    if share.minor:
        suspense.post(tx, posting(table.SUSPENSE_GIVEN_BACK, given_back, received=share))
    if part.is_last:
        tx.execute(suspense.RESOLVE, id=paid.event_id, resolution="refunded")
    fee = fee_of(refund)
    if fee is not None and fee.minor:
        _keep_fee(tx, fee, paid.provider, _Row(refund_id, None, None))


def _post_debit(
    tx: Transaction,
    paid: Paid,
    refund: Refund,
    refund_id: int,
    *,
    part: Part,
    order: PayableOrder | None,
    books: str,
    ours: bool,
) -> None:
    left = charges.standing(tx, paid)
    of = about(paid, refund, refund_id, left.owner if left.owner is not None else paid.account_id)
    there = ledger.lock_wallets(tx, left.owner)[left.owner].topped_up if left.owner is not None else 0
    fee = fee_of(refund)
    if order is not None and charges.is_sold(tx, paid, order):
        asset = left.there.currency
        parts = part.of_sale(SaleParts.of(paid, order, left, books), in_one_currency=asset == order.currency)
        rest = _had_back(parts.rest_came, parts.rest, there) if parts.rest or parts.rest_came else None
        price = Amount(parts.price, order.currency)
        given_back = Amount(parts.came, asset)
        taken = Amount(rest.taken, books) if rest else None
        rest_back = Amount(rest.given_back, asset) if rest else None
        lost = Amount(rest.lost, asset) if rest and rest.lost else None
        if lost is None and ours:
            fact = table.REFUND_BY_PROVIDER
            done = posting(fact, of, price=price, given_back=given_back, rest=taken, rest_given_back=rest_back, fee=fee)
        else:
            fact = table.CHARGEBACK if refund.kind == "chargeback" else table.REFUND_FROM_OUTSIDE
            done = posting(
                fact,
                of,
                price=price,
                given_back=given_back,
                rest=taken,
                rest_given_back=rest_back,
                lost=lost,
                fee=fee,
            )
        ledger.post(tx, done)
        return
    came = Amount(part.of(left.there.minor), left.there.currency)
    # in one currency what is had back is what left for it, to the last digit
    credited = came.minor if left.there == Amount(left.credited, books) else part.of(left.credited)
    back = _had_back(came.minor, credited, there)
    balance = Amount(back.taken, books)
    given_back, lost = Amount(back.given_back, came.currency), Amount(back.lost, came.currency)
    if ours and not back.lost:
        fact = table.REFUND_OF_BALANCE_BY_PROVIDER
        done = posting(fact, of, taken=balance, given_back=given_back, fee=fee)
    else:
        chargeback = refund.kind == "chargeback"
        fact = table.CHARGEBACK_OF_BALANCE if chargeback else table.REFUND_OF_BALANCE_FROM_OUTSIDE
        done = posting(fact, of, taken=balance, given_back=given_back, lost=lost, fee=fee)
    ledger.post(tx, done)


def _had_back(left: int, credited: int, there: int) -> HadBack:
    return had_back(left, credited=credited, there=there) if credited else HadBack(0, 0, left)


def fee_of(refund: Refund) -> Amount | None:
    """What the provider took for it, where the list of currencies has it."""
    return _amount_of(refund.fee_asset, refund.fee_amount)


def _amount_of(asset: str | None, amount: str | None) -> Amount | None:
    known = currencies.ALL.get(asset or "")
    return None if known is None or amount is None else Amount(ledger.minor_units(amount, known.digits), known.code)


@dataclass(frozen=True, slots=True)
class TakenAccess:
    """Access that was taken off: when it ends now, and the work that tells the nodes."""

    ends: datetime
    follow_up: list[outbox.Item]


def take_access(
    tx: Transaction, paid: Paid, refund: Refund, refund_id: int, *, prices: PriceList, correlation_id: str
) -> TakenAccess | None:
    """Take off what is left of the access that was paid for, if that is asked for; None when nothing was."""
    if not refund.reverses_access or paid.payment_id is None or paid.account_id is None:
        return None
    taken = reversal.take_off(
        tx, paid.account_id, paid.payment_id, prices.conversion, refund_id=refund_id, actor_id=refund.made_by
    )
    if taken is None:
        return None
    work = outbox.add(tx, "nodes", "task_provision", {"subscription_id": taken.subscription_id}, correlation_id)
    return TakenAccess(taken.ends, [work])


def tell(
    tx: Transaction, paid: Paid, refund: Refund, refund_id: int, *, correlation_id: str, until: datetime | None
) -> list[outbox.Item]:
    """The customer hears once that so much went back, and until when access runs if it was taken off; the work to enqueue."""
    if paid.account_id is None:
        return []
    params: dict[str, object] = {"amount": refund.amount, "currency": paid.currency, "route": refund.route}
    if paid.kind == "settling":
        params["order_id"] = paid.order_id
    if until is not None:
        params["until"] = until.isoformat()
    return messages.queue(
        tx,
        key=f"refund:{refund_id}",
        account_id=paid.account_id,
        kind="refund",
        params=params,
        correlation_id=correlation_id,
    )


def is_told(tx: Transaction, event_id: int) -> bool:
    """Whether the news of a refund had its effect, now or before: what is known of it and could not be booked ends no request."""
    return bool(
        tx.value("select exists (select from payment_events where id = :id and status = 'settled')", id=event_id)
    )


# Late ----------------------------------------------------------------------------------------------------------------

# Told before its charge, which is known by now. One that is at work at this moment sees the charge itself.
_WAKE = """
with waiting as (
    select r.id from payment_events r
    join payment_events c on c.provider = r.provider and c.kind = 'charge' and c.external_id = r.charge_id and c.status <> 'new'
    where r.status = 'unmatched' and r.resolved_at is null and r.charge_id is not null and r.reason = :waits
    order by r.id limit :page
    for no key update of r skip locked
), again as (
    update payment_events e set status = 'new', processed_at = null from waiting w where e.id = w.id
    returning e.id, e.correlation_id
)
insert into outbox (queue, target, payload, correlation_id)
select 'payments', 'task_settle', jsonb_build_object('event_id', id), correlation_id from again order by id
returning id, queue, target, payload, attempt, correlation_id
"""


def wake(tx: Transaction, page: int) -> list[outbox.Item]:
    """Refunds and chargebacks that were told before their charge, which is known now: the work that gives them their effect."""
    return tx.rows(outbox.Item, _WAKE, waits=WAITS, page=page)
