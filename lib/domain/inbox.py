"""The inbox of payment news: one event a key, and one effect an event, whichever source tells of it and however often.

A key is used up by an effect alone. What had none (unmatched, no money in it, not understood) is looked at again when more is
said under its key; what is said after an effect and differs from it is kept and told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from lib.db import StatementFailed, TooSlow, idempotent
from lib.domain import outbox
from lib.domain.settlement import Event, Received, settle

if TYPE_CHECKING:
    from lib.db import Transaction
    from lib.domain.pricelist import PriceList

_HAD_EFFECT = frozenset({"settled", "duplicate"})
_MOST_BODIES = 50
"""Bodies kept of one event beside its own: more different news than that under one key is a defect of the sender."""


class _Stored(NamedTuple):
    id: int
    status: str
    is_new: bool
    same: bool
    is_resolved: bool
    reason: str | None
    says_money: bool


# The idempotency key. A second delivery at the same moment waits here for the first one's commit.
_RECORD = """
insert into payment_events (provider, kind, external_id, body, meaning, via, correlation_id, payer_telegram_id, amount, currency, charge_id)
values (:provider, :kind, :external_id, :body, :meaning, :via, :correlation_id, :payer_telegram_id, :amount,
        (select code from currencies where code = :currency), :charge_id)
on conflict (provider, kind, external_id) do update set attempts = payment_events.attempts + 1
returning id, status, xmax = 0 as is_new, meaning = :meaning as same, reason,
          -- that an operator saw no money in it ends no money that is told of later
          resolved_at is not null and (resolution <> 'no_money' or not cast(:says_money as boolean)) as is_resolved,
          amount is not null as says_money
"""

# The body that the event stood for so far is kept beside it, and the new one takes its place. Functions may only add to what is
# kept, so one that is said again later stands in both. An operator's `no_money` was of the body before.
_SUPERSEDE = """
with before as (
    insert into payment_event_bodies (event_id, meaning, body, via, correlation_id, received_at)
    select id, meaning, body, via, correlation_id, received_at from payment_events where id = :id
    on conflict do nothing
)
update payment_events
set body = :body, meaning = :meaning, via = :via, correlation_id = :correlation_id, status = 'new', reason = null,
    processed_at = null, resolved_at = null, resolution = null,
    payer_telegram_id = coalesce(:payer_telegram_id, payer_telegram_id), amount = :amount,
    currency = (select code from currencies where code = :currency), charge_id = coalesce(:charge_id, charge_id)
