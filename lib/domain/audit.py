"""What operators did: one row an action, in a chain of hashes (docs/data.md, Audit log).

Postgres links a new row to the one before (the trigger `audit_link`), so the chain is whole by whichever program a row is added. The lock that this
takes is held until COMMIT: `record` belongs at the end of its transaction.

Recorded are roles and flags, access and balance by hand, and how suspense ends.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lib.db import Transaction

Fault = Literal["changed", "removed", "inserted"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What was acted on, such as `Subject("account", "17")`: never a name, a link or a UUID."""

    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class Broken:
    """A row of the chain that is not as it was written."""

    id: int
    fault: Fault


_RECORD = """
insert into audit_log (actor, action, subject_kind, subject_key, before, after, correlation_id)
values (cast(:actor as bigint), :action, :subject_kind, :subject_key, cast(:before as jsonb), cast(:after as jsonb), :correlation_id)
"""

# A row is as it was written when its own hash is right and the next row (the head, for the last one) holds that hash. A row whose
# hash is right for what it says now, but is not the one that the next row holds, was changed together with its hash; unless it is
# the next row that was changed, which then names itself. Missing ids are those that the next row, or the head, leaves out.
_VERIFY = """
with page as (
    select e.id, e.hash, e.previous_hash, audit_hash(e) = e.hash as sound,
           lag(e.id, 1, cast(0 as bigint)) over chain as id_before, lead(e.id) over chain as id_after
    from audit_log e window chain as (order by e.id)
), judged as (
    select p.id, cast('inserted' as text) as fault
    from page p cross join audit_head h where p.id > h.last_id or p.id < 1
    union all
    select p.id, 'changed' from page p cross join audit_head h left join page n on n.id = p.id + 1 and n.id <= h.last_id
    where p.id between 1 and h.last_id
      and (not p.sound
           or (n.id is not null and n.sound and n.previous_hash <> p.hash)
           or (p.id = h.last_id and p.hash <> h.last_hash)
           or (p.id = 1 and p.previous_hash <> decode(repeat('00', 32), 'hex')))
    union all
    select missing.id, 'removed' from page p cross join audit_head h
    cross join generate_series(greatest(p.id_before, 0) + 1, least(p.id, h.last_id + 1) - 1) as missing(id)
    union all
    select missing.id, 'removed' from audit_head h
    cross join generate_series((select coalesce(max(id), 0) from audit_log) + 1, h.last_id) as missing(id)
)
select id, fault from judged order by id limit :most
"""


def record(
    tx: Transaction,
    actor: int | None,
    action: str,
    subject: Subject,
    *,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    correlation_id: str,
) -> None:
    """Add what an operator does to the chain, in the transaction that does it.

    Args:
        tx: of the action itself.
        actor: the operator's Telegram id; None for a command.
        action: such as `role.granted`.
        subject: what it is done to.
        before: the values that change, as they were; None when there was nothing. No secrets.
        after: as they are now; None when nothing is left.
        correlation_id: of the update or command.
    """
    tx.execute(
        _RECORD,
        actor=actor,
        action=action,
        subject_kind=subject.kind,
        subject_key=subject.key,
        before=None if before is None else json.dumps(before),
        after=None if after is None else json.dumps(after),
        correlation_id=correlation_id,
    )


def verify(tx: Transaction, most: int = 100) -> list[Broken]:
    """Up to `most` rows that were changed, removed or put in since they were written, by id; empty when the chain is whole.

    Who can write as the owner of the database can write a whole new chain: only a copy elsewhere shows that.
    """
    return tx.rows(Broken, _VERIFY, most=most)
