"""Refunds that a provider is asked to make (product.md, Payment methods): a row first, then the call, then what it says.

The payments sweep makes the calls (`lib/payments/giving_back.py`). The news that the charge went back ends the request, by whichever
way it comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lib import currencies
from lib.domain import charges, ledger, suspense
from lib.domain.charges import Paid, SaleParts

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal
    from uuid import UUID

    from lib.db import Transaction


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


class Why(StrEnum):
    """Why it is refused; the end of its text's name on a screen."""

    NOT_ALLOWED = "not-allowed"
    NO_PAYMENT = "no-payment"
    WENT_BACK = "went-back"
    PART_WENT_BACK = "part-went-back"
    UNDER_WAY = "under-way"
    OUT_OF_SUSPENSE = "out-of-suspense"
    NOTHING_PAID = "nothing-paid"
    NOT_IN_BOOKS = "not-in-books"
    NOT_THAT_WAY = "not-that-way"
    PROVIDER_CANT = "provider-cant"
    SPENT = "spent"
    NO_AMOUNT = "no-amount"
    FEE_CURRENCY = "fee-currency"
    FEE_BEYOND = "fee-beyond"
    ALL_OR_NOTHING = "all-or-nothing"
    BOOKED = "booked"
    BY_HAND = "by-hand"
    OTHER = "other"


class NotRefunded(Exception):
    """Nothing was changed; the text says why."""

    def __init__(self, text: str, why: Why = Why.OTHER) -> None:
        super().__init__(text)
        self.why = why


def too_little(account_id: int, there: int, owed: int, currency: str) -> NotRefunded:
    """A balance does not hold what it was credited with; amounts in minor units of the books."""
    held, wanted = (currencies.of(currency).said(one) for one in (there, owed))
    return NotRefunded(f"the balance of account {account_id} holds {held} of {wanted}", Why.SPENT)


_LOCK_EVENT = "select id from payment_events where id = :id for no key update"
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
# Whole before parts.
_WENT_BACK = """
select case when part_of_charge is null then route else 'part' end from refunds
where payment_id = :payment_id or charge_event_id = :event_id order by part_of_charge nulls first, id limit 1
"""


def open_request(tx: Transaction, charge_event_id: int) -> Request | None:
    """The refund of a charge that is under way, locked."""
    return tx.row(Request, _OPEN_REQUEST, event_id=charge_event_id)


def end_request(tx: Transaction, request: Request, status: str, answer: str | None = None) -> None:
    """It is done, or refused; what was kept back of the balance for it is let go."""
    if tx.execute(_END_REQUEST, id=request.id, status=status, answer=answer) and request.account_id is not None:
        ledger.hold(tx, request.account_id, -int(request.held))


def refusal(tx: Transaction, paid: Paid) -> NotRefunded | None:
    """Why it can't be given back; the charge's news is locked. None: it can."""
    route = tx.value(_WENT_BACK, payment_id=paid.payment_id, event_id=paid.event_id)
    if route == "part":
        return NotRefunded("a part of it went back by its provider: the rest goes back there too", Why.PART_WENT_BACK)
    if route is not None:
        return NotRefunded(f"it went back before ({route})", Why.WENT_BACK)
    if paid.event_id is not None and open_request(tx, paid.event_id) is not None:
        return NotRefunded("its refund is under way", Why.UNDER_WAY)
    if paid.resolution == "refunded":
        return NotRefunded("it was given back out of suspense", Why.OUT_OF_SUSPENSE)
    if paid.amount <= 0:
        return NotRefunded("nothing was paid", Why.NOTHING_PAID)
    return None


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
    paid = charges.find(tx, event_id=event_id)
    if paid is None:
        raise NotRefunded(f"there is no event {event_id}", Why.NO_PAYMENT)
    order = charges.lock(tx, paid)
    if (refused := refusal(tx, paid)) is not None:
        raise refused
    owner, held = None, 0
    if suspense.lying(tx, event_id) is None:
        left = charges.standing(tx, paid)
        if left.there.minor <= 0:
            raise NotRefunded("what came for it is not in the books", Why.NOT_IN_BOOKS)
        owner = left.owner
        if owner is not None:
            sold = order is not None and charges.is_sold(tx, paid, order)
            held = SaleParts.of(paid, order, left, books).rest if order and sold else left.credited
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


# Waiting -------------------------------------------------------------------------------------------------------------

OVERDUE_S = 600.0
"""A provider that is well has given back by then, after several attempts."""
# Few rows are open at any time, and `refund_requests_due` holds exactly those.
_OVERDUE = """
select e.provider, count(*) as count,
       cast(extract(epoch from atlas.now() - min(r.requested_at)) as double precision) as oldest_s
from refund_requests r join payment_events e on e.id = r.event_id
where r.status in ('requested', 'sent') and r.requested_at < atlas.now() - make_interval(secs => :after_s)
group by e.provider order by e.provider
"""


@dataclass(frozen=True, slots=True)
class Overdue:
    """Refunds that a provider was to make and has not made yet; the oldest was asked for `oldest_s` seconds ago."""

    provider: str
    count: int
    oldest_s: float


def overdue(tx: Transaction, after_s: float = OVERDUE_S) -> list[Overdue]:
    """Of each provider, what was asked for more than `after_s` seconds ago and is neither made nor refused, whether or not it can be asked."""
    return tx.rows(Overdue, _OVERDUE, after_s=after_s)


# What went back since, by whichever way, or is asked for again, needs no one any more.
_REFUSED = """
select r.id, r.event_id, e.provider, r.last_answer
from refund_requests r join payment_events e on e.id = r.event_id
where r.status = 'refused' and r.ended_at > atlas.now() - make_interval(days => :days)
  and not exists (select from refund_requests o where o.event_id = r.event_id and (o.status <> 'refused' or o.id > r.id))
  and not exists (select from refunds f where f.charge_event_id = r.event_id)
  and not exists (select from payments p join refunds f on f.payment_id = p.id where p.event_id = r.event_id)
  and e.resolution is distinct from 'refunded'
order by r.id limit :page
"""


@dataclass(frozen=True, slots=True)
class RefusedRefund:
    """A refund that was asked for and will not be made: an operator finds another way, or leaves it."""

    id: int
    event_id: int
    provider: str
    last_answer: str | None


def refused_lately(tx: Transaction, days: int, page: int) -> list[RefusedRefund]:
    """Refunds that ended refused within `days`, whose charge has not gone back since."""
    return tx.rows(RefusedRefund, _REFUSED, days=days, page=page)


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
