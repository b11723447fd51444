"""The books: append-only transfers of entries, each entry balanced by its shape (docs/architecture.md, Data)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lib.db import Transaction


# Python's default of 28 digits would round what numeric(38, 0) still holds.
_EXACT = Context(prec=76, traps=[InvalidOperation])


@dataclass(frozen=True, slots=True)
class Entry:
    """An amount moves from the debited to the credited account.

    Attributes:
        debit, credit: codes of system accounts, such as `clearing:cryptobot`; the currency is added to the code.
        amount: minor units, above zero.
    """

    debit: str
    credit: str
    amount: int
    currency: str


# The transfer's key is unique: a second posting writes nothing. Entries are matched to accounts by code.
_POST = """
with wanted as (
    select * from jsonb_to_recordset(cast(:entries as jsonb))
        as e (debit text, credit text, amount numeric(38, 0), currency text)
), transfer as (
    insert into ledger_transfers (key, kind, payment_id, order_id)
    select :key, :kind, :payment_id, :order_id
    where (select count(*) from wanted w
           join ledger_accounts d on d.code = w.debit and d.currency = w.currency
           join ledger_accounts c on c.code = w.credit and c.currency = w.currency) = (select count(*) from wanted)
    on conflict (key) do nothing
    returning id
), posted as (
    insert into ledger_entries (transfer_id, debit_account_id, credit_account_id, amount, currency)
    select transfer.id, d.id, c.id, w.amount, w.currency
    from transfer, wanted w
    join ledger_accounts d on d.code = w.debit and d.currency = w.currency
    join ledger_accounts c on c.code = w.credit and c.currency = w.currency
    returning id
)
select count(*) from posted
"""

# Only on an account's first use in a currency.
_OPEN_ACCOUNTS = """
insert into ledger_accounts (code, currency)
select debit, currency from jsonb_to_recordset(cast(:entries as jsonb)) as e (debit text, currency text)
union
select credit, currency from jsonb_to_recordset(cast(:entries as jsonb)) as e (credit text, currency text)
order by 1
on conflict (code) do nothing
"""


def post(
    tx: Transaction,
    key: str,
    kind: str,
    entries: list[Entry],
    *,
    payment_id: int | None = None,
    order_id: int | None = None,
) -> None:
    """Write a transfer once; `key` is its idempotency key.

    Raises:
        RuntimeError: the key was used before: the caller's own key should have prevented that.
    """
    rows = json.dumps(
        [
            {
                "debit": f"{entry.debit}:{entry.currency}",
                "credit": f"{entry.credit}:{entry.currency}",
                "amount": str(entry.amount),
                "currency": entry.currency,
            }
            for entry in entries
        ]
    )
    arguments = {"key": key, "kind": kind, "payment_id": payment_id, "order_id": order_id, "entries": rows}
    if tx.value(_POST, **arguments) == len(entries):
        return
    tx.execute(_OPEN_ACCOUNTS, entries=rows)
    if tx.value(_POST, **arguments) != len(entries):
        raise RuntimeError(f"transfer {key} was posted before")


def minor_units(amount: str, exponent: int) -> int:
    """A provider's decimal string in minor units; digits beyond the currency's are rounded half to even.

    Raises:
        decimal.InvalidOperation: not a decimal number.
    """
    scaled = _EXACT.scaleb(_EXACT.create_decimal(amount), exponent)
    return int(scaled.quantize(Decimal(1), rounding=ROUND_HALF_EVEN, context=_EXACT))
