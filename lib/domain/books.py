"""What the books say: balances at a moment, statements, and the closing of a day. Sums are the database's, each currency by itself.

A closed day's snapshot is where later sums begin, so a balance costs what was posted since, not what was ever posted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date, datetime

    from lib.db import Transaction


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account of the chart had moved in one currency, minor units of the books; of wallets, all customers' together.

    Attributes:
        code, type: of the chart.
        debit, credit: sums of its entries on either side.
    """

    code: str
    type: str
    currency: str
    debit: int
    credit: int

    def __post_init__(self) -> None:
        _whole(self, "debit", "credit")

    @property
    def balance(self) -> int:
        """Debits less credits: above zero what is owned or was spent, below zero what is owed or was earned."""
        return self.debit - self.credit


_SIDES = (
    "lateral (values (e.debit_account_id, e.amount, 0), (e.credit_account_id, 0, e.amount)) as side (id, debit, credit)"
)

# Up to the end of the last snapshot before that day the sums are there; what came later is found by its day.
_TRIAL_BALANCE = f"""
with asked as (
    select coalesce(cast(:at as timestamptz), atlas.now()) as at
), base as (
    select max(s.day) as day from ledger_snapshots s, asked, deployment d
    where s.day < cast(asked.at at time zone d.books_zone as date)
), moved as (
    select s.ledger_account_id as id, s.debit, s.credit from ledger_snapshots s, base where s.day = base.day
    union all
    select side.id, side.debit, side.credit
    from asked, ledger_transfers t join ledger_entries e on e.transfer_id = t.id cross join {_SIDES}
    where t.books_day > (select coalesce(base.day, '-infinity') from base) and t.booked_at <= asked.at
)
select a.code, c.type, a.currency, sum(m.debit) as debit, sum(m.credit) as credit
from moved m join ledger_accounts a on a.id = m.id join ledger_codes c on c.code = a.code
group by a.code, c.type, a.currency order by a.currency, a.code
"""  # noqa: S608 -- a constant fragment


def trial_balance(tx: Transaction, at: datetime | None = None) -> list[Balance]:
    """Every account that had moved by then, by currency and code; in each currency debits and credits are one sum.

    `at` is the last moment that counts, now unless said. On a day that is not closed, a transaction that began before it may still
    come.
    """
    return tx.rows(Balance, _TRIAL_BALANCE, at=at)


@dataclass(frozen=True, slots=True)
class Line:
    """One entry as an account sees it.

    Attributes:
        ledger_account_id: the account; an entry between two that are asked about is a line of each.
        code, currency: of the account; `account_id` is whose wallet it is.
        other: code of the account on the other side.
        amount: minor units of the books, above zero when it was debited.
        balance: of the account after it, debits less credits.
        order_id, payment_id, event_id, refund_id, withdrawal_id, reverses_id: what the transfer is for.
        actor_id, reason: who did it, by Telegram id, and why.
    """

    transfer_id: int
    number: int
    ledger_account_id: int
    key: str
    kind: str
    booked_at: datetime
    books_day: date
    code: str
    currency: str
    account_id: int | None
    other: str
    amount: int
    balance: int
    order_id: int | None
    payment_id: int | None
    event_id: int | None
    refund_id: int | None
    withdrawal_id: int | None
    reverses_id: int | None
    actor_id: int | None
    reason: str | None

    def __post_init__(self) -> None:
        _whole(self, "amount", "balance")


# Each side of an entry is read by the index of its account and day; the balance goes on from what had moved before the first one.
_STATEMENT = """
with picked as (
    select id, code, currency, account_id from ledger_accounts
    where coalesce(account_id, 0) = :account_id
      and (code, currency) = (coalesce(cast(:code as text), code), coalesce(cast(:currency as text), currency))
), base as (
    select max(day) as day from ledger_snapshots where day < cast(:first as date)
), opening as (
    select p.id, coalesce((select s.debit - s.credit from ledger_snapshots s
                           where s.day = base.day and s.ledger_account_id = p.id), 0)
        + coalesce((select sum(e.amount) from ledger_entries e where e.debit_account_id = p.id
                    and e.books_day > coalesce(base.day, '-infinity') and e.books_day < cast(:first as date)), 0)
        - coalesce((select sum(e.amount) from ledger_entries e where e.credit_account_id = p.id
                    and e.books_day > coalesce(base.day, '-infinity') and e.books_day < cast(:first as date)), 0) as balance
    from picked p, base
), sides as (
    select e.debit_account_id as id, e.transfer_id, e.number, e.books_day, e.credit_account_id as other_id, e.amount
    from picked p join ledger_entries e on e.debit_account_id = p.id
    where e.books_day between coalesce(cast(:first as date), '-infinity') and coalesce(cast(:last as date), 'infinity')
    union all
    select e.credit_account_id, e.transfer_id, e.number, e.books_day, e.debit_account_id, -e.amount
    from picked p join ledger_entries e on e.credit_account_id = p.id
    where e.books_day between coalesce(cast(:first as date), '-infinity') and coalesce(cast(:last as date), 'infinity')
), lines as (
    select s.*, o.balance + sum(s.amount) over (partition by s.id order by s.transfer_id, s.number) as balance
    from sides s join opening o on o.id = s.id
)
select l.transfer_id, l.number, l.id as ledger_account_id, t.key, t.kind, t.booked_at, l.books_day, p.code, p.currency,
       p.account_id, o.code as other, l.amount, l.balance, t.order_id, t.payment_id, t.event_id, t.refund_id, t.withdrawal_id, t.reverses_id, t.actor_id, t.reason
from lines l join picked p on p.id = l.id join ledger_transfers t on t.id = l.transfer_id
join ledger_accounts o on o.id = l.other_id
where (l.transfer_id, l.number, l.id) > (:after_transfer, cast(:after_number as smallint), :after_account)
order by l.transfer_id, l.number, l.id limit :page
"""


