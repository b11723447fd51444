"""What finance reads beyond balances and statements (`books`): a month, and everything of one charge. Sums are the database's.

Every currency stands by itself, in minor units of the books; beside it, where it is known, what it was in the currency of the
books at the value that was booked: by the transfer's own legs through `exchange`, by those of the payment that it belongs to, or by
the order's value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.domain.books import Move

if TYPE_CHECKING:
    from datetime import date, datetime
    from decimal import Decimal

    from lib.db import Transaction


@dataclass(frozen=True, slots=True)
class Result:
    """What an account of income or expense had moved within some days, by how it was paid and for what.

    Attributes:
        code: of the chart: `revenue` is what was sold, at list price.
        method: the provider; nothing where there is none.
        tariff: of the order; nothing where there is none.
        count: transfers.
        amount: credits less debits, minor units of the books: above zero it made the shop richer.
        value: the same in the books' currency, rounded half to even; None when a part of it has no booked value.
    """

    code: str
    method: str
    tariff: str
    currency: str
    count: int
    amount: int
    value: int | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What an account of the chart had before some days and after them: debits less credits, minor units of the books.

    Attributes:
        debit, credit: what it moved within them.
        value: of the closing balance in the books' currency; None when a part of it has no booked value.
    """

    code: str
    type: str
    currency: str
    opening: int
    debit: int
    credit: int
    value: int | None

    @property
    def closing(self) -> int:
        """At the end of the last day, or by now."""
        return self.opening + self.debit - self.credit


@dataclass(frozen=True, slots=True)
class Month:
    """Some days of the books: what was earned and spent, and how every account stood before and after.

    Attributes:
        is_closed: nothing posts into its last day any more.
        suspense_oldest: when the oldest money that fits nothing and is not ended came; None: there is none now.
    """

    first: date
    last: date
    is_closed: bool
    results: list[Result]
    standings: list[Standing]
    suspense_oldest: datetime | None


# What a currency was worth, as one rational number for a transfer: its own legs through `exchange`, else those of the charge that it
# is about, else the value of its order for its price.
_RATE = """
left join lateral (
    select x.num, x.den from (
        select l.rank, sum(e.amount) filter (where e.currency = d.books_currency) as num,
               sum(e.amount) filter (where e.currency = s.currency) as den
        from (select 1 as rank, t.id union all
              select 2, b.id from ledger_transfers b
              where b.kind in ('sale', 'top_up', 'gift_bought')
                and b.payment_id = coalesce(t.payment_id, (select p.id from payments p where p.event_id = t.event_id))) l
        join ledger_entries e on e.transfer_id = l.id
        join ledger_accounts a on a.id = e.debit_account_id join ledger_accounts b on b.id = e.credit_account_id
        where 'exchange' in (a.code, b.code)
        group by l.rank
        union all
        select 3, cast(v.value as numeric), v.price * power(cast(10 as numeric), c.exponent - c.price_exponent)
        from orders v join currencies c on c.code = v.currency
        where v.id = t.order_id and v.currency = s.currency
    ) x where x.num > 0 and x.den > 0 order by x.rank limit 1
) r on s.currency <> d.books_currency
cross join lateral (select case when s.currency = d.books_currency then s.amount
                                else round(s.amount * r.num, 30) / r.den end as value) w"""
_SUM_OF_VALUES = "case when count(*) = count(w.value) then coalesce(sum(w.value), 0) end"

_SIDES = """cross join lateral (values (e.debit_account_id, -e.amount, e.currency), (e.credit_account_id, e.amount, e.currency))
    as s (account_id, amount, currency)"""

_RESULTS = f"""
select k.code, coalesce(o.provider, n.provider, p.provider, '') as method, coalesce(o.tariff, '') as tariff, s.currency,
       count(distinct t.id) as count, sum(s.amount) as amount, {_SUM_OF_VALUES} as value
from deployment d cross join ledger_transfers t
join ledger_entries e on e.transfer_id = t.id
{_SIDES}
join ledger_accounts a on a.id = s.account_id join ledger_codes k on k.code = a.code
left join orders o on o.id = t.order_id
left join payment_events n on n.id = t.event_id
left join payments p on p.id = t.payment_id
{_RATE}
where t.books_day between cast(:first as date) and cast(:last as date) and k.type in ('income', 'contra-income', 'expense')
group by 1, 2, 3, 4 order by 1, 2, 3, 4
"""  # noqa: S608 -- constant fragments

