"""What an operator gives to a customer's balance or takes from it, with a reason and an audit row (docs/postings.md).

Each has a name, such as a ticket's number: under one name it is done once, however often it is asked for.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lib.domain import audit, ledger, operators
from lib.domain.ledger import BalanceTooLow, Wallets
from lib.domain.postings import About, Amount, posting, table

if TYPE_CHECKING:
    from collections.abc import Collection

    from lib.db import Transaction
    from lib.domain.postings import Fact

_MAY = operators.MAY[operators.Action.ADJUST]
_MOST = 10**17 - 1
_LONGEST_NAME, _LONGEST_REASON = 100, 1000

_DONE = """
select t.kind, t.account_id, t.reason, cast(sum(e.amount) as text) as amount
from ledger_transfers t join ledger_entries e on e.transfer_id = t.id
where t.key = any(cast(:keys as text[])) group by t.id
"""


class NotDone(Exception):
    """Nothing was changed; the text says each reason, one a line.

    Attributes:
        is_too_low: the balance does not hold as much.
    """

    def __init__(self, text: str, *, is_too_low: bool = False) -> None:
        super().__init__(text)
        self.is_too_low = is_too_low


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What an operator does to a balance.

    Attributes:
        amount: minor units of the books' currency.
        operator: by Telegram id.
        name: makes it one adjustment.
    """

    account_id: int
    amount: int
    operator: int
    reason: str
    name: str


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it.

    Attributes:
        already: it had been done under this name before; nothing was changed now.
        balance: of the customer, after it or now.
    """

    already: bool
    balance: Wallets


@dataclass(frozen=True, slots=True)
class _Before:
    kind: str
    account_id: int
    reason: str
    amount: str


def credit(tx: Transaction, wanted: Adjustment, owners: Collection[int], *, currency: str, correlation_id: str) -> Done:
    """Give an amount to what the customer topped up.

    Args:
        tx: of its own.
        wanted: what, to whom, by whom, why.
        owners: Telegram ids of those who may do everything (`ADMIN_IDS`).
        currency: of the books.
        correlation_id: of the update or command.

    Raises:
        NotDone: an operator who may not, no such customer, an amount or a text that can't be, or the name stands for another adjustment.
    """
    held = _checked(tx, table.OPERATOR_CREDIT, wanted, owners)
    if held.already:
        return held
    given = Wallets(topped_up=wanted.amount)
    after = Wallets(held.balance.topped_up + wanted.amount, held.balance.earned)
    ledger.post(tx, posting(table.OPERATOR_CREDIT, _about(wanted), topped_up=Amount(wanted.amount, currency)))
    _record(tx, "balance.credited", wanted, held.balance, after, moved=given, correlation_id=correlation_id)
    return Done(already=False, balance=after)


def debit(tx: Transaction, wanted: Adjustment, owners: Collection[int], *, currency: str, correlation_id: str) -> Done:
    """Take an amount away: from what was topped up first, then from what was earned. Arguments as of `credit`.

    Raises:
        NotDone: as `credit`, or there is not so much.
    """
    held = _checked(tx, table.OPERATOR_DEBIT, wanted, owners)
    if held.already:
        return held
    try:
        taken = held.balance.spent(wanted.amount)
    except BalanceTooLow as error:
        raise NotDone(f"the balance is {error.missing} minor units too low", is_too_low=True) from None
    after = Wallets(held.balance.topped_up - taken.topped_up, held.balance.earned - taken.earned)
    parts = {"topped_up": Amount(taken.topped_up, currency), "earned": Amount(taken.earned, currency)}
    ledger.post(tx, posting(table.OPERATOR_DEBIT, _about(wanted), **parts))
    _record(tx, "balance.debited", wanted, held.balance, after, moved=taken, correlation_id=correlation_id)
    return Done(already=False, balance=after)


def _checked(tx: Transaction, fact: Fact, wanted: Adjustment, owners: Collection[int]) -> Done:
    """The balance before it, held until COMMIT; whether it was done already.

    Raises:
        NotDone: it may not be done.
    """
    # Two of one name queue up here, whatever customers they name.
    tx.execute("select pg_advisory_xact_lock(7301, hashtext(:name))", name=wanted.name)
    known = tx.value("select id from accounts where id = :id for no key update", id=wanted.account_id) is not None
    before = tx.row(_Before, _DONE, keys=[f"operator_credit:{wanted.name}", f"operator_debit:{wanted.name}"])
    problems = _problems(wanted)
    if not known:
        problems.append(f"there is no account {wanted.account_id}")
    if not operators.roles(tx, wanted.operator, owners) & _MAY:
        problems.append(f"{wanted.operator} may not change balances: neither in ADMIN_IDS nor with the role finance")
    asked = _Before(fact.kind, wanted.account_id, wanted.reason, str(wanted.amount))
    if before is not None and before != asked:
        problems.append(f"{wanted.name!r} stands for another adjustment already: {before}")
    if problems:
        raise NotDone("\n".join(problems))
    return Done(already=before is not None, balance=ledger.lock_wallets(tx, wanted.account_id)[wanted.account_id])


def _problems(wanted: Adjustment) -> list[str]:
    problems = []
    if not 0 < wanted.amount <= _MOST:
        problems.append(f"the amount must be from 1 to {_MOST} minor units")
    if not 0 < len(wanted.reason.strip()) <= len(wanted.reason) <= _LONGEST_REASON:
        problems.append(f"a reason of 1 to {_LONGEST_REASON} characters is needed")
    if not 0 < len(wanted.name.strip()) <= len(wanted.name) <= _LONGEST_NAME:
        problems.append(f"a name of 1 to {_LONGEST_NAME} characters is needed")
    return problems


def _about(wanted: Adjustment) -> About:
    return About(account_id=wanted.account_id, operation=wanted.name, actor_id=wanted.operator, reason=wanted.reason)


def _record(
    tx: Transaction,
    action: str,
    wanted: Adjustment,
    before: Wallets,
    after: Wallets,
    *,
    moved: Wallets,
    correlation_id: str,
) -> None:
    audit.record(
        tx,
        wanted.operator,
        action,
        audit.Subject("account", str(wanted.account_id)),
        before=asdict(before),
        after=asdict(after) | {"moved": asdict(moved), "reason": wanted.reason, "operation": wanted.name},
        correlation_id=correlation_id,
    )
