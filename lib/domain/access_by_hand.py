"""Access that an operator gives, by a command or at the desk (docs/runbooks/README.md, Access by hand).

No customer's path loads this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lib.domain import audit, operators, outbox, revoking, subscriptions

if TYPE_CHECKING:
    from collections.abc import Collection

    from lib.db import Transaction
    from lib.domain.pricelist import PriceList

_DAY_S = 86_400
_ACTION = "access.granted"
_MAY = frozenset({operators.Role.OWNER, operators.Role.SUPPORT})
_GIVEN = """
select after as facts from audit_log
where action = :action and correlation_id = :correlation_id and subject_kind = 'account'
order by id limit 1
"""


class NotGiven(Exception):
    """Nothing was changed; the text says each reason, one a line."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be given.

    Attributes:
        once: names this gift, such as a ticket's number: under one name there is one, however often it is asked for.
        operator: who gives it, by Telegram id.
        environment: of the database that is meant.
    """

    account_id: int
    tariff: str
    days: int
    operator: int
    reason: str
    once: str
    environment: str


@dataclass(frozen=True, slots=True)
class Given:
    """What came of it.

    Attributes:
        already: it had been given under this name before; nothing was changed now.
        until: the end of access that it led to then.
        follow_up: the work that tells its nodes.
    """

    already: bool
    until: datetime
    follow_up: tuple[outbox.Item, ...] = ()


@dataclass(frozen=True, slots=True)
class _Before:
    facts: dict[str, Any]


def give(tx: Transaction, wanted: Wanted, prices: PriceList, owners: Collection[int]) -> Given:
    """Give access once; nodes and the key's message follow by the outbox.

    Args:
        tx: of its own.
        wanted: what, to whom, by whom, why.
        prices: what running time is worth in the tariff that is given.
        owners: Telegram ids of those who may do everything (`ADMIN_IDS`).

    Raises:
        NotGiven: wrong environment, no such account or tariff, an operator who may not, or the name stands for another gift.
    """
    # Two runs of one name queue up here, whatever accounts they name.
    tx.execute("select pg_advisory_xact_lock(7300, hashtext(:name))", name=wanted.once)
    found = tx.row(_Before, _GIVEN, action=_ACTION, correlation_id=_correlation(wanted))
    held = subscriptions.locked(tx, wanted.account_id) if _lock(tx, wanted.account_id) else None
    if problems := _problems(tx, wanted, prices, owners, found):
        raise NotGiven("\n".join(problems))
    if found is not None:
        return Given(already=True, until=datetime.fromisoformat(found.facts["until"]))
    running = subscriptions.running_tariff(held, wanted.tariff)
    grant = subscriptions.grant(
        tx,
        wanted.account_id,
        tariff=wanted.tariff,
        seconds=wanted.days * _DAY_S,
        source="admin",
        value=prices.conversion(running, wanted.tariff),
        actor_id=wanted.operator,
    )
    work = outbox.add(tx, "nodes", "task_provision", {"subscription_id": grant.subscription_id}, _correlation(wanted))
    audit.record(
        tx,
        wanted.operator,
        _ACTION,
        audit.Subject("account", str(wanted.account_id)),
        before=None,
        after=_facts(wanted) | {"reason": wanted.reason, "until": grant.expires_at.isoformat()},
        correlation_id=_correlation(wanted),
    )
    return Given(already=False, until=grant.expires_at, follow_up=(work,))


def _lock(tx: Transaction, account_id: int) -> bool:
    return tx.value("select id from accounts where id = :id for no key update", id=account_id) is not None


def _correlation(wanted: Wanted) -> str:
    return f"by-hand:{wanted.once}"


def _facts(wanted: Wanted) -> dict[str, Any]:
    return {"account_id": wanted.account_id, "tariff": wanted.tariff, "days": wanted.days}


def _problems(
    tx: Transaction, wanted: Wanted, prices: PriceList, owners: Collection[int], found: _Before | None
) -> list[str]:
    problems = []
    environment = tx.value("select environment from deployment")
    if environment != wanted.environment:
        problems.append(f"this database belongs to environment {environment}, not {wanted.environment}")
    if tx.value("select 1 from accounts where id = :id", id=wanted.account_id) is None:
        problems.append(f"there is no account {wanted.account_id}")
    if revoking.ban_of(tx, wanted.account_id) is not None:
        problems.append(f"account {wanted.account_id} is banned: nothing is given to it")
    if wanted.tariff not in prices.tariffs:
        problems.append(f"there is no tariff {wanted.tariff!r}: it is one of {', '.join(prices.tariffs)}")
    if not operators.roles(tx, wanted.operator, owners) & _MAY:
        problems.append(f"{wanted.operator} may not give access: neither in ADMIN_IDS nor with the role support")
    if found is not None and (given := {part: found.facts.get(part) for part in _facts(wanted)}) != _facts(wanted):
        problems.append(f"{wanted.once!r} stands for another gift already: {given}")
    return problems
