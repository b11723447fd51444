"""What a provider's statement tells, line by line: news of money like any other, fees that are known only now, payouts.

The same line again changes nothing. What it says otherwise than the books is a difference for a person, and changes nothing either.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from lib import currencies
from lib.domain import audit, inbox, ledger, operators, refunds
from lib.domain.postings import About, Amount, posting, table
from lib.domain.settlement import Event, Money

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import date, datetime
    from decimal import Decimal
    from typing import Any

    from lib.db import Transaction
    from lib.domain.pricelist import PriceList

CHARGE, FEE, REFUND, CHARGEBACK, PAYOUT = "charge", "fee", "refund", "chargeback", "payout"
VIA = "command"


class NotAllowed(Exception):
    """Nothing was changed: no role of the operator may do it."""


@dataclass(frozen=True, slots=True)
class By:
    """Who takes it up: their Telegram id, those of the owners (`ADMIN_IDS`), and the command's name in logs and events."""

    actor_id: int
    owners: Collection[int]
    correlation_id: str


@dataclass(frozen=True, slots=True)
class File:
    """A statement as a whole: sha256 of its bytes, how many lines were read and how many could not be, and the days it is said to speak of."""

    sha256: str
    lines: int
    broken: int
    first: date | None = None
    last: date | None = None


def begin(tx: Transaction, provider: str, file: File, by: By, *, dry_run: bool = False) -> None:
    """Before its first line is taken: who does it is in the audit log, once each time. A dry run leaves nothing.

    Raises:
        NotAllowed: neither an owner nor of the role finance.
    """
    if not operators.may(operators.roles(tx, by.actor_id, by.owners), operators.Action.TAKE_STATEMENT):
        raise NotAllowed(f"{by.actor_id} may not: neither in ADMIN_IDS nor with the role finance")
    if dry_run:
        return
    audit.record(
        tx,
        by.actor_id,
        "statement.taken",
        audit.Subject("statement", file.sha256),
        before=None,
        after={
            "provider": provider,
            "lines": file.lines,
            "broken": file.broken,
            "from": None if file.first is None else file.first.isoformat(),
            "to": None if file.last is None else file.last.isoformat(),
        },
        correlation_id=by.correlation_id,
    )


@dataclass(frozen=True, slots=True)
class Said:
    """One line of a statement.

    Attributes:
        number: of the line in its file.
        kind: charge, fee, refund, chargeback or payout.
        id: the provider's, of the charge, the refund, the payout.
        charge: of a fee, a refund or a chargeback: the charge it is of; a fee may be of a refund, too.
        amount, fee: minor units of prices; what moved, and what the provider kept beside it. Of a payout: what came to the bank.
        at: when, by the provider's clock.
        purchase_id: ours, where the statement has it.
    """

    number: int
    kind: str
    id: str
    charge: str
    amount: int
    fee: int
    currency: str
    at: datetime
    purchase_id: UUID | None = None

    def says_the_same(self, other: Said) -> bool:
        """Whether another line, of another place or file, tells of the same money."""
        return (self.kind, self.id, self.charge, self.amount, self.fee, self.currency, self.purchase_id) == (
            other.kind,
            other.id,
            other.charge,
            other.amount,
            other.fee,
            other.currency,
            other.purchase_id,
        )


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a line.

    Attributes:
        outcome: `known` (nothing was new), `booked` (a fee or a payout), `differs` (from what is known, nothing was changed), `lacking`
            (what it speaks of is not known), or what became of its news (`Received.outcome`).
    """

    outcome: str
    reason: str = ""
    event_id: int | None = None
    order_id: int | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    id: int
    amount: Decimal | None
    currency: str | None
    status: str


_CHARGE = """
select id, amount, currency, status from payment_events
where provider = :provider and kind = 'charge' and external_id = :id
"""


@dataclass(frozen=True, slots=True)
class _Refund:
    """`payment_id` and `order_id` are None of money that fitted no order."""

    id: int
    payment_id: int | None
    order_id: int | None


# By its own id; or, of one that an operator booked before it was told, by the news that told it.
_REFUND = """
select r.id, r.payment_id, p.order_id from refunds r left join payments p on p.id = r.payment_id
where r.provider = :provider and r.external_id = :id
union all
select r.id, r.payment_id, p.order_id
from payment_events n
join payment_events c on c.provider = n.provider and c.kind = 'charge' and c.external_id = n.charge_id
join refunds r on r.charge_event_id = c.id and r.route = 'provider' and r.event_id is null
left join payments p on p.id = r.payment_id
where n.provider = :provider and n.kind = any(array['refund', 'chargeback']) and n.external_id = :id
  and n.status = 'settled' and n.reason = :booked_before
