"""What of the books is copied off site, day by day: closed days alone, since nothing in them changes any more.

Each kind of line is read in pages by key. What is told of a customer is the number of their account; no name, no Telegram id, nothing
that an operator typed (docs/books-off-site.md).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date, datetime
    from decimal import Decimal

    from lib.db import Transaction

PAGE = 1000
_BY_HAND = ("operator_credit", "operator_debit", "owner_movement")
"""Kinds whose keys end with what an operator typed."""


@dataclass(frozen=True, slots=True)
class Due:
    """The next day to copy.

    Attributes:
        number: 1 for the first day of the books.
        previous: the day before and the hash of its manifest, which is copied; None for the first.
        begins, ends: of the day, in the zone of the books; the first one begins with everything before it.
    """

    day: date
    number: int
    environment: str
    zone: str
    previous: Copied | None
    begins: datetime | None
    ends: datetime


@dataclass(frozen=True, slots=True)
class Copied:
    """A day that is off site, and the sha256 of its manifest, hexadecimal."""

    day: date
    sha256: str


@dataclass(frozen=True, slots=True)
class Total:
    """What an account of the chart had moved up to the end of a day, minor units; of wallets, all customers' together."""

    code: str
    currency: str
    debit: Decimal
    credit: Decimal


@dataclass(frozen=True, slots=True)
class Page:
    """Lines in their order, and the key of the last one: what the next page begins after."""

    lines: tuple[Mapping[str, Any], ...]
    last: tuple[Any, ...]

    @property
    def is_last(self) -> bool:
        """Nothing follows."""
        return len(self.lines) < PAGE


@dataclass(frozen=True, slots=True)
class _Next:
    day: date
    number: int
    environment: str
    zone: str
    previous_day: date | None
    previous_sha256: str | None
    begins: datetime | None
    ends: datetime


# Days are copied in their order, so the next one follows the newest.
_NEXT = """
with newest as (
    select e.day, encode(e.manifest_sha256, 'hex') as sha256 from ledger_exports e where e.store = :store order by e.day desc limit 1
), following as (
    select min(c.day) as day from closed_days c where c.day > coalesce((select n.day from newest n), '-infinity')
)
select f.day, cast((select count(*) from closed_days c where c.day <= f.day) as integer) as number, d.environment, d.books_zone as zone,
       n.day as previous_day, n.sha256 as previous_sha256,
       case when n.day is not null then cast(f.day as timestamp) at time zone d.books_zone end as begins,
       cast(f.day + 1 as timestamp) at time zone d.books_zone as ends
from following f cross join deployment d left join newest n on true
where f.day is not null
"""


def due(tx: Transaction, store: str) -> Due | None:
    """The next closed day that is not in the store yet; None when all are."""
    found = tx.row(_Next, _NEXT, store=store)
    return None if found is None else _due(found)


def _due(found: _Next) -> Due:
    before = (
        Copied(found.previous_day, found.previous_sha256)
        if found.previous_day is not None and found.previous_sha256 is not None
        else None
    )
    return Due(found.day, found.number, found.environment, found.zone, before, found.begins, found.ends)


# A closed day as `due` gives it, whatever was copied.
_CLOSED = """
select c.day, cast((select count(*) from closed_days b where b.day <= c.day) as integer) as number, d.environment, d.books_zone as zone,
       cast(null as date) as previous_day, cast(null as text) as previous_sha256,
       case when exists (select from closed_days b where b.day < c.day) then cast(c.day as timestamp) at time zone d.books_zone end as begins,
       cast(c.day + 1 as timestamp) at time zone d.books_zone as ends
from closed_days c cross join deployment d where c.day = :day
"""


def closed(tx: Transaction, day: date) -> Due | None:
    """A closed day, to be compared with what was copied of it; None when it is not closed."""
    found = tx.row(_Next, _CLOSED, day=day)
    return None if found is None else _due(found)


def newest_closed(tx: Transaction) -> date | None:
    """The last closed day."""
    day: date | None = tx.value("select max(day) from closed_days")
    return day


def newest_copied(tx: Transaction, store: str) -> Copied | None:
    """The newest day that is in the store."""
    return tx.row(
        Copied,
        "select day, encode(manifest_sha256, 'hex') as sha256 from ledger_exports where store = :store order by day desc limit 1",
        store=store,
    )


_TOTALS = """
select a.code, a.currency, sum(s.debit) as debit, sum(s.credit) as credit
from ledger_snapshots s join ledger_accounts a on a.id = s.ledger_account_id
where s.day = :day group by a.code, a.currency order by a.currency, a.code
"""


def totals(tx: Transaction, day: date) -> list[Total]:
    """What the day's snapshot says, by currency and account."""
    return tx.rows(Total, _TOTALS, day=day)


