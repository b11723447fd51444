"""Money that goes back: refunds of ours, refunds and chargebacks that a provider tells of (product.md; money.md, Postings).

What went back is a row of `refunds`, written with its transfer in one transaction. A refund that a provider is to make is asked for by
a row of `refund_requests`, which is there before the provider is called; what the provider then says is news like any other, and
the news that the charge went back ends the request. By an operator: `refunds_by_hand`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lib import currencies
from lib.domain import ledger, messages, outbox, receipts, reversal, suspense
from lib.domain.bookings import PayableOrder
from lib.domain.postings import About, Amount, clearing, posting, table
from lib.domain.postings.amounts import HadBack, had_back
from lib.domain.settlement import Received

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal
    from uuid import UUID

    from lib.db import Transaction
    from lib.domain.pricelist import PriceList
    from lib.domain.settlement import Event, Money

WAITS = "its charge is not known yet"
_TOLD_BEFORE = "told before, under another kind"
BOOKED_BEFORE = "booked before it was told"
_SECOND = "a second debit of its charge"


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge that its provider is to give back.

    Attributes:
        charge_id: the provider's.
        amount: all of it, as it was agreed: minor units of prices (whole Stars).
        payer_telegram_id: who paid, as far as the provider said it.
        asked_at: since when it is to be given back: before that it was not, by us.
    """

    provider: str
    charge_id: str
    amount: int
    currency: str
    payer_telegram_id: int | None
    asked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A refund that the provider is asked for, until it ends."""

    id: int
    status: str
    account_id: int | None
    held: Decimal
    reverses_access: bool
    made_by: int | None
    reason: str


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

# The charge's news first: whatever is done about one charge queues up here, as its settlement does.
_LOCK_CHARGE = """
select id from payment_events
where provider = :provider and kind = 'charge' and external_id = :charge_id and status <> 'new'
for no key update
"""
_LOCK_EVENT = "select id from payment_events where id = :id for no key update"
_LOCK_ACCOUNT = "select id from accounts where id = :id for no key update"
_LOCK_ORDER = """
select id, account_id, kind, tariff, period_days, list_price, price, currency, value, status
from orders where id = :id for no key update
"""

# What its transfers have left at the provider and in wallets, whatever undid which. A fee is the provider's, whatever becomes of the rest.
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
    """What the books say of a payment's money now, as it was booked.

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


# What was told of a charge, and what is booked of it. Two news of one refund id, of different kinds, are one.
_DEBITS = """
select (select count(*) from refunds r where r.charge_event_id = :event_id and r.route = 'provider')
     + (select count(*) from ledger_transfers t join payment_events s on s.id = t.event_id
        left join ledger_transfers undone on undone.reverses_id = t.id
        where t.kind = 'second_debit' and undone.id is null and s.provider = :provider and s.charge_id = :charge_id) as booked,
       (select count(distinct n.external_id) from payment_events n
        where n.provider = :provider and n.charge_id = :charge_id and n.status = 'settled' and n.external_id <> :external_id) as told,
       exists (select from payment_events n
               where n.provider = :provider and n.charge_id = :charge_id and n.status = 'settled'
                 and n.external_id = :external_id) as same_told
"""


@dataclass(frozen=True, slots=True)
class _Debits:
    booked: int
    told: int
    same_told: bool


_END_EVENT = """
update payment_events set status = :status, reason = :reason, processed_at = atlas.now(), order_id = :order_id where id = :id
"""


