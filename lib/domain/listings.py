"""A provider's own list of all that moved, which begins with its oldest line: how far it was read, and what it alone tells of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.db import idempotent
from lib.domain import ledger
from lib.domain.postings import About, Amount, posting, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lib.db import Transaction


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