_RECORD = """
insert into ledger_exports (store, day, manifest_sha256, protection)
values (:store, :day, decode(:sha256, 'hex'), :protection) on conflict do nothing
"""


class OtherManifest(Exception):
    """The books have this day as copied with another manifest; nothing was recorded."""


def record(tx: Transaction, store: str, copied: Copied, protection: str) -> None:
    """The day is in the store, whole; once.

    Raises:
        OtherManifest: it was recorded with another manifest.
    """
    tx.execute(_RECORD, store=store, day=copied.day, sha256=copied.sha256, protection=protection)
    if recorded(tx, store, copied.day) != copied:
        raise OtherManifest(str(copied.day))


def recorded(tx: Transaction, store: str, day: date) -> Copied | None:
    """A day as it was recorded as copied; None when it was not."""
    return tx.row(
        Copied,
        "select day, encode(manifest_sha256, 'hex') as sha256 from ledger_exports where store = :store and day = :day",
        store=store,
        day=day,
    )


@dataclass(frozen=True, slots=True)
class _Transfer:
    id: int
    key: str
    kind: str
    entries: int
    order_id: int | None
    payment_id: int | None
    event_id: int | None
    account_id: int | None
    refund_id: int | None
    withdrawal_id: int | None
    reverses_id: int | None
    by_operator: bool
    booked_at: datetime


_TRANSFERS = """
select t.id, t.key, t.kind, t.entries, t.order_id, t.payment_id, t.event_id, t.account_id, t.refund_id, t.withdrawal_id, t.reverses_id,
       t.actor_id is not null as by_operator, t.booked_at
from ledger_transfers t where t.books_day = :day and t.id > :after order by t.id limit :page
"""


def transfers(tx: Transaction, day: Due, after: Sequence[Any]) -> Page:
    """A page of the day's transfers, by id."""
    found = tx.rows(_Transfer, _TRANSFERS, day=day.day, after=after[0] if after else 0, page=PAGE)
    lines = [
        {
            "transfer": one.id,
            "key": _without_words(one),
            "kind": one.kind,
            "entries": one.entries,
            "order": one.order_id,
            "payment": one.payment_id,
            "event": one.event_id,
            "account": one.account_id,
            "refund": one.refund_id,
            "withdrawal": one.withdrawal_id,
            "reverses": one.reverses_id,
            "by_operator": one.by_operator,
            "booked_at": _moment(one.booked_at),
        }
        for one in found
    ]
    return Page(tuple(lines), (found[-1].id,) if found else ())


@dataclass(frozen=True, slots=True)
class _Entry:
    transfer_id: int
    number: int
    debit: str
    debit_account: int | None
    credit: str
    credit_account: int | None
    amount: Decimal
    currency: str


_ENTRIES = """
select e.transfer_id, e.number, d.code as debit, d.account_id as debit_account, c.code as credit, c.account_id as credit_account,
       e.amount, e.currency
from ledger_transfers t join ledger_entries e on e.transfer_id = t.id
join ledger_accounts d on d.id = e.debit_account_id join ledger_accounts c on c.id = e.credit_account_id
where t.books_day = :day and t.id >= :after and (e.transfer_id, e.number) > (:after, cast(:number as smallint))
order by e.transfer_id, e.number limit :page
"""


def entries(tx: Transaction, day: Due, after: Sequence[Any]) -> Page:
    """A page of the day's entries, by transfer and number; `*_account` is whose wallet it is."""
    transfer_id, number = after or (0, 0)
    found = tx.rows(_Entry, _ENTRIES, day=day.day, after=transfer_id, number=number, page=PAGE)
    lines = [
        {
            "transfer": one.transfer_id,
            "number": one.number,
            "debit": one.debit,
            "debit_account": one.debit_account,
            "credit": one.credit,
            "credit_account": one.credit_account,
            "amount": str(int(one.amount)),
            "currency": one.currency,
        }
        for one in found
    ]
    return Page(tuple(lines), (found[-1].transfer_id, found[-1].number) if found else ())


@dataclass(frozen=True, slots=True)
class _Payment:
    id: int
    provider: str
    charge_id: str
    kind: str
    order_id: int
    account_id: int
    event_id: int | None
    amount: int
    currency: str
    paid_asset: str | None
    paid_amount: Decimal | None
    paid_rate: Decimal | None
    fee_asset: str | None
    fee_amount: Decimal | None
    created_at: datetime


_PAYMENTS = """
select p.id, p.provider, p.charge_id, p.kind, p.order_id, p.account_id, p.event_id, p.amount, p.currency, p.paid_asset, p.paid_amount,
       p.paid_rate, p.fee_asset, p.fee_amount, p.created_at
from payments p
where p.created_at >= coalesce(cast(:begins as timestamptz), '-infinity') and p.created_at < :ends
  and (p.created_at, p.id) > (coalesce(cast(:after as timestamptz), '-infinity'), :id)
order by p.created_at, p.id limit :page
"""


