"""A new key for the same access: who gave the old one away, or lost it, asks for another (product.md#subscription).

The UUID is born in this transaction; the old key goes on working on each node until that node has the new one, since a node adds a
client under its new name before it removes the old (xray_api/converge.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lib.domain import outbox, subscriptions

if TYPE_CHECKING:
    from uuid import UUID

    from lib.db import Transaction


class Refusal(StrEnum):
    """Why there is no new key; nothing was changed."""

    NO_ACCESS = "no-access"
    FROZEN = "frozen"
    TOO_OFTEN = "too-often"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Reissued:
    """A new key, which its nodes do not have yet."""

    subscription_id: int
    generation: int
    follow_up: tuple[outbox.Item, ...]


@dataclass(frozen=True, slots=True)
class _New:
    uuid: UUID
    version: int
    generation: int


# Of frozen access the key changes all the same, and its nodes get it with the thaw.
_REISSUE = """
update subscriptions
set uuid = gen_random_uuid(), version = version + 1, feed_generation = feed_generation + 1,
    activation_status = case when status = 'active' then 'pending' else activation_status end,
    pending_since = case when status = 'active' then atlas.now() else pending_since end,
    placement = (select generation from placement), updated_at = atlas.now()
where id = :id
returning uuid, version, feed_generation as generation
"""

# How many of a customer's own there were within a day: those of operators are not counted.
_TODAY = """
select count(*) from subscription_history
where subscription_id = :id and event = 'reissued' and actor_id is null and created_at > atlas.now() - interval '24 hours'
"""

# The key that nodes had before, as long as one of them has it and none has the new one. Only of a reissue: a key of access that
# had ended is no key, though a node may still hold it.
_OLD_LINK = """
select c.link from subscriptions s join node_clients c on c.subscription_id = s.id join nodes n on n.id = c.node_id
where s.account_id = :account_id and s.status = 'active' and s.activation_status = 'pending' and s.expires_at > atlas.now()
  and c.wanted and c.link is not null and c.applied_version is not null and c.applied_uuid <> s.uuid
  and (select h.event from subscription_history h where h.subscription_id = s.id and h.uuid = s.uuid order by h.id limit 1) = 'reissued'
  and exists (select from subscription_history h where h.subscription_id = s.id and h.uuid = c.applied_uuid
              and h.id > coalesce((select max(ended.id) from subscription_history ended
                                   where ended.subscription_id = s.id and ended.event in ('expired', 'revoked')), 0))
order by n.lost_since is not null, n.weight desc, c.node_id limit 1
"""


def left_today(tx: Transaction, subscription_id: int, a_day: int) -> int:
    """How many new keys the customer may still ask for within these 24 hours, of so many a day."""
    return max(a_day - int(tx.value(_TODAY, id=subscription_id)), 0)


def reissue(
    tx: Transaction,
    account_id: int,
    *,
    correlation_id: str,
    a_day: int | None = None,
    generation: int | None = None,
    actor_id: int | None = None,
) -> Reissued | Refusal:
    """Give the access a new key; its end stays.

    Args:
        tx: of its own, or of the update.
        account_id: whose.
        correlation_id: of the update or command.
        a_day: how many a customer has a day; None: as many as are asked for.
        generation: of the key that was looked at: of another one nothing is changed, so that two taps are one.
        actor_id: the operator, by Telegram id; None: the customer.
    """
    tx.reach("reissue.before-claim")
    tx.value("select id from accounts where id = :id for no key update", id=account_id)
    held = subscriptions.locked(tx, account_id)
    tx.reach("reissue.after-claim")
    if held is None or not (held.is_current or held.status == "frozen"):
        return Refusal.NO_ACCESS
    if generation is not None and held.generation != generation:
        return Refusal.STALE
    if held.status == "frozen" and actor_id is None:
        return Refusal.FROZEN
    if a_day is not None and not left_today(tx, held.id, a_day):
        return Refusal.TOO_OFTEN
    new = tx.one(_New, _REISSUE, id=held.id)
    tx.reach("reissue.mid-transaction")
    subscriptions.changed(
        tx,
        held,
        "reissued",
        uuid=new.uuid,
        version=new.version,
        expires_at=held.expires_at,
        runs=held.status == "active",
        actor_id=actor_id,
    )
    work = outbox.add(tx, "nodes", "task_provision", {"subscription_id": held.id}, correlation_id)
    return Reissued(held.id, new.generation, (work,))


def old_link(tx: Transaction, account_id: int) -> str | None:
    """The link of the key before, as long as it is the one that works; None once the new one does, or of anything but a reissue."""
    link: str | None = tx.value(_OLD_LINK, account_id=account_id)
    return link