# Balances before the first day begin at the snapshot before it, as everywhere; the value of what is not in the books' currency is
# that of every movement that it is made of.
_STANDINGS = f"""
with base as (
    select max(day) as day from ledger_snapshots where day < cast(:first as date)
), moved as (
    select s.ledger_account_id as id, s.debit - s.credit as opening, 0 as debit, 0 as credit
    from ledger_snapshots s, base where s.day = base.day
    union all
    select side.id, case when e.books_day < cast(:first as date) then side.debit - side.credit else 0 end,
           case when e.books_day >= cast(:first as date) then side.debit else 0 end,
           case when e.books_day >= cast(:first as date) then side.credit else 0 end
    from base, ledger_entries e cross join lateral (
        values (e.debit_account_id, e.amount, 0), (e.credit_account_id, 0, e.amount)) as side (id, debit, credit)
    where e.books_day > coalesce(base.day, '-infinity') and e.books_day <= cast(:last as date)
), standing as (
    select a.code, a.currency, sum(m.opening) as opening, sum(m.debit) as debit, sum(m.credit) as credit
    from moved m join ledger_accounts a on a.id = m.id group by a.code, a.currency
), valued as (
    select a.code, s.currency, {_SUM_OF_VALUES} as value
    from deployment d cross join ledger_entries e join ledger_transfers t on t.id = e.transfer_id
    {_SIDES}
    join ledger_accounts a on a.id = s.account_id
    {_RATE}
    where e.currency <> d.books_currency and e.books_day <= cast(:last as date)
    group by a.code, s.currency
)
select g.code, k.type, g.currency, g.opening, g.debit, g.credit,
       case when g.currency = d.books_currency then g.opening + g.debit - g.credit else -v.value end as value
from deployment d cross join standing g join ledger_codes k on k.code = g.code
left join valued v on v.code = g.code and v.currency = g.currency
order by g.currency, g.code
"""  # noqa: S608 -- constant fragments

_MONTH_OF = """
select cast(date_trunc('month', coalesce(cast(:month as date), atlas.books_day())) as date) as first,
       cast(date_trunc('month', coalesce(cast(:month as date), atlas.books_day())) + interval '1 month' - interval '1 day' as date) as last
"""

_ABOUT = """
select exists (select from closed_days where day >= cast(:last as date)) as is_closed,
       (select min(received_at) from payment_events
        where status in ('unmatched', 'duplicate') and resolved_at is null and amount is not null) as suspense_oldest
"""


@dataclass(frozen=True, slots=True)
class _Days:
    first: date
    last: date


@dataclass(frozen=True, slots=True)
class _About:
    is_closed: bool
    suspense_oldest: datetime | None


@dataclass(frozen=True, slots=True)
class _Result:
    code: str
    method: str
    tariff: str
    currency: str
    count: int
    amount: Decimal
    value: Decimal | None


@dataclass(frozen=True, slots=True)
class _Standing:
    code: str
    type: str
    currency: str
    opening: Decimal
    debit: Decimal
    credit: Decimal
    value: Decimal | None


def month(tx: Transaction, of: date | None = None) -> Month:
    """The month of a day of the books, or what there is of it so far; the present one unless said."""
    first, last = days_of(tx, of)
    about = tx.one(_About, _ABOUT, last=last)
    return Month(
        first,
        last,
        about.is_closed,
        [
            Result(row.code, row.method, row.tariff, row.currency, row.count, int(row.amount), _whole(row.value))
            for row in tx.rows(_Result, _RESULTS, first=first, last=last)
        ],
        [
            Standing(
                row.code, row.type, row.currency, int(row.opening), int(row.debit), int(row.credit), _whole(row.value)
            )
            for row in tx.rows(_Standing, _STANDINGS, first=first, last=last)
        ],
        about.suspense_oldest,
    )


def days_of(tx: Transaction, month: date | None) -> tuple[date, date]:
    """The first and the last day of the month of a day of the books, the present one unless said."""
    days = tx.one(_Days, _MONTH_OF, month=month)
    return days.first, days.last


def _whole(value: Decimal | None) -> int | None:
    return None if value is None else round(value)


_MOVES_OF_CHARGE = """
with charge as (
    select n.id as event_id, p.id as payment_id from payment_events n left join payments p on p.event_id = n.id
    where n.provider = :provider and n.external_id = :charge_id
    union
    select n.id, null from payment_events n where n.provider = :provider and n.charge_id = :charge_id
)
select t.id as transfer_id, e.number, t.key, t.kind, t.booked_at, d.code as debit, c.code as credit, e.amount, e.currency,
       t.reverses_id, t.actor_id, t.reason
from ledger_transfers t join ledger_entries e on e.transfer_id = t.id
join ledger_accounts d on d.id = e.debit_account_id join ledger_accounts c on c.id = e.credit_account_id
where t.event_id = any(array(select event_id from charge))
   or t.payment_id = any(array(select payment_id from charge where payment_id is not null))
   or t.refund_id = any(array(select r.id from refunds r where r.provider = :provider and r.external_id = :charge_id
                              union
                              select r.id from refunds r where r.charge_event_id = any(array(select event_id from charge))))
order by t.id, e.number
"""


def moves_of_charge(tx: Transaction, provider: str, charge_id: str) -> list[Move]:
    """Everything that was posted for one charge or refund of a provider, by the provider's id, what came of it later included."""
    return tx.rows(Move, _MOVES_OF_CHARGE, provider=provider, charge_id=charge_id)
