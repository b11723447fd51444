"""Operators: their roles, and the switches they flip, each change with its row in the audit log.

Owners are a setting (`ADMIN_IDS`) and have no row. No customer's path loads this module.

Roles are changed by SQL (docs/runbooks): no screen offers it. Flags are switched at the operations desk (lib/bot/operations).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from lib.domain import audit

if TYPE_CHECKING:
    from collections.abc import Collection

    from lib.db import Transaction


# The row is made first when there is none, so that two who flip it at once queue up on it.
_LOCK_FLAG = """
insert into flags as f (name, enabled) values (:name, true)
on conflict (name) do update set enabled = f.enabled returning enabled
"""


class Role(StrEnum):
    """What an operator may do is decided by their roles; `OWNER` comes from the setting alone."""

    OWNER = "owner"
    FINANCE = "finance"
    SUPPORT = "support"
    MARKETING = "marketing"
    OBSERVER = "observer"


class Action(StrEnum):
    """What operators do, as far as roles tell it apart."""

    SEE_CUSTOMER = "see_customer"
    SEE_MONEY = "see_money"
    END_SUSPENSE = "end_suspense"
    ADJUST = "adjust"
    REFUND = "refund"
    TAKE_STATEMENT = "take_statement"
    SEE_OPERATIONS = "see_operations"
    OPERATE = "operate"
    SWITCH = "switch"
    CHANGE_ACCESS = "change_access"
    BAN = "ban"


_MONEY = frozenset({Role.OWNER, Role.FINANCE})
_ACCESS = frozenset({Role.OWNER, Role.SUPPORT})
MAY: dict[Action, frozenset[Role]] = {
    Action.SEE_CUSTOMER: _MONEY | {Role.SUPPORT},
    Action.SEE_MONEY: _MONEY,
    Action.END_SUSPENSE: _MONEY,
    Action.ADJUST: _MONEY,
    Action.REFUND: _MONEY,
    Action.TAKE_STATEMENT: _MONEY,
    Action.SEE_OPERATIONS: _MONEY | {Role.SUPPORT, Role.OBSERVER},
    # stored work run again or given up, sweeps, breakers, nodes drained and back; of payment events END_SUSPENSE decides
    Action.OPERATE: frozenset({Role.OWNER, Role.SUPPORT}),
    # what opens or closes a path of the whole shop
    Action.SWITCH: frozenset({Role.OWNER}),
    Action.CHANGE_ACCESS: _ACCESS,
    Action.BAN: _ACCESS,
}
"""Which roles may do what: the one table."""


def may(held: Collection[Role], action: Action) -> bool:
    """Whether one of the roles is enough."""
    return not MAY[action].isdisjoint(held)


def roles(tx: Transaction, telegram_id: int, owners: Collection[int]) -> frozenset[Role]:
    """The person's roles now; empty for a customer. Asked by every action anew: a role that is lost ends at once."""
    given = tx.values("select role from operators where telegram_id = :telegram_id", telegram_id=telegram_id)
    return frozenset(map(Role, given)) | ({Role.OWNER} if telegram_id in owners else frozenset())


def grant(tx: Transaction, actor: int, telegram_id: int, role: Role, correlation_id: str) -> bool:
    """Give the role; False when they have it. The caller has checked that `actor` is an owner.

    Raises:
        ValueError: the role of owners, which only the setting gives.
    """
    _check(role)
    given = tx.execute(
        "insert into operators (telegram_id, role, granted_by) values (:telegram_id, :role, :actor) on conflict do nothing",
        telegram_id=telegram_id,
        role=role.value,
        actor=actor,
    )
    if given:
        subject = audit.Subject("operator", str(telegram_id))
        audit.record(
            tx, actor, "role.granted", subject, before=None, after={"role": role.value}, correlation_id=correlation_id
        )
    return bool(given)


def revoke(tx: Transaction, actor: int, telegram_id: int, role: Role, correlation_id: str) -> bool:
    """Take the role away; False when they don't have it. The caller has checked that `actor` is an owner.

    Raises:
        ValueError: the role of owners, which only the setting takes.
    """
    _check(role)
    taken = tx.execute(
        "delete from operators where telegram_id = :telegram_id and role = :role",
        telegram_id=telegram_id,
        role=role.value,
    )
    if taken:
        subject = audit.Subject("operator", str(telegram_id))
        audit.record(
            tx, actor, "role.revoked", subject, before={"role": role.value}, after=None, correlation_id=correlation_id
        )
    return bool(taken)


def switch_flag(tx: Transaction, actor: int | None, name: str, *, on: bool, correlation_id: str) -> bool:
    """Set the switch; False when it stands so already. `actor` is the operator's Telegram id, None for a command."""
    before = bool(tx.value(_LOCK_FLAG, name=name))
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


def _check(role: Role) -> None:
    if role is Role.OWNER:
        raise ValueError("owners are named by ADMIN_IDS")
