"""Telegram's updates: each has one effect, however often it is delivered (docs/architecture.md, rule 3)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib.db import Query
from lib.domain import outbox

if TYPE_CHECKING:
    from lib.db import Transaction


@dataclass(frozen=True, slots=True)
class Incoming:
    """One update as it came: `body` is the JSON text."""

    update_id: int
    body: str
    correlation_id: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """What is known of an update: done, with the reply that was stored, or still to be done."""

    done: bool
    reply: list[dict[str, Any]] | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Handled:
    """An update's committed effect.

    Attributes:
        reply: Bot API calls still to be made, in their order, exactly as stored with the update.
        follow_up: to be enqueued, now that it is committed; empty when the update was done before.
        cap_reached: the trial's daily cap refused the customer: operators are alerted.
    """

    reply: list[dict[str, Any]]
    follow_up: tuple[outbox.Item, ...] = ()
    cap_reached: bool = False


# Waits on the unique index while another delivery of the same update is inside its transaction, then sees its result;
# takes over a row that was stored but never done.
_CLAIM = """
insert into updates (update_id, body, correlation_id) values (:update_id, :body, :correlation_id)
on conflict (update_id) do update set attempts = updates.attempts + 1
returning done_at is not null as done, reply, attempts
"""

_STORE = """
insert into updates (update_id, body, correlation_id, last_error)
values (:update_id, :body, :correlation_id, :error)
on conflict (update_id) do update set last_error = excluded.last_error where updates.done_at is null
"""

_FINISH = """
update updates set done_at = coalesce(done_at, atlas.now()), reply = cast(:reply as jsonb), last_error = null
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


def finish(tx: Transaction, update_id: int, reply: list[dict[str, Any]]) -> None:
    """Keep the reply with the effect, so that a second delivery is answered the same; a newer one replaces an older."""
    tx.conclude(_FINISH, update_id=update_id, reply=json.dumps(reply))


def store(tx: Transaction, incoming: Incoming, error: str) -> None:
    """Keep an update whose handler failed or ran out of time, for `task_update`."""
    tx.execute(
        _STORE,
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
