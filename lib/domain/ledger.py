"""The books: append-only transfers of entries, each entry balanced by its shape (docs/data.md, Books)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING

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
    reverses_id: int | None = None
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
                                  reverses_id, actor_id, reason)
    select :key, :kind, count(*), :order_id, :payment_id, :event_id, :account_id, :refund_id, :withdrawal_id,
           :reverses_id, :actor_id, :reason
    from placed having count(*) = cast(:entry_count as bigint)
    on conflict (key) do nothing
    returning id, entries, books_day
), posted as (
    insert into ledger_entries
        (transfer_id, number, entries, books_day, debit_account_id, credit_account_id, amount, currency)
    select t.id, p.number, t.entries, t.books_day, p.debit_id, p.credit_id, p.amount, p.currency from transfer t, placed p
    returning number
)"""
_COUNT = """
select count(*) from posted
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
_POST_ALONE = _POST + _COUNT
_POST_WITH_WALLETS = _POST + _MOVE_WALLETS + _COUNT

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


def post(tx: Transaction, posting: Posting) -> None:
    """Write a transfer once.

    Raises:
        PostedBefore: its key was used.
        StatementFailed: an account that the chart does not have, or `wallet_is_never_negative`.
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
        "reverses_id": posting.reverses_id,
        "actor_id": posting.actor_id,
        "reason": posting.reason,
    }
    if tx.value(sql, **arguments) == len(posting.entries):
        return
    tx.execute(_OPEN_ACCOUNTS, entries=rows)
    if tx.value(sql, **arguments) != len(posting.entries):
        raise PostedBefore(f"transfer {posting.key} was posted before")


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