where id = :id
"""

_KEEP_BODY = """
insert into payment_event_bodies (event_id, meaning, body, via, correlation_id)
select :id, :meaning, :body, :via, :correlation_id
where (select count(*) from payment_event_bodies where event_id = :id) < :most
on conflict do nothing
"""


@idempotent
def receive(tx: Transaction, event: Event, prices: PriceList) -> Received:
    """Record the event and settle it, in one transaction (docs/architecture.md, rule 3).

    When settling fails the event stays, with a task to try again. Money is never refused: an event that fits no order
    is recorded as unmatched.
    """
    stored = tx.one(
        _Stored,
        _RECORD,
        kind=event.kind,
        external_id=event.external_id,
        provider=event.provider,
        says_money=event.money is not None,
        **_news(event),
    )
    tx.reach("settle.after-claim")
    if stored.status in _HAD_EFFECT or stored.is_resolved:
        return _repeated(tx, stored, event)
    if not stored.same:
        if event.money is None and (stored.says_money or (stored.status == "unmatched" and not event.concerns_money)):
            return _repeated(tx, stored, event)  # what is known already says more
        tx.execute(_SUPERSEDE, id=stored.id, **_news(event))
    try:
        with tx.savepoint("settlement"):
            received = settle(tx, stored.id, event, prices, is_new=stored.is_new)
    except TooSlow as error:
        return _keep(tx, stored, event, error)
    except StatementFailed as error:
        if error.must_rerun:
            raise
        return _keep(tx, stored, event, error)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        return _keep(tx, stored, event, error)
    known = (
        stored.same
        and not stored.is_new
        and received.outcome == stored.status
        and received.reason == (stored.reason or "")
    )
    return replace(received, outcome="repeated") if known else received


def _news(event: Event) -> dict[str, object]:
    money = event.money
    return {
        "body": event.body,
        "meaning": event.meaning,
        "via": event.via,
        "correlation_id": event.correlation_id,
        "payer_telegram_id": event.payer_telegram_id,
        "charge_id": event.charge_id or None,
        "amount": None if money is None or money.amount <= 0 else money.amount,
        "currency": None if money is None or money.amount <= 0 else money.currency,
    }


def _repeated(tx: Transaction, stored: _Stored, event: Event) -> Received:
    """Nothing more is done under this key; what differs from what was said first is kept, and told once."""
    if stored.same:
        return Received("repeated", stored.id)
    kept = tx.execute(
        _KEEP_BODY,
        id=stored.id,
        meaning=event.meaning,
        body=event.body,
        via=event.via,
        correlation_id=event.correlation_id,
        most=_MOST_BODIES,
    )
    return Received("differs" if kept else "repeated", stored.id, reason=event.reason)


def _keep(tx: Transaction, stored: _Stored, event: Event, error: Exception) -> Received:
    """The event stays, with one task to try again: noted when it became new, not by the same news every half minute."""
    noted = stored.status == "new" and not stored.is_new
    if not noted and stored.status != "new":
        tx.execute("update payment_events set status = 'new', processed_at = null where id = :id", id=stored.id)
    follow_up = (
        () if noted else (outbox.add(tx, "payments", "task_settle", {"event_id": stored.id}, event.correlation_id),)
    )
    return Received("kept", stored.id, error=f"{type(error).__name__}: {error}", follow_up=follow_up)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event read back from the inbox."""

    provider: str
    external_id: str
    body: bytes
    via: str
    correlation_id: str
    status: str
    kind: str = "charge"


class _Body(NamedTuple):
    status: str
    body: bytes


def read_event(tx: Transaction, event_id: int) -> StoredEvent | None:
    """For `task_settle`: the raw event, to be read again by its provider's own reader."""
    return tx.row(
        StoredEvent,
        "select provider, external_id, body, via, correlation_id, status, kind from payment_events where id = :id",
        id=event_id,
    )


def settle_again(tx: Transaction, event_id: int, event: Event, prices: PriceList, outbox_id: int) -> Received:
    """`task_settle`: settle what could not be settled when it came; a failure fails the whole transaction this time.

    Raises:
        RuntimeError: more was said of it since `event` was read: the next attempt reads that.
    """
    stored = tx.one(_Body, "select status, body from payment_events where id = :id for no key update", id=event_id)
    outbox.finish(tx, outbox_id)
    if stored.status != "new":
        return Received("repeated", event_id)
    if stored.body != event.body:
        raise RuntimeError(f"event {event_id} was superseded")
    return settle(tx, event_id, event, prices, is_new=False)


def unknown_of(tx: Transaction, provider: str, external_ids: list[str], kind: str = "charge") -> set[str]:
    """Which of these charges (or other news of one kind) the inbox has not heard of, or has not understood: the others need no transaction of their own."""
    return set(
        tx.values(
            # one look at the unique index for each: as a join, a page of ids makes Postgres read the whole inbox
            "select wanted.id from unnest(cast(:ids as text[])) as wanted (id) where coalesce((select e.status"
            " from payment_events e where e.provider = :provider and e.kind = :kind and e.external_id = wanted.id), 'new')"
            " not in ('settled', 'duplicate', 'unmatched')",
            provider=provider,
            kind=kind,
            ids=external_ids,
        )
    )


# As many pages as our own payments would fill, and two: what we have not heard of stands among them. One a minute.
_PAGE_IN_TURN = """
select cast(floor(extract(epoch from atlas.now()) / 60) as bigint)
       % ((select coalesce(max(id), 0) from payments) / cast(:size as bigint) + 2)
"""


def page_in_turn(tx: Transaction, size: int) -> int:
    """Which page of everything that was ever paid is to be read this minute, from 0; a page has `size` payments.

    Everything is read again within as many minutes as there are pages.
    """
    number: int = tx.value(_PAGE_IN_TURN, size=size)
    return number
