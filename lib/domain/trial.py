"""The free start: once per account for life (product.md#trial). The screen and the action use one rule, `eligible`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from lib.domain import outbox, subscriptions

if TYPE_CHECKING:
    from lib.db import Transaction
    from lib.domain.pricelist import Trial
    from lib.domain.subscriptions import Grant

# Never used, nothing ever paid, and no access now. Gifts received and admin grants are no paid history, but while they
# run a trial would add nothing and is kept for later.
_ELIGIBLE = """
select a.trial_used_at is null and a.banned_at is null
   and not exists (select from payments p where p.account_id = a.id)
   and not exists (select from subscriptions s
                   where s.account_id = a.id
                     and (s.status = 'active' and s.expires_at > atlas.now() or s.status = 'frozen'))
from accounts a where a.id = :account_id
"""

# Counts and marks at one moment, which a local clock that is moved between two statements would not be: the counter's day is
# the mark's. The day's row is the cap's lock: it never counts above the cap, however many begin at once, and what it does not
# count is not marked. That the mark is free was seen under the account's lock.
_COUNT_AND_MARK = """
with counted as (
    insert into trial_days (day, used) values (cast(atlas.now() as date), 1)
    on conflict (day) do update set used = trial_days.used + 1 where trial_days.used < :cap
    returning day
)
update accounts set trial_used_at = atlas.now() where id = :account_id and trial_used_at is null and exists (select from counted)
"""


class Refusal(Enum):
    """Why there is no trial."""

    NOT_ELIGIBLE = "not_eligible"
    CAP_REACHED = "cap_reached"


@dataclass(frozen=True, slots=True)
class Started:
    """The trial began."""

    grant: Grant
    follow_up: tuple[outbox.Item, ...]


def eligible(tx: Transaction, account_id: int) -> bool:
    """Whether the account may have a trial now; the menu shows the button by this very rule."""
    return bool(tx.value(_ELIGIBLE, account_id=account_id))


def start(tx: Transaction, account_id: int, terms: Trial, correlation_id: str) -> Started | Refusal:
    """Mark and grant in one transaction. A second call refuses; it never shortens or changes access.

    One whom the daily cap over all accounts refuses is not marked, and may try again tomorrow.
    """
    # The account's row first: a settlement of the same account waits here, so both can't slip past each other's check.
    tx.value("select id from accounts where id = :id for no key update", id=account_id)
    if not eligible(tx, account_id):
        return Refusal.NOT_ELIGIBLE
    if not tx.execute(_COUNT_AND_MARK, account_id=account_id, cap=terms.daily_cap):
        return Refusal.CAP_REACHED
    grant = subscriptions.grant(tx, account_id, tariff=terms.tariff, seconds=terms.hours * 3600, source="trial")
    tx.reach("trial.mid-transaction")
    item = outbox.add(tx, "nodes", "task_provision", {"subscription_id": grant.subscription_id}, correlation_id)
    return Started(grant, (item,))
