"""How much is sent to Telegram, over all instances: slots of one budget, a pause of the whole bot, and pauses of single chats.

Who sends leases slots from one row. Answers to customers ask for none, so that a tap never waits for that row: what they took in
the last second is read from the updates they answer, and is taken off at each lease. So customers come first, then messages, and
broadcasts have what is left.

A pause of the bot is one row that every sender reads with what it takes up, so one refusal of the whole bot (a wrong token,
Telegram out of reach) is met once per pause, and not once per message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from lib.db import Transaction

PER_SECOND = 30
"""What Telegram takes of a bot in a second (its FAQ)."""
BROADCASTS_PER_SECOND = 20
KEPT_FOR_MESSAGES = 10
"""Of a second's slots, those that no broadcast gets."""
AT_ONCE = 10
"""Of one lease, and of a third of a second: two bursts a second apart would meet at Telegram when the network delays the first."""

# One who waits for the row reads it as it is then. Its moments are those of slots, so any second has so many and no more, wherever
# it begins. Who began earlier and waited is behind the last one.
_LEASE = """
with answered as materialized (
    select count(*) as count
    from updates u cross join lateral jsonb_array_elements(u.reply) as made (call)
    where u.done_at > atlas.now() - interval '1 second' and made.call ? 'chat_id'
), held as materialized (
    select closed_until, slots, broadcast_slots, greatest(atlas.now(), slots[cardinality(slots)]) as at
    from telegram_budget for update
), recent as materialized (
    select closed_until, at, array(select s from unnest(slots) s where s > at - interval '1 second' order by s) as slots,
           array(select s from unnest(broadcast_slots) s where s > at - interval '1 second' order by s) as broadcast_slots,
           (select count(*) from unnest(slots) s where s > at - interval '1 second' / 3) as just_now
    from held
), free as materialized (
    select recent.*, least(
        :at_once - just_now,
        :per_second - cardinality(slots) - answered.count - case when :broadcast then :kept else 0 end,
        case when :broadcast then :broadcasts - cardinality(broadcast_slots) end) as count
    from recent, answered
), leased as materialized (
    select free.*, cast(case when closed_until > at then 0 else greatest(0, least(free.count, :wanted)) end as integer) as given
    from free
)
update telegram_budget b
set slots = l.slots || array_fill(l.at, array[l.given]),
    broadcast_slots = l.broadcast_slots || case when :broadcast then array_fill(l.at, array[l.given]) else '{}' end
from leased l
returning l.given as count, l.at as now, greatest(
    l.closed_until,
    case when l.given >= :wanted then l.at
         when l.just_now >= :at_once then l.at + interval '1 second' / 3
         else coalesce(l.slots[1], l.at) + interval '1 second' end) as until
"""

# Tells whether the bot was open before: of all who are refused at one time, one rings the alert.
_CLOSE = """
with before as (
    select closed_until <= atlas.now() as was_open from telegram_budget for update
)
update telegram_budget b
set closed_until = greatest(b.closed_until, atlas.now() + make_interval(secs => :seconds)), reason = :reason
from before
returning before.was_open
"""

# Whether another chat is refused at this moment too.
_PAUSE_CHAT = """
with paused as (
    update accounts
    set chat_free_at = greatest(chat_free_at, atlas.now() + make_interval(secs => :seconds))
    where telegram_id = :telegram_id
)
select exists (select from accounts where chat_free_at > atlas.now() and telegram_id <> :telegram_id) as others
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """How many calls may be made at once, now, and when to ask for the rest."""

    count: int
    now: datetime
    until: datetime

    @property
    def wait_s(self) -> float:
        """From now, in seconds."""
        return (self.until - self.now).total_seconds()


def lease(tx: Transaction, wanted: int, *, broadcast: bool = False) -> Lease:
    """Take slots for calls that are made now, up to ten; of broadcasts at most 20 a second and never the last 10.

    A transaction of its own, since every sender meets at its row.
    """
    return tx.one(
        Lease,
        _LEASE,
        wanted=wanted,
        broadcast=broadcast,
        at_once=AT_ONCE,
        per_second=PER_SECOND,
        broadcasts=BROADCASTS_PER_SECOND,
        kept=KEPT_FOR_MESSAGES,
    )


def close(tx: Transaction, seconds: float, reason: str) -> bool:
    """Nothing is sent for so many seconds; True when the bot was open until now, so that an alert rings once per pause."""
    return bool(tx.value(_CLOSE, seconds=seconds, reason=reason[:200]))


def pause_chat(tx: Transaction, telegram_id: int, seconds: float, *, close_s: float, reason: str) -> bool:
    """Telegram refused one chat for a time (flood control, trouble at Telegram).

    A single chat waits alone. When a second one is refused within that time, it is taken for the whole bot's trouble, and
    the bot is closed for `close_s`; True when it was open until now.
    """
    others = tx.value(_PAUSE_CHAT, telegram_id=telegram_id, seconds=seconds)
    return bool(others) and close(tx, close_s, reason)