def payments(tx: Transaction, day: Due, after: Sequence[Any]) -> Page:
    """A page of the day's payments, by time and id; `amount` is in the units of prices, `paid_amount` and `fee_amount` as said."""
    found = tx.rows(_Payment, _PAYMENTS, **_between(day, after))
    lines = [
        {
            "payment": one.id,
            "provider": one.provider,
            "charge": one.charge_id,
            "kind": one.kind,
            "order": one.order_id,
            "account": one.account_id,
            "event": one.event_id,
            "amount": str(one.amount),
            "currency": one.currency,
            "paid_asset": one.paid_asset,
            "paid_amount": _decimal(one.paid_amount),
            "paid_rate": _decimal(one.paid_rate),
            "fee_asset": one.fee_asset,
            "fee_amount": _decimal(one.fee_amount),
            "paid_at": _moment(one.created_at),
        }
        for one in found
    ]
    return Page(tuple(lines), (found[-1].created_at, found[-1].id) if found else ())


@dataclass(frozen=True, slots=True)
class _Order:
    id: int
    account_id: int
    kind: str
    tariff: str | None
    period_days: int | None
    list_price: int
    price: int
    currency: str
    discount: str | None
    discount_percent: int | None
    value: int
    recurring: bool
    parent_id: int | None
    provider: str
    created_at: datetime


_ORDERS = """
select o.id, o.account_id, o.kind, o.tariff, o.period_days, o.list_price, o.price, o.currency, o.discount, o.discount_percent, o.value,
       o.recurring, o.parent_id, o.provider, o.created_at
from orders o
where o.created_at >= coalesce(cast(:begins as timestamptz), '-infinity') and o.created_at < :ends
  and (o.created_at, o.id) > (coalesce(cast(:after as timestamptz), '-infinity'), :id)
order by o.created_at, o.id limit :page
"""


def orders(tx: Transaction, day: Due, after: Sequence[Any]) -> Page:
    """A page of the orders that were made that day, by time and id: their terms, which never change. Payments tell which were paid."""
    found = tx.rows(_Order, _ORDERS, **_between(day, after))
    lines = [
        {
            "order": one.id,
            "account": one.account_id,
            "kind": one.kind,
            "tariff": one.tariff,
            "period_days": one.period_days,
            "list_price": str(one.list_price),
            "price": str(one.price),
            "currency": one.currency,
            "discount": one.discount,
            "discount_percent": one.discount_percent,
            "value": str(one.value),
            "recurring": one.recurring,
            "parent": one.parent_id,
            "provider": one.provider,
            "made_at": _moment(one.created_at),
        }
        for one in found
    ]
    return Page(tuple(lines), (found[-1].created_at, found[-1].id) if found else ())


@dataclass(frozen=True, slots=True)
class _Wallet:
    id: int
    account_id: int
    code: str
    currency: str
    balance: Decimal


_BALANCES = """
select s.ledger_account_id as id, a.account_id, a.code, a.currency, s.credit - s.debit as balance
from ledger_snapshots s join ledger_accounts a on a.id = s.ledger_account_id
where s.day = :day and s.ledger_account_id > :after and a.account_id is not null and s.debit <> s.credit
order by s.ledger_account_id limit :page
"""


def balances(tx: Transaction, day: Due, after: Sequence[Any]) -> Page:
    """A page of what customers had at the end of the day; who had nothing has no line."""
    found = tx.rows(_Wallet, _BALANCES, day=day.day, after=after[0] if after else 0, page=PAGE)
    lines = [
        {"account": one.account_id, "wallet": one.code, "currency": one.currency, "balance": str(int(one.balance))}
        for one in found
    ]
    return Page(tuple(lines), (found[-1].id,) if found else ())


READERS: Mapping[str, Callable[[Transaction, Due, Sequence[Any]], Page]] = {
    "transfers": transfers,
    "entries": entries,
    "payments": payments,
    "orders": orders,
    "balances": balances,
}


def _between(day: Due, after: Sequence[Any]) -> dict[str, Any]:
    moment, last = after or (None, 0)
    return {"begins": day.begins, "ends": day.ends, "after": moment, "id": last, "page": PAGE}


def _without_words(one: _Transfer) -> str:
    """Its key; what an operator typed as a part of it may be a name, and is told apart by its hash."""
    return f"{one.kind}:sha256:{hashlib.sha256(one.key.encode()).hexdigest()}" if one.kind in _BY_HAND else one.key


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _decimal(number: Decimal | None) -> str | None:
    return None if number is None else format(number, "f")