limit 1
"""

# What the provider took again, or beyond a charge, has no row of its own.
_LOST = """
select n.id, n.amount, n.currency, n.status from payment_events n
where n.provider = :provider and n.kind = any(array['refund', 'chargeback']) and n.external_id = :id
  and exists (select from ledger_transfers t where t.event_id = n.id and t.kind = 'second_debit')
limit 1
"""

# What was kept of one charge or one refund so far, whichever transfer said so; corrections count.
_FEES = """
select coalesce(sum(case d.code when 'provider_fees' then e.amount else -e.amount end), 0)
from ledger_transfers t join ledger_entries e on e.transfer_id = t.id
join ledger_accounts d on d.id = e.debit_account_id join ledger_accounts c on c.id = e.credit_account_id
where 'provider_fees' in (d.code, c.code) and e.currency = :currency
  and case when cast(:refund_id as bigint) is not null then t.refund_id = cast(:refund_id as bigint)
           else t.refund_id is null and t.kind in ('sale', 'top_up', 'gift_bought', 'suspense', 'suspense_resolved', 'second_debit', 'fee',
                                                       'correction')
                and (t.event_id = cast(:event_id as bigint)
                     or t.payment_id = (select p.id from payments p where p.event_id = cast(:event_id as bigint))) end
"""

_PAYOUT = """
select coalesce(sum(e.amount) filter (where d.code = 'bank'), 0) as arrived,
       coalesce(sum(e.amount) filter (where d.code = 'provider_fees'), 0) as fee
