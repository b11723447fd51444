"""The books: append-only transfers of entries, each entry balanced by its shape (docs/data.md, Books)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lib.db import Transaction


# Python's default of 28 digits would round what numeric(38, 0) still holds.
_EXACT = Context(prec=76, traps=[InvalidOperation])
_WALLET = "user:"


@dataclass(frozen=True, slots=True)
class Entry:
    """An amount moves from the debited to the credited account.

    Attributes:
        debit, credit: codes of the chart of accounts, such as `clearing:cryptobot`; `user:...` is the posting's customer's wallet.
        amount: minor units of the books, above zero.
    """

    debit: str
    credit: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class Posting:
    """One transfer: all entries of one fact.

    Attributes:
        kind: one of the closed list of the table.
        key: made of the fact, so that it is posted once.
        account_id: the customer whose wallets are meant.
        actor_id: the operator who did it, by Telegram id.
        reason: in the operator's words.
    """

    kind: str
    key: str
    entries: tuple[Entry, ...]
    order_id: int | None = None
    payment_id: int | None = None
    event_id: int | None = None
    account_id: int | None = None
    refund_id: int | None = None
    withdrawal_id: int | None = None
    actor_id: int | None = None
    reason: str | None = None

    @property
    def touches_wallets(self) -> bool:
        """Whether a customer's balance moves."""
        return any(code.startswith(_WALLET) for entry in self.entries for code in (entry.debit, entry.credit))


class PostedBefore(RuntimeError):
    """The key was used: the caller's own key should have prevented that."""


# The transfer's key is unique: a second posting writes nothing. Nor does one that lacks an account, which is opened then.
_POST = """
with wanted as (
    select * from jsonb_to_recordset(cast(:entries as jsonb)) as e
        (number smallint, debit text, debit_of bigint, credit text, credit_of bigint, amount numeric(38, 0), currency text)
), placed as (
    select w.number, w.amount, w.currency, w.debit_of, w.credit_of, d.id as debit_id, c.id as credit_id
    from wanted w
    join ledger_accounts d on coalesce(d.account_id, 0) = w.debit_of and d.code = w.debit and d.currency = w.currency
    join ledger_accounts c on coalesce(c.account_id, 0) = w.credit_of and c.code = w.credit and c.currency = w.currency
), transfer as (
    insert into ledger_transfers (key, kind, entries, order_id, payment_id, event_id, account_id, refund_id, withdrawal_id,
                                  actor_id, reason)
    select :key, :kind, count(*), :order_id, :payment_id, :event_id, :account_id, :refund_id, :withdrawal_id,
           :actor_id, :reason
    from placed having count(*) = cast(:entry_count as bigint)
    on conflict (key) do nothing
    returning id, entries, books_day
), posted as (
    insert into ledger_entries
        (transfer_id, number, entries, books_day, debit_account_id, credit_account_id, amount, currency)
    select t.id, p.number, t.entries, t.books_day, p.debit_id, p.credit_id, p.amount, p.currency from transfer t, placed p
    returning number
)"""
_ID = """
select id from transfer
"""
# The wallets' balances move with their entries, in the same statement. They are locked in one order, so two postings can't
# wait for each other; the check on the balance refuses what is not there.
_MOVE_WALLETS = """, moved as (
    select id, sum(amount) as amount from (
        select p.credit_id as id, p.amount from placed p, transfer where p.credit_of <> 0
        union all
        select p.debit_id, -p.amount from placed p, transfer where p.debit_of <> 0
    ) sides group by id
), held as (
    select a.id, m.amount from ledger_accounts a join moved m on m.id = a.id order by a.id for no key update of a
), cached as (
    update ledger_accounts a set balance = a.balance + h.amount from held h where a.id = h.id
)"""
_POST_ALONE = _POST + _ID
_POST_WITH_WALLETS = _POST + _MOVE_WALLETS + _ID

