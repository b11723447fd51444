"""A provider's own list of all that moved, which begins with its oldest line: how far it was read, and what it alone tells of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lib.db import idempotent
from lib.domain import inbox, ledger
from lib.domain.postings import About, Amount, posting, table
from lib.domain.settlement import Received

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from lib.db import Transaction
    from lib.domain.pricelist import PriceList
    from lib.domain.settlement import Event

TOLD_WITHIN_S = 600
"""So long after money left may the update of its refund still be on its way; what none told of then is a chargeback."""


def read_to(tx: Transaction, provider: str) -> int:
    """How many lines of the list were taken up, from its beginning on."""
    number: int = tx.value(
        "select coalesce((select read_to from provider_listings where provider = :provider), 0)", provider=provider
    )
    return number


@idempotent
def note_read(tx: Transaction, provider: str, number: int) -> None:
    """So many lines were taken up, or are to be taken up again."""
    tx.execute(
        "insert into provider_listings (provider, read_to) values (:provider, :number)"
        " on conflict (provider) do update set read_to = excluded.read_to",
        provider=provider,
        number=number,
    )


# As many pages as were read, and the one that is being filled. One a minute.
_PAGE_IN_TURN = """
select cast(floor(extract(epoch from atlas.now()) / 60) as bigint)
       % (coalesce((select read_to from provider_listings where provider = :provider), 0) / cast(:size as bigint) + 1)
"""


def page_in_turn(tx: Transaction, provider: str, size: int) -> int:
    """Which page of what was read is to be read again this minute, from 0: a line may have come to stand between others."""
    number: int = tx.value(_PAGE_IN_TURN, provider=provider, size=size)
    return number


@dataclass(frozen=True, slots=True)
class Commission:
    """What an affiliate got of a charge, in minor units of the books."""

    charge_id: str
    amount: int
    currency: str


_COMMISSIONS_POSTED = """
select substring(t.key from length(:prefix) + 1) from unnest(cast(:ids as text[])) as wanted (id)
join ledger_transfers t on t.key = :prefix || wanted.id
"""


def commissions_posted(tx: Transaction, provider: str, charge_ids: Sequence[str]) -> set[str]:
    """Of which of these charges the affiliate's part is in the books."""
    prefix = f"affiliate_commission:{provider}:"
    return set(tx.values(_COMMISSIONS_POSTED, prefix=prefix, ids=list(charge_ids)))


@idempotent
def book_commission(tx: Transaction, provider: str, commission: Commission) -> bool:
    """An affiliate's part of a charge, once; False when it was booked before."""
    cost = posting(
        table.AFFILIATE_COMMISSION,
        About(provider=provider, external_id=commission.charge_id),
        fee=Amount(commission.amount, commission.currency),
    )
    try:
        ledger.post(tx, cost)
    except ledger.PostedBefore:
        return False
    return True


# Debits --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Debit:
    """A line by which a charge's money left.

    Attributes:
        charge_id: the key of the charge.
        moved_at: when, as the list says it; None when it does not.
        number: which of several of this charge in that very second, from 1.
        amount: all that left, in minor units of the books.
        commission: what of it came from an affiliate, whose part is undone.
        position: in its page, from 0.
    """

    charge_id: str
    moved_at: datetime | None
    number: int
    amount: int
    currency: str
    position: int
    commission: int = 0


def told_by_now(tx: Transaction) -> datetime:
    """What left before this moment, and was told of by no update, never will be."""
    moment: datetime = tx.value("select atlas.now() - make_interval(secs => :seconds)", seconds=TOLD_WITHIN_S)
    return moment


_SEEN = """
insert into listed_debits (provider, charge_id, moved_at, number)
values (:provider, :charge_id, coalesce(cast(:moved_at as timestamptz), '-infinity'), :number)
on conflict do nothing
"""

# The charge itself is locked first, as wherever its money moves: so one debit of it is taken up after the other.
_CHARGE = """
select id from payment_events where provider = :provider and kind = 'charge' and external_id = :charge_id for no key update
"""
_OTHERS = """
select exists (select from listed_debits where provider = :provider and charge_id = :charge_id
               and (moved_at, number) <> (coalesce(cast(:moved_at as timestamptz), '-infinity'), :number))
"""
_TOLD = """
select exists (select from payment_events
               where provider = :provider and kind in ('refund', 'chargeback') and external_id = :charge_id)
"""


@idempotent
def take_up_debit(tx: Transaction, event: Event, debit: Debit, prices: PriceList) -> Received:
    """Money of a charge left: as its refund told already, as a chargeback that only the list tells of, or once more.

    Args:
        tx: all of it happens, or nothing.
        event: the line as news: a chargeback.
        debit: which line it is.
        prices: of today.
    """
    line = {
        "provider": event.provider,
        "charge_id": debit.charge_id,
        "moved_at": debit.moved_at,
        "number": debit.number,
    }
    if not tx.execute(_SEEN, **line):
        return Received("repeated", 0)
    charge = tx.value(_CHARGE, provider=event.provider, charge_id=debit.charge_id)
    if tx.value(_OTHERS, **line):
        return _again(tx, event, debit, prices)
    if debit.commission:
        _undo_commission(tx, event.provider, debit)
    if tx.value(_TOLD, provider=event.provider, charge_id=debit.charge_id):
        return Received("repeated", charge or 0)
    return inbox.receive(tx, event, prices)


_COMMISSION = """
select t.id from ledger_transfers t left join ledger_transfers undone on undone.reverses_id = t.id
where t.key = :key and undone.id is null
  and (select sum(e.amount) from ledger_entries e where e.transfer_id = t.id) = :amount
"""
_CAME_BACK = "came back with its charge"
"""The one reason for which a transfer is undone without an operator: the database knows it too."""


def _undo_commission(tx: Transaction, provider: str, debit: Debit) -> None:
    """The affiliate gave its part back, all of it; another amount is left to the comparison with the provider."""
    key = f"affiliate_commission:{provider}:{debit.charge_id}"
    transfer_id = tx.value(_COMMISSION, key=key, amount=debit.commission)
    if transfer_id is not None:
        ledger.reverse(tx, transfer_id, actor_id=None, reason=_CAME_BACK)


def _again(tx: Transaction, event: Event, debit: Debit, prices: PriceList) -> Received:
    """One charge can go back once: what left again is news of its own, under a name that its line alone has.

    What it says is booked as lost (`refunds.receive`); what can't be read of it is kept, and told once.
    """
    moment = debit.moved_at.isoformat() if debit.moved_at else "undated"
    received = inbox.receive(tx, replace(event, external_id=f"{debit.charge_id}:{moment}:{debit.number}"), prices)
    return replace(received, outcome="second_debit") if received.outcome == "settled" else received
