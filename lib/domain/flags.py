"""Switches that an operator flips at run time. No row means on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.domain import audit

if TYPE_CHECKING:
    from lib.db import Transaction

PAYMENTS = "payments"
"""Off: no new orders. Webhooks still record and settle: money that arrives is never refused."""
TRIAL = "trial"

# The row is made first when there is none, so that two who flip it at once queue up on it.
_LOCK = """
insert into flags as f (name, enabled) values (:name, true)
on conflict (name) do update set enabled = f.enabled returning enabled
"""


def enabled(tx: Transaction, name: str) -> bool:
    """Whether the path behind the switch is open."""
    return tx.value("select enabled from flags where name = :name", name=name) is not False


def switch(tx: Transaction, actor: int | None, name: str, *, on: bool, correlation_id: str) -> bool:
    """Set the switch; False when it stands so already. `actor` is the operator's Telegram id, None for a command."""
    before = bool(tx.value(_LOCK, name=name))
    if before == on:
        return False
    tx.execute(
        "update flags set enabled = :on, updated_by = cast(:actor as bigint), updated_at = atlas.now() where name = :name",
        on=on,
        actor=actor,
        name=name,
    )
    audit.record(
        tx,
        actor,
        "flag.switched",
        audit.Subject("flag", name),
        before={"enabled": before},
        after={"enabled": on},
        correlation_id=correlation_id,
    )
    return True