from ledger_transfers t join ledger_entries e on e.transfer_id = t.id join ledger_accounts d on d.id = e.debit_account_id
where t.key = :key having count(*) > 0
"""


@dataclass(frozen=True, slots=True)
class _PaidOut:
    arrived: Decimal
    fee: Decimal


def take(tx: Transaction, provider: str, said: Said, prices: PriceList, correlation_id: str) -> Taken:
    """Give a line its effect, once, in this transaction.

    Lines are taken charges first: the others speak of them.
    """
    return _EFFECTS[said.kind](tx, provider, said, prices, correlation_id)


def _charge(tx: Transaction, provider: str, said: Said, prices: PriceList, correlation_id: str) -> Taken:
    known = tx.row(_Known, _CHARGE, provider=provider, id=said.id)
    if known is None or known.amount is None:
        received = inbox.receive(tx, event_of(provider, said, correlation_id), prices)
        taken = Taken(received.outcome, received.reason or received.error, received.event_id, received.order_id)
        known = tx.row(_Known, _CHARGE, provider=provider, id=said.id)
    elif (int(known.amount), known.currency) != (said.amount, said.currency):
        return Taken("differs", f"{_words(int(known.amount), known.currency or '')} are known", known.id)
    else:
        taken = Taken("known", event_id=known.id)
    if not said.fee or known is None:
        return taken
    kept = _keep_fee(tx, provider, said.fee, said.currency, event=known)
    return taken if kept.outcome == "known" or taken.outcome not in {"known", "repeated"} else kept


def _fee(tx: Transaction, provider: str, said: Said, _prices: PriceList, _correlation_id: str) -> Taken:
    event = tx.row(_Known, _CHARGE, provider=provider, id=said.charge)
    refund = (
        None
        if event
        else tx.row(_Refund, _REFUND, provider=provider, id=said.charge, booked_before=refunds.BOOKED_BEFORE)
    )
    if event is None and refund is None:
        event = tx.row(_Known, _LOST, provider=provider, id=said.charge)
    if event is None and refund is None:
        return Taken("lacking", f"neither a charge nor a refund {said.charge} is known")
    return _keep_fee(tx, provider, said.amount, said.currency, event=event, refund=refund)


def _given_back(tx: Transaction, provider: str, said: Said, prices: PriceList, correlation_id: str) -> Taken:
    received = inbox.receive(tx, event_of(provider, said, correlation_id), prices)
    outcome = "known" if received.outcome == "repeated" else received.outcome
    return Taken(outcome, received.reason or received.error, received.event_id, received.order_id)


def _payout(tx: Transaction, provider: str, said: Said, _prices: PriceList, _correlation_id: str) -> Taken:
    arrived, fee = _booked(said.amount, said.currency), _booked(said.fee, said.currency)
    posted = posting(
        table.PAYOUT,
        About(provider=provider, external_id=said.id),
        settled=arrived,
        arrived=arrived,
        fee=fee if said.fee else None,
    )
    before = tx.row(_PaidOut, _PAYOUT, key=posted.key)
    if before is None:
        ledger.post(tx, posted)
        return Taken("booked")
    if (int(before.arrived), int(before.fee)) == (arrived.minor, fee.minor):
        return Taken("known")
    return Taken("differs", f"{before.arrived} and a fee of {before.fee} are booked, in minor units of {said.currency}")


_EFFECTS = {CHARGE: _charge, FEE: _fee, REFUND: _given_back, CHARGEBACK: _given_back, PAYOUT: _payout}


def _keep_fee(
    tx: Transaction, provider: str, fee: int, currency: str, *, event: _Known | None, refund: _Refund | None = None
) -> Taken:
    """Book a fee that was not known before, once a charge or refund."""
    event_id = event.id if event else None
    if event_id is not None:
        tx.execute("select id from payment_events where id = :id for no key update", id=event_id)
    amount = _booked(fee, currency)
    before = int(tx.value(_FEES, refund_id=refund.id if refund else None, event_id=event_id, currency=currency))
    if before == amount.minor:
        return Taken("known", event_id=event_id)
    if before:
        return Taken("differs", f"a fee of {before} is booked, in minor units of {currency}", event_id)
    if refund is not None:
        about = About(provider=provider, refund_id=refund.id, payment_id=refund.payment_id, order_id=refund.order_id)
        ledger.post(tx, posting(table.REFUND_FEE, about, fee=amount))
    else:
        ledger.post(tx, posting(table.FEE, About(provider=provider, event_id=event_id), fee=amount))
    return Taken("booked", event_id=event_id)


def _booked(minor: int, currency: str) -> Amount:
    return Amount(currencies.of(currency).booked(minor), currency)


def _words(minor: int, currency: str) -> str:
    known = currencies.ALL.get(currency)
    return f"{minor if known is None else known.decimal(minor)} {currency}"


# News of a line -------------------------------------------------------------------------------------------------------


def event_of(provider: str, said: Said, correlation_id: str) -> Event:
    """The news of a charge, a refund or a chargeback. A charge's fee is no part of it: it is booked by itself, when it is known."""
    body = {
        "kind": said.kind,
        "id": said.id,
        "charge": said.charge,
        "amount": said.amount,
        "fee": said.fee if said.kind != CHARGE else 0,
        "currency": said.currency,
        "purchase": str(said.purchase_id) if said.purchase_id else None,
    }
    return event_of_body(provider, body, json.dumps(body).encode(), VIA, correlation_id)


def event_of_body(provider: str, said: Mapping[str, Any], body: bytes, via: str, correlation_id: str) -> Event:
    """The same news, of a body that was stored.

    Raises:
        KeyError, TypeError, ValueError: not what `event_of` makes.
    """
    fee = _whole(said["fee"])
    money = Money(
        amount=_whole(said["amount"]),
        currency=currencies.of(said["currency"]).code,
        invoice_id="",
        purchase_id=UUID(str(said["purchase"])) if said["purchase"] else None,
        fee_asset=said["currency"] if fee else None,
        fee_amount=currencies.of(said["currency"]).decimal(fee) if fee else None,
    )
    if money.amount <= 0 or said["kind"] not in {CHARGE, REFUND, CHARGEBACK} or not isinstance(said["id"], str):
        raise ValueError("not news of money")
    return Event(
        provider, said["id"], body, via, correlation_id, money, kind=said["kind"], charge_id=str(said["charge"] or "")
    )


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a whole number")
    return value
