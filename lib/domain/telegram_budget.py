"""Until when nothing is sent to Telegram: a pause of the whole bot, and pauses of single chats.

A pause of the bot is one row that every sender reads with what it takes up, so one refusal of the whole bot (a wrong token,
Telegram out of reach) is met once per pause, and not once per message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lib.db import Transaction

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
