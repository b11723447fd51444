"""What is told to customers outside a dialogue, each under a key that makes it one message (product.md#messages)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib.domain import outbox

if TYPE_CHECKING:
    from uuid import UUID

    from lib.db import Transaction

MUST_ATTEMPTS = 3
"""A `must` message is attempted so often; it may repeat."""
REPEAT_AFTER_S = 60.0
"""How long after an attempt with unknown outcome a `must` message is sent again."""
_LEASE_S = 45.0

# The row and its follow-up work in one statement; nothing at all when the key is known.
_QUEUE = """
with message as (
    insert into messages (key, account_id, kind, delivery, params)
    values (:key, :account_id, :kind, :delivery, cast(:params as jsonb))
    on conflict (key) do nothing
    returning id
)
insert into outbox (queue, target, payload, correlation_id)
select 'messages', 'task_notify', jsonb_build_object('message_id', id), :correlation_id from message
returning id, queue, target, payload, attempt, correlation_id
"""

# Marks the attempt before it is made: a crash in between leaves an attempt of unknown outcome, which the counter shows.
_CLAIM = """
update messages m
set attempts = m.attempts + 1, claimed_by = gen_random_uuid(),
    claimed_until = atlas.now() + make_interval(secs => :lease_s)
from accounts a
where m.id = :id and m.status = 'queued' and (m.claimed_until is null or m.claimed_until <= atlas.now())
  and a.id = m.account_id
returning m.id, m.key, m.kind, m.delivery, m.params, m.attempts, m.claimed_by,
          m.account_id, a.telegram_id, a.language, a.unreachable_since is not null as unreachable
"""

_FINISH = """
update messages
set status = :status, finished_at = atlas.now(), telegram_message_id = :telegram_message_id, last_error = :error,
    claimed_by = null, claimed_until = null
where id = :id and status = 'queued' and claimed_by = :claimed_by
"""


@dataclass(frozen=True, slots=True)
class Due:
    """A message that this task may send now, and no other until the lease ends."""

    id: int
    key: str
    kind: str
    delivery: str
    params: dict[str, Any]
    attempts: int
    claimed_by: UUID
    account_id: int
    telegram_id: int | None
    language: str
    unreachable: bool


@dataclass(frozen=True, slots=True)
class State:
    """Where a message stands."""

    status: str
    delivery: str
    attempts: int
    lease_left_s: float


def queue(
    tx: Transaction,
    *,
    key: str,
    account_id: int,
    kind: str,
    params: dict[str, Any],
    correlation_id: str,
    delivery: str = "must",
) -> list[outbox.Item]:
    """Say this once: the follow-up work to enqueue, empty when the key was used before."""
    return tx.rows(
        outbox.Item,
        _QUEUE,
        key=key,
        account_id=account_id,
        kind=kind,
        delivery=delivery,
        params=json.dumps(params),
        correlation_id=correlation_id,
    )


def claim(tx: Transaction, message_id: int) -> Due | None:
    """Take the message for one attempt; None when it is finished or another task holds its lease."""
    return tx.row(Due, _CLAIM, id=message_id, lease_s=_LEASE_S)


def state(tx: Transaction, message_id: int) -> State | None:
    """Why `claim` gave nothing."""
    return tx.row(
        State,
        "select status, delivery, attempts,"
        " cast(greatest(0, coalesce(extract(epoch from claimed_until - atlas.now()), 0)) as double precision)"
        " as lease_left_s from messages where id = :id",
        id=message_id,
    )


def finish(
    tx: Transaction, due: Due, outbox_id: int, status: str, *, telegram_message_id: int | None = None, error: str = ""
) -> None:
    """This attempt decided it: sent, unreachable, unclear or failed."""
    tx.execute(
        _FINISH,
        id=due.id,
        claimed_by=due.claimed_by,
        status=status,
        telegram_message_id=telegram_message_id,
        error=error[:300] or None,
    )
    outbox.finish(tx, outbox_id)


def release(
    tx: Transaction, due: Due, outbox_id: int, seconds: float, *, error: str, refund_attempt: bool
) -> outbox.Item | None:
    """Not delivered for certain (flood control, refused before it was taken): later, by its own time (`outbox.put_off`)."""
    tx.execute(
        "update messages set claimed_by = null, claimed_until = null, last_error = :error,"
        " attempts = attempts - case when :refund then 1 else 0 end where id = :id and claimed_by = :claimed_by",
        id=due.id,
        claimed_by=due.claimed_by,
        error=error[:300],
        refund=refund_attempt,
    )
    return outbox.put_off(tx, outbox_id, seconds)


def keep_claim(tx: Transaction, due: Due, outbox_id: int, error: str) -> None:
    """The outcome of the attempt is unknown: nobody sends it for a minute, then it is sent again."""
    tx.execute(
        "update messages set claimed_until = atlas.now() + make_interval(secs => :wait), last_error = :error"
        " where id = :id and claimed_by = :claimed_by",
        id=due.id,
        claimed_by=due.claimed_by,
        wait=REPEAT_AFTER_S,
        error=error[:300],
    )
    outbox.put_off(tx, outbox_id, REPEAT_AFTER_S)


def mark_unreachable(tx: Transaction, account_id: int) -> None:
    """The person blocked the bot or is gone; until they write again nothing is sent."""
    tx.execute(
        "update accounts set unreachable_since = coalesce(unreachable_since, atlas.now()) where id = :id",
        id=account_id,
    )