def receive(  # noqa: PLR0911 -- one for each of what can have happened
    tx: Transaction, event_id: int, event: Event, prices: PriceList
) -> Received:
    """Give news of a refund or chargeback its effect, in the transaction and savepoint of `inbox.receive`.

    The first debit that is told of a charge is booked, unless an operator or our own request booked it before; a further one is lost.
    One whose charge is not known yet waits for it (`wake`).
    """
    money = event.money
    if money is None:
        status = "unmatched" if event.concerns_money else "no_money"
        return _end(tx, event_id, status, event.reason)
    charge_event_id = tx.value(_LOCK_CHARGE, provider=event.provider, charge_id=event.charge_id)
    if event.reason or charge_event_id is None:
        return _end(tx, event_id, "unmatched", event.reason or WAITS)
    paid = tx.one(Paid, _OF_EVENT, id=charge_event_id)
    debits = tx.one(
        _Debits,
        _DEBITS,
        event_id=charge_event_id,
        provider=event.provider,
        charge_id=event.charge_id,
        external_id=event.external_id,
    )
    if debits.same_told or debits.told < debits.booked:
        reason = _TOLD_BEFORE if debits.same_told else BOOKED_BEFORE
        if not debits.same_told:
            _late_fee(tx, event, money, charge_event_id)
        return replace(_end(tx, event_id, "settled", reason, paid.order_id), reason="")
    request = open_request(tx, charge_event_id)
    if debits.booked or left_by_another_way(tx, paid):
        lost = _amount(money, paid, standing(tx, paid))
        ledger.post(tx, posting(table.SECOND_DEBIT, About(provider=event.provider, event_id=event_id), lost=lost))
        if request is not None:
            end_request(tx, request, "refused", "the money had left by another way")
        return _end(tx, event_id, "settled", _SECOND, paid.order_id)
    if (money.amount, money.currency) != (paid.charged, paid.charged_currency):
        return _end(tx, event_id, "unmatched", "not the amount of its charge", paid.order_id)
    refund = _told(event_id, event, money, paid, request)
    follow_up = debit(tx, paid, refund, request, prices=prices, correlation_id=event.correlation_id)
    if follow_up is None:
        return _end(tx, event_id, "unmatched", "what came for its charge is not in the books", paid.order_id)
    return replace(_end(tx, event_id, "settled", None, paid.order_id), follow_up=tuple(follow_up))


def _end(tx: Transaction, event_id: int, status: str, reason: str | None, order_id: int | None = None) -> Received:
    tx.execute(_END_EVENT, id=event_id, status=status, reason=reason, order_id=order_id)
    return Received(status, event_id, order_id, reason=reason or "")


def left_by_another_way(tx: Transaction, paid: Paid) -> bool:
    """Whether the money was paid back by hand before its provider took it: then this is a loss, whatever it was for."""
    if paid.payment_id is None:
        return paid.resolution == "refunded"
    by_hand = "select exists (select from refunds where payment_id = :id and route = 'bank')"
    return (paid.kind == "duplicate" and paid.resolution == "refunded") or bool(tx.value(by_hand, id=paid.payment_id))


def _amount(money: Money, paid: Paid, left: Standing) -> Amount:
    """What left, in the asset that came."""
    if left.there.currency == money.currency or left.there.minor <= 0:
        return Amount(currencies.of(money.currency).booked(money.amount), money.currency)
    return Amount(left.there.minor * money.amount // max(1, paid.charged), left.there.currency)


_BY_OPERATOR = """
select r.id, r.payment_id, p.order_id from refunds r join payments p on p.id = r.payment_id
where r.charge_event_id = :event_id and r.route = 'provider' and r.event_id is null
"""


@dataclass(frozen=True, slots=True)
class _ByOperator:
    id: int
    payment_id: int
    order_id: int | None


def _late_fee(tx: Transaction, event: Event, money: Money, charge_event_id: int) -> None:
    """What its provider kept for a debit that an operator booked is known only with its news; its charge is locked.

    Of money that fitted no order there is no payment to name: that fee is left to the comparison with the provider.
    """
    fee = _amount_of(money.fee_asset, money.fee_amount)
    booked = tx.row(_ByOperator, _BY_OPERATOR, event_id=charge_event_id)
    if fee is not None and fee.minor and booked is not None:
        about = About(
            provider=event.provider, refund_id=booked.id, payment_id=booked.payment_id, order_id=booked.order_id
        )
        ledger.post(tx, posting(table.REFUND_FEE, about, fee=fee))


_REFUND = """
insert into refunds (payment_id, charge_event_id, kind, provider, external_id, route, amount, currency, fee_asset, fee_amount,
                     event_id, reverses_access, made_by, reason)
values (:payment_id, :charge_event_id, :kind, :provider, :external_id, :route, :amount, :currency, :fee_asset, :fee_amount,
        :event_id, :reverses_access, :made_by, :reason)
returning id
"""


@dataclass(frozen=True, slots=True)
class Refund:
    """What went back, for its row.

    Attributes:
        amount: minor units of prices, in the payment's currency.
        event_id: the news that told of it.
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


def write(tx: Transaction, paid: Paid, refund: Refund) -> int:
    """The row, whose id its transfer names; the payment's receipt is annulled.

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
    )
    if paid.payment_id is not None:
        receipts.annul(tx, paid.payment_id, refund_id)
    return refund_id


