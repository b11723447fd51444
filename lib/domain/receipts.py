"""What the tax office is told of money from outside (money.md, Reports): a receipt of each settling payment, and its reversal.

The receipt's row is left by the payment's own statement. Which form it is told in is `lib.receipts`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date

    from lib.db import Transaction

# What was told of is reversed when it is told next; what was not is not told any more.
_ANNUL = """
update receipts
set status = case status when 'due' then 'annulled' else 'annulling' end,
    annulled_at = case status when 'due' then atlas.now() end,
    refund_id = :refund_id, refunded_at = atlas.now(), next_attempt_at = atlas.now(), attempts = 0
where payment_id = :payment_id and status in ('due', 'issued')
returning status
"""


def annul(tx: Transaction, payment_id: int, refund_id: int) -> bool:
    """A payment was given back, or taken back: its receipt does not stand. In the refund's own transaction, whose row is there.

    Returns:
        False where there is no receipt that stood: of a further charge, of a purchase from the balance, annulled before (refunded,
        then charged back).
    """
    return tx.value(_ANNUL, payment_id=payment_id, refund_id=refund_id) is not None


class NotOver(ValueError):
    """The days that were asked for are not over: what would be told of them could still change."""


@dataclass(frozen=True, slots=True)
class Line:
    """One receipt, or the reversal of one.

    Attributes:
        kind: receipt or reversal.
        payment_id: the receipt's number; a reversal has that of its receipt.
        moment: `2026-01-31 12:00:00`, in the zone of the books.
        amount: minor units of `currency`, the books'; above zero also of a reversal.
        what: kind of order; tariff and days where it is of access.
        paid_amount, paid_currency: as it was agreed, minor units of prices.
    """

    kind: str
    payment_id: int
    moment: str
    amount: int
    currency: str
    order_id: int
    what: str
    tariff: str | None
    period_days: int | None
    provider: str
    charge_id: str
    paid_amount: int
    paid_currency: str


# A day is over for receipts when the books may close it: what began before its end has ended or been refused.
_OVER = """
select atlas.now() >= cast(cast(:last as date) + 1 as timestamp) at time zone d.books_zone + interval '3 hours' from deployment d
"""

_ISSUE = """
update receipts r set status = 'issued', issued_at = atlas.now()
from deployment d
where r.status = 'due' and (
    r.created_at >= cast(cast(:first as date) as timestamp) at time zone d.books_zone
    and r.created_at < cast(cast(:last as date) + 1 as timestamp) at time zone d.books_zone
    or exists (
        select from refunds f where f.payment_id = r.payment_id and f.part_of_charge is not null
        and f.created_at >= cast(cast(:first as date) as timestamp) at time zone d.books_zone
        and f.created_at < cast(cast(:last as date) + 1 as timestamp) at time zone d.books_zone))
"""

_REVERSE = """
update receipts r set status = 'annulled', annulled_at = atlas.now()
from deployment d
where r.status = 'annulling' and r.refunded_at >= cast(cast(:first as date) as timestamp) at time zone d.books_zone
  and r.refunded_at < cast(cast(:last as date) + 1 as timestamp) at time zone d.books_zone
"""

# What was annulled before it was told stands in neither file. A part that went back is a reversal of its share, and what went back at
# last one of the remainder; a part that is told has its receipt told, too. All of it is by moments that never change, so the same days give the
# same lines whenever they are asked for again.
_LINES = """
with parts as (
    select f.id, f.payment_id, f.created_at, f.part_of_charge, sum(f.part_of_charge) over (partition by f.payment_id order by f.id) as ends,
           e.amount - coalesce((select sum(x.part_of_charge) from refunds x
                                where x.charge_event_id = f.charge_event_id and x.payment_id is null), 0) as whole
    from refunds f join payment_events e on e.id = f.charge_event_id
    where f.part_of_charge is not null and f.payment_id is not null
)
select l.kind, r.payment_id, to_char(l.at at time zone d.books_zone, 'YYYY-MM-DD HH24:MI:SS') as moment,
       cast(l.amount as bigint) as amount, d.books_currency as currency,
       o.id as order_id, o.kind as what, o.tariff, o.period_days, p.provider, p.charge_id,
       p.amount as paid_amount, p.currency as paid_currency
from receipts r join payments p on p.id = r.payment_id join orders o on o.id = p.order_id cross join deployment d
cross join lateral (
    select 'receipt' as kind, r.created_at as at, cast(r.amount as numeric) as amount, 0 as part
    union all
    select 'reversal', s.created_at, div(r.amount * s.ends, s.whole) - div(r.amount * (s.ends - s.part_of_charge), s.whole), s.id
    from parts s where s.payment_id = r.payment_id
    union all
    select 'reversal', r.refunded_at,
           r.amount - coalesce((select div(r.amount * max(s.ends), max(s.whole)) from parts s where s.payment_id = r.payment_id), 0), 0
) l
where r.issued_at is not null and l.at >= cast(cast(:first as date) as timestamp) at time zone d.books_zone
  and l.at < cast(cast(:last as date) + 1 as timestamp) at time zone d.books_zone
order by l.at, l.kind, r.payment_id, l.part
"""


def told(tx: Transaction, first: date, last: date) -> list[Line]:
    """What is told of the days `first` to `last` of the books, both included, by moment; what was due of them counts as told then.

    The same days again are the same lines.

    Raises:
        NotOver: the last of them is not over, or is over for less than 3 hours.
        ValueError: the last is before the first.
    """
    if last < first:
        raise ValueError("the last day is before the first")
    days = {"first": first.isoformat(), "last": last.isoformat()}
    if not tx.value(_OVER, last=days["last"]):
        raise NotOver(f"{last} is not over: a day can be told of 3 h after its end")
    tx.execute(_ISSUE, **days)
    tx.execute(_REVERSE, **days)
    return tx.rows(Line, _LINES, **days)
