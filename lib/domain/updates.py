"""Telegram's updates: each has one effect, however often it is delivered (docs/architecture.md, rule 3)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib.db import Query
from lib.domain import outbox

if TYPE_CHECKING:
    from datetime import datetime

    from lib.db import Transaction


@dataclass(frozen=True, slots=True)
class Incoming:
    """One update as it came: `body` is the JSON text."""

    update_id: int
    body: str
    correlation_id: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """What is known of an update: done, with the reply that was stored, or still to be done.

    Attributes:
        closed_until: until when Telegram refuses the whole bot (lib/domain/telegram_budget.py); None when it does not.
    """

    done: bool
    reply: list[dict[str, Any]] | None
    attempts: int
    closed_until: datetime | None


@dataclass(frozen=True, slots=True)
class Handled:
    """An update's committed effect.

    Attributes:
        reply: Bot API calls still to be made, in their order, exactly as stored with the update.
        follow_up: to be enqueued, now that it is committed; empty when the update was done before.
        closed_until: until then no call is to be made, for Telegram refuses the whole bot; None when it does not.
        cap_reached: the trial's daily cap refused the customer: operators are alerted.
    """

    reply: list[dict[str, Any]]
    follow_up: tuple[outbox.Item, ...] = ()
    cap_reached: bool = False
    closed_until: datetime | None = None


class NotYet(Exception):
    """The update can't have its effect before a moment: it is kept, and tried again then.

    Attributes:
        seconds: until that moment.
    """

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(reason)
        self.seconds = seconds


_LONGEST_PAUSE_S = 3600.0

# Waits on the unique index while another delivery of the same update is inside its transaction, then sees its result;
# takes over a row that was stored but never done.
_CLAIM = """
insert into updates (update_id, body, correlation_id) values (:update_id, :body, :correlation_id)
on conflict (update_id) do update set attempts = updates.attempts + 1
returning done_at is not null as done, reply, attempts,
          (select closed_until from telegram_budget where closed_until > atlas.now()) as closed_until
"""

# Kept twice, an update has one task: the unique index outbox_one_per_update refuses a second open one.
_KEEP = """
with kept as (
    insert into updates (update_id, body, correlation_id, last_error)
    values (:update_id, :body, :correlation_id, :error)
    on conflict (update_id) do update
        set last_error = case when updates.done_at is null then excluded.last_error else updates.last_error end
    returning update_id, correlation_id
)
insert into outbox (queue, target, payload, correlation_id)
select 'updates', 'task_update', jsonb_build_object('update_id', update_id), correlation_id from kept
on conflict ((payload ->> 'update_id')) where target = 'task_update' and done_at is null do nothing
returning id, queue, target, payload, attempt, correlation_id
"""

_FINISH = """
update updates set done_at = coalesce(done_at, atlas.now()), reply = cast(:reply as jsonb), last_error = null,
    body = case when :forget_body then '{}' else body end
where update_id = :update_id
"""


def claim_query(incoming: Incoming) -> Query[Claimed]:
    """What consumes the update's key: the first statement of its one effect transaction. Always one row."""
    key = {"update_id": incoming.update_id, "body": incoming.body, "correlation_id": incoming.correlation_id}
    return Query(Claimed, _CLAIM, key)


def claim(tx: Transaction, incoming: Incoming) -> Claimed:
    """Consume the update's key, with no other statement on the way."""
    (claimed,) = tx.ask(claim_query(incoming))
    return claimed


def finish(tx: Transaction, update_id: int, reply: list[dict[str, Any]], *, forget_body: bool = False) -> None:
    """Keep the reply with the effect, so that a second delivery is answered the same; a newer one replaces an older.

    `forget_body`: what the update said of a person is not to be kept.
    """
    tx.execute_with_commit(_FINISH, update_id=update_id, reply=json.dumps(reply), forget_body=forget_body)


def keep(tx: Transaction, incoming: Incoming, error: str) -> outbox.Item | None:
    """Keep an update for `task_update`: its handler failed or ran out of time, or its reply is to be sent later.

    None when its task was made before.
    """
    return tx.row(
        outbox.Item,
        _KEEP,
        update_id=incoming.update_id,
        body=incoming.body,
        correlation_id=incoming.correlation_id,
        error=error[:500],
    )


def stored(tx: Transaction, update_id: int) -> Incoming | None:
    """An update that was kept, or None."""
    return tx.row(
        Incoming,
        "select update_id, body, correlation_id from updates where update_id = :update_id",
        update_id=update_id,
    )


def failed(tx: Transaction, update_id: int, error: str) -> int:
    """Count a failed attempt of `task_update`; how many there were."""
    attempts: int = tx.value(
        "update updates set attempts = attempts + 1, last_error = :error where update_id = :id returning attempts",
        error=error[:500],
        id=update_id,
    )
    return attempts


def give_up(tx: Transaction, update_id: int, outbox_id: int) -> None:
    """It will never work: recorded as done with nothing to say, the error stays with it."""
    tx.execute(
        "update updates set done_at = atlas.now(), reply = '[]' where update_id = :id and done_at is null", id=update_id
    )
    outbox.finish(tx, outbox_id)


@dataclass(frozen=True, slots=True)
class _Undelivered:
    attempts: int
    received_at: datetime
    now: datetime
    closed_until: datetime


def undelivered(
    tx: Transaction, update_id: int, outbox_id: int, told_s: float, *, give_up_after_s: float
) -> outbox.Item | None:
    """The stored reply did not get through: the work that tries again, at its `not_before`.

    The wait doubles each time up to an hour, and is never shorter than what was told (`told_s`, seconds) or than the pause of
    the bot. None when it is given up (the next tap shows the same), or was done meanwhile.
    """
    found = tx.one(
        _Undelivered,
        "select attempts, received_at, atlas.now() as now, greatest(closed_until, atlas.now()) as closed_until"
        " from updates cross join telegram_budget where update_id = :id",
        id=update_id,
    )
    closed_s = (found.closed_until - found.now).total_seconds()
    seconds = max(told_s, closed_s, min(2.0 ** min(found.attempts, 12), _LONGEST_PAUSE_S))
    if (found.now - found.received_at).total_seconds() + seconds > give_up_after_s:
        outbox.finish(tx, outbox_id)
        return None
    return outbox.put_off(tx, outbox_id, seconds)