def write_left(tx: Transaction, event_id: int, *, made_by: int, reason: str) -> None:
    """The row of money in suspense that its provider gave back, as an operator says: the first debit listed of it is this one."""
    paid = tx.one(Paid, _OF_EVENT, id=event_id)
    if paid.amount > 0:
        left = Refund(
            "refund", paid.provider, f"event:{event_id}", "provider", paid.amount, made_by=made_by, reason=reason
        )
        write(tx, paid, left)


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


def lock(tx: Transaction, paid: Paid) -> PayableOrder | None:
    """The buyer's account and the order, in that order; the order of money that has one."""
    if paid.account_id is not None:
        tx.value(_LOCK_ACCOUNT, id=paid.account_id)
    return None if paid.order_id is None else tx.row(PayableOrder, _LOCK_ORDER, id=paid.order_id)


def _told(event_id: int, event: Event, money: Money, paid: Paid, request: Request | None) -> Refund:
    return Refund(
        # a list may not tell what we asked for from what was taken by force
        kind="refund" if request is not None and request.status == "sent" else event.kind,
        provider=event.provider,
        external_id=event.external_id,
        route="provider",
        amount=paid.amount,
        reverses_access=request is not None and request.reverses_access,
        made_by=request.made_by if request else None,
        reason=request.reason if request else None,
        event_id=event_id,
        fee_asset=money.fee_asset if money.fee_amount else None,
        fee_amount=money.fee_amount if money.fee_asset else None,
    )


def debit(
    tx: Transaction,
    paid: Paid,
    refund: Refund,
    request: Request | None,
    *,
    prices: PriceList,
    correlation_id: str,
) -> list[outbox.Item] | None:
    """Book what the provider took of a charge, or gave back: the whole of it leaves its account.

    Returns:
        The work to enqueue; None when the books do not have what came.
    """
    order = lock(tx, paid)
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
    if request is not None:
        end_request(tx, request, "done")
    if lying is not None and paid.event_id is not None:
        reason = refund.reason or "the provider gave it back"
        given_back = About(event_id=paid.event_id, provider=paid.provider, actor_id=refund.made_by, reason=reason)
        suspense.post(tx, posting(table.SUSPENSE_GIVEN_BACK, given_back, received=lying.received))
        tx.execute(suspense.RESOLVE, id=paid.event_id, resolution="refunded")
    else:
        ours = request is not None and refund.kind == "refund"  # it may be taken by force before it is asked for
        _post_debit(tx, paid, refund, refund_id, order=order, books=prices.currency, ours=ours)
    return follow_up


def _post_debit(
    tx: Transaction,
    paid: Paid,
    refund: Refund,
    refund_id: int,
    *,
    order: PayableOrder | None,
    books: str,
    ours: bool,
) -> None:
    left = standing(tx, paid)
    of = about(paid, refund, refund_id, left.owner if left.owner is not None else paid.account_id)
    there = ledger.lock_wallets(tx, left.owner)[left.owner].topped_up if left.owner is not None else 0
    fee = fee_of(refund)
    if order is not None and is_sold(tx, paid, order):
        parts = SaleParts.of(paid, order, left, books)
        rest = had_back(parts.rest_came, credited=parts.rest, there=there) if parts.rest else None
        asset, price = left.there.currency, Amount(parts.price, order.currency)
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
    came = left.there
    back = had_back(came.minor, credited=left.credited, there=there) if left.credited else HadBack(0, 0, came.minor)
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


def is_sold(tx: Transaction, paid: Paid, order: PayableOrder) -> bool:
    """Whether the price stands in what was sold: not in a balance, as of a top-up, a further charge, a sale given back to the balance."""
    return is_sold_price(paid, order) and not tx.value(
        "select exists (select from refunds where payment_id = :id and route = 'balance')", id=paid.payment_id
    )


def is_sold_price(paid: Paid, order: PayableOrder) -> bool:
    """Whether the payment was the price of what was sold."""
    return paid.kind == "settling" and order.kind != "top_up"


