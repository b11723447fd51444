"""What is told to customers outside a dialogue, each under a key that makes it one message (product.md#messages).

Only an attempt whose outcome is unknown counts against a message. It is counted before it is made, so that a crash in the
middle shows, and taken back once the outcome is known.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib.domain import outbox

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from uuid import UUID

    from lib.db import Transaction

REPEATS_S = (60.0, 600.0, 3600.0)
"""When a `must` message is repeated after its first, second and third attempt with unknown outcome; then it is `unclear`."""
_LEASE_S = 60.0
APART_S = 1.0
"""One message a second to a chat: more pass for a short time, and then it is refused."""

# The one place where a message and the work that sends it are added. For a statement that has a CTE
# `told (key, account_id, kind, delivery, due_at, not_after, params)` and the parameter :correlation_id; what follows may select
# from `message_work`, the outbox rows of what is due now. A key that is known adds nothing, nor does what would come too late.
# What is due later (`message_all_work` has it too) waits among the work that was put off, so that sweep_outbox does not look at it
# before.
QUEUE_TOLD = """
message as (
    insert into messages (key, account_id, kind, delivery, due_at, not_after, params, correlation_id)
    select key, account_id, kind, delivery, coalesce(greatest(due_at, atlas.now()), atlas.now()), not_after, params, :correlation_id
    from told
    where not_after is null or not_after > coalesce(greatest(due_at, atlas.now()), atlas.now())
    on conflict (key) do nothing
    returning id, due_at
), message_all_work as (
    insert into outbox (queue, target, payload, correlation_id, not_before, attempt)
    select 'messages', 'task_notify', jsonb_build_object('message_id', id), :correlation_id, due_at,
           case when due_at > atlas.now() then 2 else 1 end
    from message
    returning id, queue, target, payload, attempt, correlation_id, not_before
), message_work as (
    select * from message_all_work where attempt = 1
)
"""

_QUEUE = f"""
with told as (
    select cast(:key as text) as key, cast(:account_id as bigint) as account_id, cast(:kind as text) as kind,
           cast(:delivery as text) as delivery, cast(:due_at as timestamptz) as due_at,
           cast(:not_after as timestamptz) as not_after, cast(:params as jsonb) as params
), {QUEUE_TOLD}
select id, queue, target, payload, attempt, correlation_id from message_work
"""  # noqa: S608 -- a constant fragment

_QUEUE_EACH = f"""
with told as (
    select t.key, t.account_id, cast(:kind as text) as kind, 'must' as delivery, cast(null as timestamptz) as due_at,
           cast(null as timestamptz) as not_after, t.params
    from jsonb_to_recordset(cast(:told as jsonb)) as t (key text, account_id bigint, params jsonb)
), {QUEUE_TOLD}
select id, queue, target, payload, attempt, correlation_id from message_work
"""  # noqa: S608 -- a constant fragment

# By an index of what is unsent. What a task is sending at this moment is left to it. The work stays and finds, at its time, that
# nothing is left to do.
_CANCEL = """
update messages
set status = 'cancelled', finished_at = atlas.now(), last_error = :reason, claimed_by = null, claimed_until = null
where status = 'queued' and account_id = any(cast(:account_ids as bigint[])) and kind = any(cast(:kinds as text[]))
  and starts_with(key, :key_prefix) and (claimed_until is null or claimed_until <= atlas.now())
"""

# Counts the attempt and takes the lease in one: the lease lasts until the moment at which an attempt whose outcome stays
# unknown may be repeated. Nothing is taken while Telegram refuses the bot or this chat, nor within a second of what this chat was
# sent last: the account's row, taken first, is what two messages to one chat meet at.
_CLAIM = """
with chat as (
    update accounts a
    set chat_sent_at = atlas.now()
    from messages m, telegram_budget b
    where m.id = :id and m.status = 'queued' and m.due_at <= atlas.now()
      and (m.claimed_until is null or m.claimed_until <= atlas.now())
      and a.id = m.account_id
      and (a.unreachable_since is not null
           or b.closed_until <= atlas.now() and (a.chat_free_at is null or a.chat_free_at <= atlas.now())
              and (a.chat_sent_at is null or a.chat_sent_at <= atlas.now() - make_interval(secs => :apart_s)))
    returning a.id, a.telegram_id, a.language, a.unreachable_since
)
update messages m
set attempts = m.attempts + 1, unknown_attempts = m.unknown_attempts + 1, claimed_by = gen_random_uuid(),
    claimed_until = atlas.now() + make_interval(secs => coalesce(
        (cast(:repeats_s as double precision[]))[m.unknown_attempts + 1], :lease_s))