# Only on an account's first use in a currency; the chart decides which codes there are.
_OPEN_ACCOUNTS = """
with sides as (
    select debit as code, currency, debit_of as owner
    from jsonb_to_recordset(cast(:entries as jsonb)) as e (debit text, debit_of bigint, currency text)
    union
    select credit, currency, credit_of
    from jsonb_to_recordset(cast(:entries as jsonb)) as e (credit text, credit_of bigint, currency text)
)
insert into ledger_accounts (code, currency, account_id)
select code, currency, nullif(owner, 0) from sides
order by owner, code, currency
on conflict do nothing
"""


def post(tx: Transaction, posting: Posting) -> int:
    """Write a transfer once; its id.

    Wallets are locked last of all, in the order of their accounts, by the statement that moves them.

    Raises:
        PostedBefore: its key was used.
        StatementFailed: an account that the chart does not have, `wallet_is_never_negative`, `fee_is_booked_once`; of a day that is
            closed (`transfer_of_an_open_day`, 40001) `Database.run` makes another attempt, today.
    """
    rows = json.dumps([_row(number, entry, posting) for number, entry in enumerate(posting.entries, 1)])
    sql = _POST_WITH_WALLETS if posting.touches_wallets else _POST_ALONE
    arguments = {
        "key": posting.key,
        "kind": posting.kind,
        "entries": rows,
        "entry_count": len(posting.entries),
        "order_id": posting.order_id,
        "payment_id": posting.payment_id,
        "event_id": posting.event_id,
        "account_id": posting.account_id,
        "refund_id": posting.refund_id,
        "withdrawal_id": posting.withdrawal_id,
        "actor_id": posting.actor_id,
        "reason": posting.reason,
    }
    transfer_id: int | None = tx.value(sql, **arguments)
    if transfer_id is None:
        tx.execute(_OPEN_ACCOUNTS, entries=rows)
        transfer_id = tx.value(sql, **arguments)
    if transfer_id is None:
        raise PostedBefore(f"transfer {posting.key} was posted before")
    return transfer_id


# The entries of the transfer that is named, swapped, under a transfer of today. Its number is unique there: a second reversal at the
# same moment waits for the first one and writes nothing.
_REVERSE = """
with original as (
    select id, entries, order_id, payment_id, event_id, account_id, refund_id, withdrawal_id from ledger_transfers where id = :id
), transfer as (
    insert into ledger_transfers (key, kind, entries, order_id, payment_id, event_id, account_id, refund_id, withdrawal_id,
                                  reverses_id, actor_id, reason)
    select 'correction:' || cast(id as text), 'correction', entries, order_id, payment_id, event_id, account_id, refund_id,
           withdrawal_id, id, :actor_id, :reason
    from original
    on conflict do nothing
    returning id, entries, books_day, reverses_id
), posted as (
    insert into ledger_entries
        (transfer_id, number, entries, books_day, debit_account_id, credit_account_id, amount, currency)
    select t.id, e.number, t.entries, t.books_day, e.credit_account_id, e.debit_account_id, e.amount, e.currency
    from transfer t join ledger_entries e on e.transfer_id = t.reverses_id
    returning debit_account_id, credit_account_id, amount
), moved as (
    select id, sum(amount) as amount from (
        select credit_account_id as id, amount from posted union all select debit_account_id, -amount from posted
    ) sides group by id
), held as (
    select a.id, m.amount from ledger_accounts a join moved m on m.id = a.id where a.account_id is not null
    order by a.id for no key update of a
), cached as (
    update ledger_accounts a set balance = a.balance + h.amount from held h where a.id = h.id
)
select (select count(*) from original) as known, (select id from transfer) as transfer_id
"""


class _Reversed(NamedTuple):
    known: int
    transfer_id: int | None


class NoSuchTransfer(LookupError):
    """There is none of that number."""


class ReversedBefore(RuntimeError):
    """Each transfer is reversed once."""