def statement(
    tx: Transaction,
    *,
    code: str | None = None,
    currency: str | None = None,
    account_id: int | None = None,
    first: date | None = None,
    last: date | None = None,
    after: Line | None = None,
    page: int = 100,
) -> list[Line]:
    """What moved an account, in the order of its transfers, with the balance after each.

    `account_id` is whose wallets are meant, None the shop; `code` and `currency` say which account, every one of that owner unless
    said. `first` and `last` are days of the books, both included; `after` is the last line of the page before.
    """
    return tx.rows(
        Line,
        _STATEMENT,
        code=code,
        currency=currency,
        account_id=account_id or 0,
        first=first,
        last=last,
        after_transfer=after.transfer_id if after else 0,
        after_number=after.number if after else 0,
        after_account=after.ledger_account_id if after else 0,
        page=page,
    )


@dataclass(frozen=True, slots=True)
class Move:
    """One entry of a transfer, minor units of the books."""

    transfer_id: int
    number: int
    key: str
    kind: str
    booked_at: datetime
    debit: str
    credit: str
    amount: int
    currency: str
    reverses_id: int | None
    actor_id: int | None
    reason: str | None

    def __post_init__(self) -> None:
        _whole(self, "amount")


_MOVES_OF_ORDER = """
select t.id as transfer_id, e.number, t.key, t.kind, t.booked_at, d.code as debit, c.code as credit, e.amount, e.currency,
       t.reverses_id, t.actor_id, t.reason
from ledger_transfers t join ledger_entries e on e.transfer_id = t.id
join ledger_accounts d on d.id = e.debit_account_id join ledger_accounts c on c.id = e.credit_account_id
where t.order_id = :order_id
   or t.event_id = any(array(select p.event_id from payments p where p.order_id = :order_id
                             union all select n.id from payment_events n where n.order_id = :order_id))
order by t.id, e.number
"""


def moves_of_order(tx: Transaction, order_id: int) -> list[Move]:
    """Everything that was posted for an order, its charges and their refunds: what explains it to the kopeck."""
    return tx.rows(Move, _MOVES_OF_ORDER, order_id=order_id)


# The day after the last closed one, or the first of all; only when it is 3 h over. What else is asked of it, its trigger sees to.
_CLOSE_NEXT = """
insert into closed_days (day)
select next.day from (
    select coalesce((select max(c.day) + 1 from closed_days c), (select min(t.books_day) from ledger_transfers t)) as day
) next, deployment d
where atlas.now() >= cast(next.day + 1 as timestamp) at time zone d.books_zone + interval '3 hours'
on conflict do nothing
returning day
"""

# What each account had moved by the snapshot before, and since: the lock of the closing has let every posting of the day in.
_SNAPSHOT = f"""
with base as (
    select max(day) as day from ledger_snapshots
), moved as (
    select s.ledger_account_id as id, s.debit, s.credit from ledger_snapshots s, base where s.day = base.day
    union all
    select side.id, side.debit, side.credit
    from ledger_transfers t join ledger_entries e on e.transfer_id = t.id cross join {_SIDES}
    where t.books_day > (select coalesce(base.day, '-infinity') from base) and t.books_day <= :day
)
insert into ledger_snapshots (day, ledger_account_id, debit, credit)
select :day, id, sum(debit), sum(credit) from moved group by id
"""  # noqa: S608 -- a constant fragment


def close_next_day(tx: Transaction) -> date | None:
    """Close the next day of the books that is due, with its snapshot; None when none is (money.md, Postings).

    Nothing posts into it afterwards. A transaction that began on it is refused and run again, today; a correction is a transfer of
    today that names the one it reverses (`ledger.reverse`).
    """
    day: date | None = tx.value(_CLOSE_NEXT)
    if day is not None:
        tx.execute(_SNAPSHOT, day=day)
    return day


def _whole(row: object, *names: str) -> None:
    """Sums are `numeric`, which is read as a decimal; money is whole minor units."""
    for name in names:
        object.__setattr__(row, name, int(getattr(row, name)))