from chat
where m.id = :id and m.account_id = chat.id and m.status = 'queued' and m.due_at <= atlas.now()
  and (m.claimed_until is null or m.claimed_until <= atlas.now())
returning m.id, m.key, m.kind, m.delivery, m.params, m.attempts, m.unknown_attempts, m.claimed_by,
          m.account_id, chat.telegram_id, chat.language, chat.unreachable_since is not null as unreachable,
          coalesce(m.not_after < atlas.now(), false) as too_late
"""

# Why a claim gave nothing, and until when that holds; greatest() passes over null.
_WAIT = """
select m.status, atlas.now() as now,
       greatest(atlas.now(), m.due_at, m.claimed_until,
                case when a.unreachable_since is null
                     then greatest(b.closed_until, a.chat_free_at, a.chat_sent_at + make_interval(secs => :apart_s)) end) as until
from messages m join accounts a on a.id = m.account_id cross join telegram_budget b
where m.id = :id
"""

# The message and its work end together, and only for who holds the claim: when it was lost, another task is at work on the
# message and ends the work.
_FINISH = """
with finished as (
    update messages
    set status = :status, finished_at = atlas.now(), telegram_message_id = :telegram_message_id, last_error = :error,
        unknown_attempts = unknown_attempts - case when :status = 'unclear' then 0 else 1 end,
        claimed_by = null, claimed_until = null
    where id = :id and status = 'queued' and claimed_by = :claimed_by
    returning id
)
update outbox set done_at = atlas.now()
where id = :outbox_id and done_at is null and exists (select from finished)
"""

_PUT_OFF = """
update messages
set due_at = atlas.now() + make_interval(secs => :seconds), last_error = :error, unknown_attempts = unknown_attempts - 1,
    attempts = attempts - case when :own_trouble then 0 else 1 end,
    claimed_by = null, claimed_until = null
where id = :id and status = 'queued' and claimed_by = :claimed_by
"""

# What is owed to a customer who can be reached again: each still has to be true when it is rendered.
_RESUME = """
with owed as (
    update messages set status = 'queued', finished_at = null, last_error = null, due_at = atlas.now()
    where account_id = :account_id and status = 'unreachable' and delivery = 'must'
      and (not_after is null or not_after > atlas.now())
    returning id, correlation_id
)
insert into outbox (queue, target, payload, correlation_id)
select 'messages', 'task_notify', jsonb_build_object('message_id', id), correlation_id from owed order by id
returning id, queue, target, payload, attempt, correlation_id
"""

_REVIVE = """
with again as (
    update messages set status = 'queued', finished_at = null, last_error = null, due_at = atlas.now(), correlation_id = :correlation_id
    where key = any(cast(:keys as text[])) and status = 'cancelled'
    returning id, correlation_id
)
insert into outbox (queue, target, payload, correlation_id)
select 'messages', 'task_notify', jsonb_build_object('message_id', id), correlation_id from again order by id
returning id, queue, target, payload, attempt, correlation_id
"""


@dataclass(frozen=True, slots=True)
class Due:
    """A message that this task may send now, and no other until the lease ends.

    Attributes:
        attempts: how often it was about to be sent, this time included.
        unknown_attempts: of them, those whose outcome is unknown, this one included.
        language: None when the customer's was never told.
        unreachable: the customer blocked the bot or is gone.
        too_late: its `not_after` has passed.
    """

    id: int
    key: str
    kind: str
    delivery: str
    params: dict[str, Any]
    attempts: int
    unknown_attempts: int
    claimed_by: UUID
    account_id: int
    telegram_id: int | None
    language: str | None
    unreachable: bool
    too_late: bool

    @property
    def is_last(self) -> bool:
        """Whether an unknown outcome of this attempt ends the message as `unclear`."""
        return self.delivery == "once" or self.unknown_attempts > len(REPEATS_S)

    @property
    def is_spent(self) -> bool:
        """Whether every attempt that it may have was made before this one, each without a known outcome."""
        return self.unknown_attempts > (1 if self.delivery == "once" else len(REPEATS_S) + 1)


@dataclass(frozen=True, slots=True)
class Wait:
    """Why `claim` gave nothing: it is finished, or may not be sent before a moment."""

    status: str
    now: datetime
    until: datetime

    @property
    def seconds(self) -> float:
        """From now."""
        return (self.until - self.now).total_seconds()


def queue(
    tx: Transaction,
    *,
    key: str,
    account_id: int,
    kind: str,
    params: dict[str, Any],
    correlation_id: str,
    delivery: str = "must",
    due_at: datetime | None = None,
    not_after: datetime | None = None,
) -> list[outbox.Item]:
    """Say this once: the follow-up work to enqueue, empty when the key was used before.

    `due_at`: not to be sent before; its work is then made by `sweep_outbox` at that time, and none is returned. `not_after`:
    worth nothing later; what would come too late is not added.
    """
    return tx.rows(
        outbox.Item,
        _QUEUE,
        key=key,
        account_id=account_id,
        kind=kind,
        delivery=delivery,
        due_at=due_at,
        not_after=not_after,
        params=json.dumps(params),
        correlation_id=correlation_id,
    )


def queue_each(
    tx: Transaction, kind: str, told: Sequence[tuple[str, int, dict[str, Any]]], correlation_id: str
) -> list[outbox.Item]:
    """`queue` of one kind to many, in one statement: of each its key, its account's id and its parameters."""
    rows = [{"key": key, "account_id": account_id, "params": params} for key, account_id, params in told]
    return tx.rows(outbox.Item, _QUEUE_EACH, kind=kind, told=json.dumps(rows), correlation_id=correlation_id)