def is_debited(tx: Transaction, paid: Paid) -> bool:
    """Whether a debit of the charge at its provider is booked."""
    return bool(
        tx.value(
            "select exists (select from refunds where charge_event_id = :id and route = 'provider')", id=paid.event_id
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


# Asked for -----------------------------------------------------------------------------------------------------------


class NotRefunded(Exception):
    """Nothing was changed; the text says why.

    Attributes:
        is_spent: the balance that was credited with it does not hold it any more.
    """

    def __init__(self, text: str, *, is_spent: bool = False) -> None:
        super().__init__(text)
        self.is_spent = is_spent


def too_little(account_id: int, there: int, owed: int, currency: str) -> NotRefunded:
    """A balance does not hold what it was credited with; amounts in minor units of the books."""
    held, wanted = (currencies.of(currency).said(one) for one in (there, owed))
    return NotRefunded(f"the balance of account {account_id} holds {held} of {wanted}", is_spent=True)


_REQUEST = """
insert into refund_requests (event_id, account_id, held, reverses_access, made_by, reason, correlation_id)
values (:event_id, :account_id, :held, :reverses_access, :made_by, :reason, :correlation_id)
returning id
"""
_OPEN_REQUEST = """
select id, status, account_id, held, reverses_access, made_by, reason from refund_requests
where event_id = :event_id and status in ('requested', 'sent') for no key update
"""
_END_REQUEST = """
update refund_requests
set status = :status, last_answer = coalesce(:answer, last_answer), ended_at = atlas.now(), held = 0,
    claimed_by = null, claimed_until = null
where id = :id and status in ('requested', 'sent')
"""
_WENT_BACK = """
select route from refunds where payment_id = :payment_id or charge_event_id = :event_id order by id limit 1
"""


def open_request(tx: Transaction, charge_event_id: int) -> Request | None:
    """The refund of a charge that is under way, locked."""
    return tx.row(Request, _OPEN_REQUEST, event_id=charge_event_id)


def end_request(tx: Transaction, request: Request, status: str, answer: str | None = None) -> None:
    """It is done, or refused; what was kept back of the balance for it is let go."""
    if tx.execute(_END_REQUEST, id=request.id, status=status, answer=answer) and request.account_id is not None:
        ledger.hold(tx, request.account_id, -int(request.held))


def find(tx: Transaction, *, payment_id: int | None = None, event_id: int | None = None) -> Paid | None:
    """A payment, or a charge by its news."""
    if payment_id is not None:
        return tx.row(Paid, _OF_PAYMENT, id=payment_id)
    return tx.row(Paid, _OF_EVENT, id=event_id)


def refusal(tx: Transaction, paid: Paid) -> str:
    """Why it can't be given back, or nothing; the charge's news is locked."""
    if (route := tx.value(_WENT_BACK, payment_id=paid.payment_id, event_id=paid.event_id)) is not None:
        return f"it went back before ({route})"
    if paid.event_id is not None and open_request(tx, paid.event_id) is not None:
        return "its refund is under way"
    if paid.resolution == "refunded":
        return "it was given back out of suspense"
    if paid.amount <= 0:
        return "nothing was paid"
    return ""


def ask(
    tx: Transaction,
    event_id: int,
    books: str,
    *,
    reverses_access: bool = False,
    made_by: int | None = None,
    reason: str,
    correlation_id: str,
) -> int:
    """Ask for a charge to be given back by its provider, all of it; the request's id. The payments sweep makes the call.

    What of it is in a balance is kept back there until the request ends.

    Raises:
        NotRefunded: there is no such charge, it went back before, or the balance does not hold it any more.
    """
    tx.value(_LOCK_EVENT, id=event_id)
    paid = find(tx, event_id=event_id)
    if paid is None:
        raise NotRefunded(f"there is no event {event_id}")
    order = lock(tx, paid)
    if why := refusal(tx, paid):
        raise NotRefunded(why)
    owner, held = None, 0
    if suspense.lying(tx, event_id) is None:
        left = standing(tx, paid)
        if left.there.minor <= 0:
            raise NotRefunded("what came for it is not in the books")
        owner = left.owner
        if owner is not None:
            held = SaleParts.of(paid, order, left, books).rest if order and is_sold(tx, paid, order) else left.credited
            there = ledger.lock_wallets(tx, owner)[owner].topped_up
            if there < held:
                raise too_little(owner, there, held, books)
    request_id: int = tx.value(
        _REQUEST,
        event_id=event_id,
        account_id=owner,
        held=held,
        reverses_access=reverses_access,
        made_by=made_by,
        reason=reason,
        correlation_id=correlation_id,
    )
    if owner is not None:
        ledger.hold(tx, owner, held)
    return request_id


# Made ----------------------------------------------------------------------------------------------------------------

# A charge that its settlement or another refund of it is at work on is passed over by the lock on the request alone: its row is held
# only by what ends it.
_CLAIM = """
with due as (
    select r.id, r.status from refund_requests r join payment_events e on e.id = r.event_id
    where r.status in ('requested', 'sent') and r.next_attempt_at <= atlas.now()
      and (r.claimed_until is null or r.claimed_until <= atlas.now()) and e.provider = any(cast(:providers as text[]))
    order by r.next_attempt_at, r.id limit :page
    for update of r skip locked
), claimed as (
    update refund_requests r
    set status = 'sent', attempts = r.attempts + 1, claimed_by = gen_random_uuid(),
        claimed_until = atlas.now() + make_interval(secs => :lease_s)
    from due where r.id = due.id
    returning r.id, r.event_id, r.claimed_by, r.attempts, r.correlation_id, r.requested_at, due.status = 'sent' as may_be_made
)
select c.id, c.claimed_by, c.attempts, c.correlation_id, c.may_be_made, e.provider, e.external_id as charge_id,
       cast(coalesce(e.amount, p.amount) as bigint) as amount, coalesce(e.currency, p.currency) as currency, e.payer_telegram_id, c.requested_at as asked_at
from claimed c join payment_events e on e.id = c.event_id left join payments p on p.event_id = e.id
order by c.id
"""
_PUT_OFF = """
update refund_requests
set status = :status, claimed_by = null, claimed_until = null, last_answer = :answer,
    next_attempt_at = atlas.now() + make_interval(secs => :seconds)
where id = :id and status = 'sent' and claimed_by = :claimed_by
"""
_OF_CLAIM = """
select id, status, account_id, held, reverses_access, made_by, reason from refund_requests
where id = :id and status = 'sent' and claimed_by = :claimed_by for no key update
"""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A refund that this run may make now, and no other until the claim ends.

    Attributes:
        may_be_made: an earlier attempt may have made it: its outcome is asked for first.
    """

    id: int
    claimed_by: UUID
    attempts: int
    correlation_id: str
    may_be_made: bool
    provider: str
    charge_id: str
    amount: int
    currency: str
    payer_telegram_id: int | None
    asked_at: datetime

    @property
    def charge(self) -> Charge:
        """What is to be given back."""
        return Charge(
            self.provider, self.charge_id, self.amount, self.currency, self.payer_telegram_id, asked_at=self.asked_at
        )


def claim(tx: Transaction, providers: list[str], page: int, lease_s: float) -> list[Claimed]:
    """Take up to `page` refunds of these providers that are due; each counts as made from here on."""
    return tx.rows(Claimed, _CLAIM, providers=providers, page=page, lease_s=lease_s)


def put_off(tx: Transaction, claimed: Claimed, seconds: float, answer: str, *, may_be_made: bool) -> None:
    """Not done now: tried again after `seconds`. `may_be_made`: the provider may have made it all the same."""
    status = "sent" if may_be_made else "requested"
    tx.execute(
        _PUT_OFF, id=claimed.id, claimed_by=claimed.claimed_by, status=status, seconds=seconds, answer=answer[:1000]
    )


def refused(tx: Transaction, claimed: Claimed, answer: str) -> None:
    """The provider won't, and nothing has left: the request ends, and what was kept back is let go."""
    if (request := tx.row(Request, _OF_CLAIM, id=claimed.id, claimed_by=claimed.claimed_by)) is not None:
        end_request(tx, request, "refused", answer[:1000])


_UNSENT = """
select r.id, r.status, r.account_id, r.held, r.reverses_access, r.made_by, r.reason
from refund_requests r join payment_events e on e.id = r.event_id
where r.status = 'requested' and e.provider = any(cast(:providers as text[]))
order by r.next_attempt_at, r.id limit 1
for no key update of r skip locked
"""


def refuse_unsent(tx: Transaction, providers: list[str], answer: str) -> int | None:
    """End one refund that these providers were certainly not asked for; its request's id, None when there is none."""
    request = tx.row(Request, _UNSENT, providers=providers)
    if request is None:
        return None
    end_request(tx, request, "refused", answer)
    return request.id


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