def reverse(tx: Transaction, transfer_id: int, *, actor_id: int | None, reason: str) -> int:
    """Undo a transfer by one of today that names it; the id of that one, which can itself be reversed.

    Everything is moved back, wallets too; rows beside the books (an order, a reward) are for the caller. `actor_id` is the operator, by
    Telegram id; `reason` is in their words, 1 to 1000 characters. By itself only an affiliate's part is undone (`listings`).

    Raises:
        NoSuchTransfer: there is no such transfer.
        ReversedBefore: it was undone already.
        StatementFailed: `wallet_is_never_negative`: what was credited is spent; nothing is undone then.
    """
    done = tx.one(_Reversed, _REVERSE, id=transfer_id, actor_id=actor_id, reason=reason)
    if not done.known:
        raise NoSuchTransfer(f"no transfer {transfer_id}")
    if done.transfer_id is None:
        raise ReversedBefore(f"transfer {transfer_id} was reversed before")
    return done.transfer_id


class BalanceTooLow(RuntimeError):
    """The wallets do not hold that much.

    Attributes:
        missing: minor units.
    """

    def __init__(self, missing: int) -> None:
        super().__init__(f"the balance is {missing} minor units too low")
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Wallets:
    """What a customer has, minor units of the books' currency."""

    topped_up: int = 0
    earned: int = 0

    @property
    def total(self) -> int:
        """All that can be spent."""
        return self.topped_up + self.earned

    def spent(self, amount: int) -> Wallets:
        """The parts that pay an amount: `topped_up` first, then `earned` (docs/postings.md).

        Raises:
            BalanceTooLow: there is less.
            ValueError: less than nothing is asked for.
        """
        if amount < 0:
            raise ValueError("less than nothing can't be spent")
        first = min(self.topped_up, amount)
        if amount - first > self.earned:
            raise BalanceTooLow(amount - first - self.earned)
        return Wallets(first, amount - first)


# Locked in the order of their ledger accounts, as a posting locks them.
_WALLETS = """
with held as (
    select account_id, code, balance - held as balance from ledger_accounts where coalesce(account_id, 0) = any(cast(:account_ids as bigint[]))
    order by id for no key update
)
select account_id, cast(coalesce(sum(balance) filter (where code = 'user:topped_up'), 0) as text) as topped_up,
       cast(coalesce(sum(balance) filter (where code = 'user:earned'), 0) as text) as earned
from held group by account_id
"""


class _Held(NamedTuple):
    account_id: int
    topped_up: str
    earned: str


def lock_wallets(tx: Transaction, *account_ids: int) -> dict[int, Wallets]:
    """What these customers can spend, locked until COMMIT; zeros of one who has no wallets yet.

    What is kept back for a refund that is under way (`hold`) is not among it.

    Nothing is locked after it but what `post` opens: events, customers, orders and all else come before (docs/data.md, Books). Of
    several customers they are taken by one call, or two calls could wait for each other.
    """
    held = {row.account_id: row for row in tx.rows(_Held, _WALLETS, account_ids=list(account_ids))}
    return {
        one: Wallets(int(held[one].topped_up), int(held[one].earned)) if one in held else Wallets()
        for one in account_ids
    }


_HOLD = """
update ledger_accounts set held = held + cast(:amount as numeric)
where coalesce(account_id, 0) = :account_id and code = 'user:topped_up'
"""


def hold(tx: Transaction, account_id: int, amount: int) -> None:
    """Keep back so much of what a customer topped up, in minor units of the books; below zero it is let go.

    Raises:
        StatementFailed: `held_is_there`: there is not so much.
    """
    if amount:
        tx.execute(_HOLD, account_id=account_id, amount=str(amount))


def _row(number: int, entry: Entry, posting: Posting) -> dict[str, object]:
    def owner(code: str) -> int:
        return (posting.account_id or 0) if code.startswith(_WALLET) else 0

    return {
        "number": number,
        "debit": entry.debit,
        "debit_of": owner(entry.debit),
        "credit": entry.credit,
        "credit_of": owner(entry.credit),
        "amount": str(entry.amount),
        "currency": entry.currency,
    }


def minor_units(amount: str, exponent: int) -> int:
    """A provider's decimal string in minor units; digits beyond the currency's are rounded half to even.

    Raises:
        decimal.InvalidOperation: not a decimal number.
    """
    scaled = _EXACT.scaleb(_EXACT.create_decimal(amount), exponent)
    return int(scaled.quantize(Decimal(1), rounding=ROUND_HALF_EVEN, context=_EXACT))