def revive(tx: Transaction, keys: Collection[str], correlation_id: str) -> list[outbox.Item]:
    """Say after all what was cancelled, because it is true again; the work to enqueue, of those that were cancelled."""
    return tx.rows(outbox.Item, _REVIVE, keys=list(keys), correlation_id=correlation_id)


def cancel(
    tx: Transaction, account_ids: Collection[int], kinds: Collection[str], reason: str, *, key_prefix: str = ""
) -> int:
    """What is unsent of these kinds is no longer true; how many messages that were.

    Args:
        tx: the one that makes it untrue; it holds the accounts' rows, or none that a sending task needs.
        account_ids: whose.
        kinds: which.
        reason: for who looks at the message.
        key_prefix: only those whose key begins so, such as `reminder:<subscription>:`.
    """
    return tx.execute(
        _CANCEL, account_ids=list(account_ids), kinds=list(kinds), reason=reason[:300], key_prefix=key_prefix
    )


def claim(tx: Transaction, message_id: int) -> Due | None:
    """Take the message for one attempt, which is counted; None when it may not be sent now (`wait` says why)."""
    return tx.row(Due, _CLAIM, id=message_id, repeats_s=list(REPEATS_S), lease_s=_LEASE_S, apart_s=APART_S)


def wait(tx: Transaction, message_id: int) -> Wait | None:
    """Why `claim` gave nothing; None when there is no such message."""
    return tx.row(Wait, _WAIT, id=message_id, apart_s=APART_S)


def finish(
    tx: Transaction, due: Due, outbox_id: int, status: str, *, telegram_message_id: int | None = None, error: str = ""
) -> None:
    """This attempt decided it: sent, unreachable, unclear, failed or cancelled. Nothing when the claim was lost."""
    tx.execute_with_commit(
        _FINISH,
        id=due.id,
        claimed_by=due.claimed_by,
        outbox_id=outbox_id,
        status=status,
        telegram_message_id=telegram_message_id,
        error=error[:300] or None,
    )


def put_off(
    tx: Transaction, due: Due, outbox_id: int, seconds: float, error: str, *, own_trouble: bool
) -> outbox.Item | None:
    """Certainly not sent: not again before so many seconds; None when the claim was lost.

    `own_trouble`: the message's or its chat's, so the next such wait is longer; trouble of the whole bot leaves no trace.
    """
    ours = tx.execute(
        _PUT_OFF, id=due.id, claimed_by=due.claimed_by, seconds=seconds, error=error[:300], own_trouble=own_trouble
    )
    return outbox.put_off(tx, outbox_id, seconds) if ours else None


def repeat_later(tx: Transaction, due: Due, outbox_id: int, error: str) -> None:
    """The outcome of the attempt is unknown: it stays counted, and the lease stays until the repeat."""
    seconds = REPEATS_S[due.unknown_attempts - 1]
    ours = tx.execute(
        "update messages set last_error = :error where id = :id and status = 'queued' and claimed_by = :claimed_by",
        id=due.id,
        claimed_by=due.claimed_by,
        error=error[:300],
    )
    if ours:
        outbox.put_off(tx, outbox_id, seconds)


def resume(tx: Transaction, account_id: int) -> list[outbox.Item]:
    """The customer can be reached again: queue what is owed to them; the work to enqueue."""
    return tx.rows(outbox.Item, _RESUME, account_id=account_id)
