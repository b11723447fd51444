"""Follow-up work of a transaction (docs/architecture.md, rule 4): a row now, a task after commit, `done_at` by the task."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from lib.db import Transaction


@dataclass(frozen=True, slots=True)
class Overdue:
    """Work that was due long ago and is not done; `count` says no more than that there are so many at least."""

    count: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of follow-up work, ready to be enqueued.

    Attributes:
        target: the function that does it.
        payload: ids, never data: what the task reads is the row as it is then.
        not_before: of work that was put off; None is now.
    """

    id: int
    queue: str
    target: str
    payload: dict[str, Any]
    attempt: int
    correlation_id: str
    not_before: datetime | None = None

    @property
    def task_name(self) -> str:
        """Unique for ever: Cloud Tasks keeps a used name for up to 24 h, so another attempt has another name."""
        return hashlib.sha256(f"{self.id}|{self.attempt}".encode()).hexdigest()[:40]

    @property
    def body(self) -> dict[str, Any]:
        """What the task is sent."""
        return {"outbox_id": self.id, "attempt": self.attempt, "correlation_id": self.correlation_id, **self.payload}


_COLUMNS = "id, queue, target, payload, attempt, correlation_id"

_ADD = f"""
insert into outbox (queue, target, payload, correlation_id)
values (:queue, :target, cast(:payload as jsonb), :correlation_id)
returning {_COLUMNS}
"""  # noqa: S608 -- a constant list of columns

# Enqueued by the process that committed it, unless that instance died; then its age shows it. The name makes a second enqueue harmless.
_NEVER_ENQUEUED = f"""
select {_COLUMNS} from outbox
where done_at is null and enqueued_at is null and attempt = 1
  and not_before <= atlas.now() and created_at < atlas.now() - make_interval(secs => :age_s) and id > :after
order by id limit :page
"""  # noqa: S608 -- a constant list of columns

# Enqueued, and not done although its queue has stopped retrying, or put off to a moment that has come: once more, under the
# next attempt's name. The row moves on only when that task exists (`_MARK`): a queue that refuses costs one pass, and two
# runners make one name. A page a queue and run, no more than it dispatches in half a minute: a slow queue is not flooded.
# Two questions, each with an index of its own: a backlog of one queue, or of what waits for its time, is not read for another.
_STUCK = """
with enqueued as (
    select id, queue, target, payload, attempt + 1 as attempt, correlation_id from outbox
    where done_at is null and queue = :queue and enqueued_at < atlas.now() - make_interval(secs => :window_s)
      and not_before <= atlas.now()
    order by enqueued_at, id limit :page
), put_off as (
    select id, queue, target, payload, attempt + 1 as attempt, correlation_id from outbox
    where done_at is null and queue = :queue and enqueued_at is null and attempt > 1 and not_before <= atlas.now()
    order by not_before, id limit :page
)
select * from enqueued union all select * from put_off order by id limit :page
"""

# Only the attempt whose task was made: a task that ran at once and was put off has moved its row past this attempt.
_MARK = """
update outbox o set attempt = made.attempt, enqueued_at = atlas.now()
from unnest(cast(:ids as bigint[]), cast(:attempts as integer[])) as made (id, attempt)
where o.id = made.id and o.done_at is null
  and (o.attempt = made.attempt - 1 or (o.attempt = made.attempt and o.enqueued_at is null))
"""

# Two further, since `_STUCK` may have used the next attempt's name and died before it was marked.
_PUT_OFF = f"""
update outbox
set not_before = atlas.now() + make_interval(secs => :seconds), enqueued_at = null, attempt = attempt + 2
where id = :id and done_at is null
returning {_COLUMNS}, not_before
"""  # noqa: S608 -- a constant list of columns


# By when it was due, not by when it was enqueued, which every further attempt moves on. Three parts, each by an index of the
# sweep's own questions, so that a backlog is not read to its end to say that it is one.
_OVERDUE = """
with waiting as (
    (select queue, not_before from outbox
     where done_at is null and queue = :queue and enqueued_at is not null order by enqueued_at, id limit :page)
    union all
    (select queue, not_before from outbox
     where done_at is null and queue = :queue and enqueued_at is null and attempt > 1 order by not_before, id limit :page)
    union all
    (select queue, not_before from outbox
     where done_at is null and enqueued_at is null and attempt = 1 order by id limit :page)
)
select count(*) as count, cast(coalesce(extract(epoch from atlas.now() - min(not_before)), 0) as double precision) as oldest_s
from waiting where queue = :queue and not_before < atlas.now() - make_interval(secs => :after_s)
"""


_FINISH = "update outbox set done_at = atlas.now() where id = :id and done_at is null"


def add(tx: Transaction, queue: str, target: str, payload: dict[str, Any], correlation_id: str) -> Item:
    """Note follow-up work in the transaction that causes it."""
    return tx.one(Item, _ADD, queue=queue, target=target, payload=json.dumps(payload), correlation_id=correlation_id)


def finish(tx: Transaction, outbox_id: int) -> bool:
    """The task's own transaction says it is done; False when it was already."""
    return bool(tx.execute(_FINISH, id=outbox_id))


def finish_with_commit(tx: Transaction, outbox_id: int) -> None:
    """The same as a transaction's last statement, which is no round trip of its own."""
    tx.execute_with_commit(_FINISH, id=outbox_id)


def put_off(tx: Transaction, outbox_id: int, seconds: float) -> Item | None:
    """Not now: `sweep_outbox` drives it again, under the next attempt's name, once the moment has come.

    A caller that can't leave a person waiting for the next sweep enqueues what is returned; None when it was done meanwhile.
    """
    return tx.row(Item, _PUT_OFF, id=outbox_id, seconds=seconds)


def never_enqueued(tx: Transaction, after: int, page: int, age_s: float) -> list[Item]:
    """Work whose task was never made, oldest first, a keyset page."""
    return tx.rows(Item, _NEVER_ENQUEUED, after=after, page=page, age_s=age_s)


def mark_enqueued(tx: Transaction, items: list[Item]) -> None:
    """Their tasks exist, each under the name of its item's attempt."""
    tx.execute(_MARK, ids=[item.id for item in items], attempts=[item.attempt for item in items])


def stuck(tx: Transaction, queue: str, page: int, window_s: float) -> list[Item]:
    """The oldest stuck work of a queue, which is done retrying after `window_s` seconds, as its next attempt."""
    return tx.rows(Item, _STUCK, queue=queue, page=page, window_s=window_s)


def overdue(tx: Transaction, queue: str, page: int, after_s: float) -> Overdue:
    """What a queue owes since more than `after_s` seconds."""
    return tx.one(Overdue, _OVERDUE, queue=queue, page=page, after_s=after_s)


def is_open(tx: Transaction, outbox_id: int) -> bool:
    """Whether the work is still to be done; a second task of the same row finds it is not."""
    return bool(tx.value("select done_at is null from outbox where id = :id", id=outbox_id))
