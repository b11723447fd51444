"""A provider's own account against its clearing account in the books: each line, and what it holds (money.md, Reports).

A line is everything that the provider says of one charge, one refund, one payout. News that may still be under way is no
difference; neither is the part of an amount below the currency's least unit, which the books round (docs/postings.md).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import TYPE_CHECKING

from lib import currencies
from lib.domain.postings import clearing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date, datetime

    from lib.db import Transaction

CHARGE, REFUND, PAYOUT, COMMISSION, MOVEMENT = "charge", "refund", "payout", "commission", "movement"
"""What a line can be: a chargeback and a second debit are refunds, what is neither ours nor a customer's is a movement."""
UNDER_WAY = timedelta(minutes=15)
"""For so long news of a line may still be on its way, to us or into the provider's list."""
_SLOWEST = timedelta(minutes=1)
"""No posting takes longer from its beginning to its commit."""
_ZERO = Decimal(0)
_EXACT = Context(prec=90)

Subject = tuple[bool, str]
"""Whether it is the charge itself, and the provider's id: a refund may have its charge's id, and one may call a chargeback what the
other calls a refund."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of what a provider lists. Several of one id and side are one: their sums are compared.

    Attributes:
        kind: `CHARGE`, `REFUND`, `PAYOUT`, `COMMISSION` or `MOVEMENT`.
        id: the provider's: of a charge as in `payments.charge_id`, of a refund its own or the charge's, of a payout or commission as
            in its transfer's key; of a movement what an operator names it by.
        asset: a code, also one that the list of currencies lacks.
        amount: whole units, exact; above zero it came to the provider's account, below zero it left.
        fee: what the provider kept beside, whole units.
        fee_asset: of the fee, where it is another.
        at: when it happened, by the provider's clock; None when it does not say.
    """

    kind: str
    id: str
    asset: str
    amount: Decimal
    fee: Decimal = _ZERO
    fee_asset: str = ""
    at: datetime | None = None

    @property
    def subject(self) -> Subject:
        """What it is compared by."""
        return self.kind == CHARGE, self.id


@dataclass(slots=True)
class Side:
    """What one of the two says of a line, whole units.

    Attributes:
        amounts, fees: by asset.
        at: the latest moment of it.
    """

    kind: str
    amounts: dict[str, Decimal] = field(default_factory=dict)
    fees: dict[str, Decimal] = field(default_factory=dict)
    at: datetime | None = None
    order_id: int | None = None

    def take(self, line: Line) -> None:
        """Add what a line says."""
        _add(self.amounts, line.asset, line.amount)
        _add(self.fees, line.fee_asset or line.asset, line.fee)
        self.at = max((one for one in (self.at, line.at) if one is not None), default=None)

    def net(self) -> dict[str, Decimal]:
        """What the account has more by it, by asset."""
        return {
            one: _EXACT.subtract(self.amounts.get(one, _ZERO), self.fees.get(one, _ZERO))
            for one in {*self.amounts, *self.fees}
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """What the two do not say alike.

    Attributes:
        state: `missing_here` (the books lack it), `missing_there` (the provider does), `differs`, or `balance`.
        kind, external_id: of the line; of a balance neither.
        of_fee: it is the fee that differs.
        said, booked: by the provider, as the books would take it, and in the books, whole units; None: nothing.
        order_id: whose it is, as far as the books know.
        at: when the line happened.
    """

    state: str
    kind: str
    external_id: str
    asset: str
    of_fee: bool
    said: Decimal | None
    booked: Decimal | None
    order_id: int | None = None
    at: datetime | None = None

    def __str__(self) -> str:
        what = f"{self.kind} {self.external_id}".strip() + (" (fee)" if self.of_fee else "")
        order = f", order {self.order_id}" if self.order_id else ""
        said, booked = (
            "nothing" if one is None else f"{format(one, 'f')} {self.asset}" for one in (self.said, self.booked)
        )
        return f"{what}{order}: {self.state.replace('_', ' ')}; the provider says {said}, the books say {booked}"


@dataclass(slots=True)
class Compared:
    """What came of comparing lines.

    Attributes:
        unsettled: by asset, what the provider's account has more by lines that are no difference: news under way, and what rounding
            left out.
    """

    matched: int = 0
    under_way: int = 0
    differences: list[Difference] = field(default_factory=list)
    unsettled: dict[str, Decimal] = field(default_factory=dict)


def gather(lines: Iterable[Line]) -> dict[Subject, Side]:
    """What a provider says, by what it is compared by."""
    found: dict[Subject, Side] = {}
    for line in lines:
        found.setdefault(line.subject, Side(line.kind)).take(line)
    return found


def compare(said: Mapping[Subject, Side], booked: Mapping[Subject, Booked], *, now: datetime) -> Compared:
    """Every line of either side; `now` is when the provider was asked."""
    result = Compared()
    for subject in sorted({*said, *booked}):
        there, here = said.get(subject), booked.get(subject)
        found = list(_differences(subject, there, here.side if here else None))
        moments = (there.at if there else None, here.side.at if here else None)
        young = any(one is not None and one > now - UNDER_WAY for one in moments)
        if found and not young:
            result.differences += found
            continue
        result.matched += not found
        result.under_way += bool(found)
        for sign, net in ((1, there.net() if there else {}), (-1, here.before if here else {})):
            for asset, amount in net.items():
                _add(result.unsettled, asset, sign * amount)
    return result


def _differences(subject: Subject, there: Side | None, here: Side | None) -> Iterable[Difference]:
    one = there or here
    if one is None:
        return
    state = "missing_here" if here is None else "missing_there" if there is None else "differs"
    for of_fee in (False, True):
        left, right = ((side.fees if of_fee else side.amounts) if side else {} for side in (there, here))
        for asset in sorted({*left, *right}):
            said, booked = rounded(left.get(asset, _ZERO), asset), right.get(asset, _ZERO)
            if said == booked:
                continue
            yield Difference(
                state,
                one.kind,
                subject[1],
                asset,
                of_fee,
                None if there is None else said,
                None if here is None else booked,
                here.order_id if here else None,
                one.at,
            )


def balances(
    said: Mapping[str, Decimal], booked: Mapping[str, Decimal], unsettled: Mapping[str, Decimal]
) -> list[Difference]:
    """Where what a provider holds is not what its clearing account has, once what is under way is left out."""
    found = []
    for asset in sorted({*said, *booked, *unsettled}):
        held = rounded(_EXACT.subtract(said.get(asset, _ZERO), unsettled.get(asset, _ZERO)), asset)
        ours = booked.get(asset, _ZERO)
        if held != ours:
            found.append(Difference("balance", "", "", asset, of_fee=False, said=held, booked=ours))
    return found


def rounded(amount: Decimal, asset: str) -> Decimal:
    """An amount as the books take it: half to even at the currency's digits; one that the list lacks stays as it is."""
    known = currencies.ALL.get(asset)
    if known is None:
        return amount
    return amount.quantize(Decimal(1).scaleb(-known.digits), rounding=ROUND_HALF_EVEN, context=_EXACT)


def _add(to: dict[str, Decimal], asset: str, amount: Decimal) -> None:
    # a plain sum would go through the default context, whose 28 digits round
    total = _EXACT.add(to.get(asset, _ZERO), amount)
    if total:
        to[asset] = total
    else:
        to.pop(asset, None)


# In the books ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Booked:
    """A line as the books have it.

    Attributes:
        before: what of it was booked before the provider was asked, by asset: its part in the balance that is compared.
    """

    side: Side
    before: dict[str, Decimal]


@dataclass(frozen=True, slots=True)
class _Entry:
    is_charge: bool
    kind: str
    id: str
    asset: str
    amount: Decimal
    fee: Decimal
    before: Decimal
    at: datetime
    order_id: int | None


# Which line of its provider a transfer belongs to, by what it names. A correction belongs where the transfer does that it undoes.
# All that went back of a charge is one line, under the charge's id: an operator may have booked it before its own id was told.
# What leaves suspense by the provider's account is the charge's own side when other news took its place, and else money given back:
# the last of a charge that an operator, or the provider, gave back.
_OF_A_LINE = """
    left join ledger_transfers o on o.id = t.reverses_id
    left join payments p on p.id = t.payment_id
    left join payment_events n on n.id = coalesce(t.event_id, p.event_id)
    left join refunds r on r.id = t.refund_id
    left join payment_events g on g.id = r.charge_event_id
    cross join lateral (select coalesce(o.kind, t.kind) as kind, coalesce(o.key, t.key) as key, coalesce(o.id, t.id) as id) f
    cross join lateral (select case
        when t.refund_id is not null or n.kind in ('refund', 'chargeback') or f.kind = 'second_debit' then 'refund'
        when f.kind = 'suspense_resolved' and n.resolution = 'refunded'
             and f.id = (select max(x.id) from ledger_transfers x where x.event_id = n.id and x.kind = 'suspense_resolved')
            then 'refund'
        when f.kind = 'payout' then 'payout'
        when f.kind = 'affiliate_commission' then 'commission'
        when f.kind = 'owner_movement' then 'movement'
        else 'charge' end as kind) k
    cross join lateral (select case
        when k.kind in ('payout', 'commission') then substr(f.key, length(f.kind || ':' || :provider || ':') + 1)
        when k.kind = 'movement' then substr(f.key, length('owner_movement:') + 1)
        when k.kind = 'refund' then coalesce(n.charge_id, g.external_id, n.external_id, r.external_id)
        else n.external_id end as id) l"""

# Found by the ids that were asked for, each by its index; only what they name is read.
_BOOKED = f"""
with asked as (
    select * from unnest(cast(:are_charges as boolean[]), cast(:ids as text[])) as a (is_charge, id)
), news as (
    select n.id from payment_events n
    where n.provider = :provider and n.kind = any(array['charge', 'refund', 'chargeback', 'other'])
      and n.external_id = any(cast(:ids as text[]))
    union
    select n.id from payment_events n where n.provider = :provider and n.charge_id = any(cast(:ids as text[]))
), named as (
    select t.id from ledger_transfers t where t.key = any(cast(:keys as text[]))
), found as (
    select t.id from ledger_transfers t where t.event_id = any(array(select id from news))
    union
    select t.id from ledger_transfers t
    where t.payment_id = any(array(select p.id from payments p where p.event_id = any(array(select id from news))))
    union
    select t.id from ledger_transfers t where t.refund_id = any(array(
        select r.id from refunds r where r.charge_event_id = any(array(select id from news))))
    union
    select id from named
    union
    select t.id from ledger_transfers t where t.reverses_id = any(array(select id from named))
)
select k.kind = 'charge' as is_charge, min(k.kind) as kind, l.id, e.currency as asset,
       coalesce(sum(s.amount) filter (where not s.of_fee), 0) as amount,
       coalesce(-sum(s.amount) filter (where s.of_fee), 0) as fee,
       coalesce(sum(s.amount) filter (where t.booked_at <= cast(:before as timestamptz)), 0) as before,
       max(t.booked_at) as at, min(coalesce(t.order_id, n.order_id)) as order_id
from found join ledger_transfers t on t.id = found.id {_OF_A_LINE}
join asked a on a.is_charge = (k.kind = 'charge') and a.id = l.id
join ledger_entries e on e.transfer_id = t.id
join ledger_accounts d on d.id = e.debit_account_id join ledger_accounts c on c.id = e.credit_account_id
cross join lateral (select case :clearing when d.code then e.amount else -e.amount end as amount,
                           k.kind <> 'commission' and 'provider_fees' in (d.code, c.code) as of_fee) s
where :clearing in (d.code, c.code)
group by k.kind = 'charge', l.id, e.currency
"""  # noqa: S608 -- a constant fragment

_WITH_KEYS = ("payout:{provider}:{id}", "affiliate_commission:{provider}:{id}", "owner_movement:{id}")


def booked(tx: Transaction, provider: str, subjects: Sequence[Subject], before: datetime) -> dict[Subject, Booked]:
    """What the books have of these lines of a provider, whenever it was booked; lines of which nothing is left are absent.

    `before` is up to when a transfer counts as booked before the provider was asked.
    """
    rows = tx.rows(
        _Entry,
        _BOOKED,
        provider=provider,
        clearing=clearing(provider),
        are_charges=[is_charge for is_charge, _ in subjects],
        ids=[one for _, one in subjects],
        keys=[
            key.format(provider=provider, id=one) for is_charge, one in subjects if not is_charge for key in _WITH_KEYS
        ],
        before=before,
    )
    found: dict[Subject, Booked] = {}
    for row in rows:
        if not (row.amount or row.fee or row.before):
            continue
        line = found.setdefault((row.is_charge, row.id), Booked(Side(row.kind, order_id=row.order_id), {}))
        line.side.take(
            Line(row.kind, row.id, row.asset, _whole(row.amount, row.asset), _whole(row.fee, row.asset), at=row.at)
        )
        _add(line.before, row.asset, _whole(row.before, row.asset))
    return found


_CHARGES_OF = """
select external_id as refund_id, min(charge_id) as charge_id from payment_events
where provider = :provider and kind = any(array['refund', 'chargeback']) and external_id = any(cast(:ids as text[]))
  and charge_id is not null
group by external_id
"""


@dataclass(frozen=True, slots=True)
class _GoneBack:
    refund_id: str
    charge_id: str


def under_their_charges(tx: Transaction, provider: str, lines: Sequence[Line]) -> list[Line]:
    """The lines, each refund under the id of the charge that went back, as far as news of it has told that."""
    ids = sorted({line.id for line in lines if line.kind == REFUND})
    known = {row.refund_id: row.charge_id for row in tx.rows(_GoneBack, _CHARGES_OF, provider=provider, ids=ids)}
    return [replace(line, id=known.get(line.id, line.id)) if line.kind == REFUND else line for line in lines]


# Each side of an entry by its index of the account and the day; a page of transfers, in their order.
_BOOKED_SINCE = f"""
with since as (
    select coalesce(cast(cast(:since as timestamptz) at time zone d.books_zone as date), '-infinity') as day from deployment d
), account as (
    select a.id from ledger_accounts a where a.code = :clearing
), page as (
    select e.transfer_id as id from account a join ledger_entries e on e.debit_account_id = a.id
    where e.books_day >= (select day from since) and e.transfer_id > :after
    union
    select e.transfer_id from account a join ledger_entries e on e.credit_account_id = a.id
    where e.books_day >= (select day from since) and e.transfer_id > :after
    order by id limit :page
)
select t.id as transfer_id, k.kind, l.id
from page join ledger_transfers t on t.id = page.id {_OF_A_LINE}
order by t.id
"""  # noqa: S608 -- a constant fragment


@dataclass(frozen=True, slots=True)
class _Place:
    transfer_id: int
    kind: str
    id: str


def booked_since(
    tx: Transaction, provider: str, since: datetime | None, after: int, page: int
) -> tuple[dict[Subject, str], int | None]:
    """Which lines of a provider the books moved since the beginning of a day, with their kinds; and the transfer to go on after.

    `after` is 0 at first; None comes back when there are no more.
    """
    rows = tx.rows(
        _Place, _BOOKED_SINCE, provider=provider, clearing=clearing(provider), since=since, after=after, page=page
    )
    return {(row.kind == CHARGE, row.id): row.kind for row in rows}, rows[-1].transfer_id if len(rows) == page else None


@dataclass(frozen=True, slots=True)
class _Held:
    asset: str
    amount: Decimal


_CLEARING = """
with base as (
    select max(day) as day from ledger_snapshots
    where day < (select cast(cast(:at as timestamptz) at time zone d.books_zone as date) from deployment d)
), account as (
    select a.id, a.currency from ledger_accounts a where a.code = :clearing
)
select account.currency as asset,
       coalesce((select s.debit - s.credit from ledger_snapshots s, base where s.day = base.day and s.ledger_account_id = account.id), 0)
       + coalesce((select sum(e.amount) from ledger_entries e join ledger_transfers t on t.id = e.transfer_id, base
                   where e.debit_account_id = account.id and e.books_day > coalesce(base.day, '-infinity')
                     and t.booked_at <= cast(:at as timestamptz)), 0)
       - coalesce((select sum(e.amount) from ledger_entries e join ledger_transfers t on t.id = e.transfer_id, base
                   where e.credit_account_id = account.id and e.books_day > coalesce(base.day, '-infinity')
                     and t.booked_at <= cast(:at as timestamptz)), 0) as amount
from account
"""


def held(tx: Transaction, provider: str, at: datetime) -> dict[str, Decimal]:
    """What a provider's clearing account has in each currency by the transfers up to a moment, whole units."""
    rows = tx.rows(_Held, _CLEARING, clearing=clearing(provider), at=at)
    return {row.asset: _whole(row.amount, row.asset) for row in rows if row.amount}


def _whole(minor: Decimal, asset: str) -> Decimal:
    return Decimal(int(minor)).scaleb(-currencies.of(asset).digits, context=_EXACT)


# When, and what came of it --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Due:
    """A comparison that is to be made.

    Attributes:
        day: of the books, the last that is over for three hours.
        since: from when on lines are compared; None: from the first.
        now: of the database.
        before: up to when a transfer counts as booked before the provider was asked.
    """

    day: date
    since: datetime | None
    now: datetime
    before: datetime


# Once a day; again each hour while something differs, so what was mended is seen to be, or while the list could not be read whole.
# What differs is looked at until it is mended, however long ago it happened. Until all was compared once, all is.
_DUE = """
with today as (
    select cast((atlas.now() - interval '3 hours') at time zone d.books_zone as date) - 1 as day from deployment d
), whole as (
    select max(c.compared_at) - interval '2 days' as since from reconciliations c where c.provider = :provider and c.complete
), open as (
    select count(*) as differences, min(coalesce(f.happened_at, f.first_seen_at)) - interval '1 hour' as since
    from reconciliation_differences f where f.provider = :provider and f.ended_at is null
)
select today.day, atlas.now() as now, atlas.now() - make_interval(secs => :slowest) as before,
       case when whole.since is not null then least(open.since, whole.since) end as since
from today, open, whole
where :anyway or not exists (
    select from reconciliations c where c.provider = :provider and c.day = today.day
      and (c.complete and open.differences = 0 or c.compared_at > atlas.now() - interval '1 hour'))
"""


def due(tx: Transaction, provider: str, *, anyway: bool = False) -> Due | None:
    """The comparison that is due of a provider; None when there is none. `anyway`: whether or not it is due."""
    return tx.row(Due, _DUE, provider=provider, slowest=_SLOWEST.total_seconds(), anyway=anyway)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A comparison that was made.

    Attributes:
        day: of the books.
        begins, ends: when the compared lines happened; None: no bound.
        complete: every line between them was seen, on both sides.
        balance_judged: what is held was compared.
    """

    day: date
    lines: int
    matched: int
    under_way: int
    differences: Sequence[Difference]
    begins: datetime | None
    ends: datetime | None
    complete: bool
    balance_judged: bool


_FOUND = """jsonb_to_recordset(cast(:found as jsonb)) as f
    (state text, kind text, external_id text, asset text, of_fee boolean, said numeric, booked numeric, order_id bigint,
     happened_at timestamptz)"""
_SAME = """(d.state, d.kind, d.external_id, d.asset, d.of_fee, d.off_by)
        = (f.state, f.kind, f.external_id, f.asset, f.of_fee, coalesce(f.said, 0) - coalesce(f.booked, 0))"""

# A balance moves every day; by how much it is off is what makes it the same difference.
_SEEN_AGAIN = f"""
update reconciliation_differences d set last_seen_at = atlas.now(), said = f.said, booked = f.booked
from {_FOUND} where d.provider = :provider and d.ended_at is null and {_SAME}
"""  # noqa: S608 -- constant fragments

# Only what this comparison could have seen: what it did not read says nothing. A difference by another amount takes the former's place.
_OVER = f"""
update reconciliation_differences d set ended_at = atlas.now()
where d.provider = :provider and d.ended_at is null and not exists (select from {_FOUND} where {_SAME})
  and (exists (select from {_FOUND} where (d.state, d.kind, d.external_id, d.asset, d.of_fee)
                                        = (f.state, f.kind, f.external_id, f.asset, f.of_fee))
       or case d.state when 'balance' then :balance_judged else :complete
               and coalesce(d.happened_at, d.first_seen_at)
                   between coalesce(cast(:begins as timestamptz), '-infinity') and coalesce(cast(:ends as timestamptz), 'infinity') end)
"""  # noqa: S608 -- constant fragments

_NEW = f"""
insert into reconciliation_differences
    (provider, day, state, kind, external_id, asset, of_fee, said, booked, order_id, happened_at)
select :provider, :day, f.state, f.kind, f.external_id, f.asset, f.of_fee, f.said, f.booked, f.order_id, f.happened_at
from {_FOUND}
where not exists (select from reconciliation_differences d where d.provider = :provider and d.ended_at is null and {_SAME})
returning state, kind, external_id, asset, of_fee, said, booked, order_id, happened_at as at
"""  # noqa: S608 -- constant fragments

_COMPARED = """
insert into reconciliations (provider, day, lines, matched, under_way, complete)
values (:provider, :day, :lines, :matched, :under_way, :complete)
on conflict (provider, day) do update set compared_at = atlas.now(), lines = excluded.lines, matched = excluded.matched,
    under_way = excluded.under_way, complete = excluded.complete
"""


def record(tx: Transaction, provider: str, outcome: Outcome) -> list[Difference]:
    """Write down what a comparison found; the differences that are new, which alone alarm.

    What was seen before is only seen again; what is no more ends.
    """
    tx.execute("select pg_advisory_xact_lock(7302, hashtext(:provider))", provider=provider)
    found = json.dumps([_row(one) for one in outcome.differences])
    tx.execute(_SEEN_AGAIN, provider=provider, found=found)
    tx.execute(
        _OVER,
        provider=provider,
        found=found,
        complete=outcome.complete,
        balance_judged=outcome.balance_judged,
        begins=outcome.begins,
        ends=outcome.ends,
    )
    tx.execute(
        _COMPARED,
        provider=provider,
        day=outcome.day,
        lines=outcome.lines,
        matched=outcome.matched,
        under_way=outcome.under_way,
        complete=outcome.complete and outcome.balance_judged,
    )
    return tx.rows(Difference, _NEW, provider=provider, day=outcome.day, found=found)


def _row(one: Difference) -> dict[str, object]:
    return {
        "state": one.state,
        "kind": one.kind,
        "external_id": one.external_id,
        "asset": one.asset,
        "of_fee": one.of_fee,
        "said": None if one.said is None else format(one.said, "f"),
        "booked": None if one.booked is None else format(one.booked, "f"),
        "order_id": one.order_id,
        "happened_at": one.at.isoformat() if one.at else None,
    }


@dataclass(frozen=True, slots=True)
class OpenDifference:
    """A difference that is not mended, as screens and reports show it."""

    id: int
    provider: str
    day: date
    state: str
    kind: str
    external_id: str
    asset: str
    of_fee: bool
    said: Decimal | None
    booked: Decimal | None
    order_id: int | None
    at: datetime | None
    first_seen_at: datetime
    last_seen_at: datetime

    def __str__(self) -> str:
        return str(
            Difference(
                self.state,
                self.kind,
                self.external_id,
                self.asset,
                self.of_fee,
                self.said,
                self.booked,
                self.order_id,
                self.at,
            )
        )


_OPEN = """
select id, provider, day, state, kind, external_id, asset, of_fee, said, booked, order_id, happened_at as at, first_seen_at, last_seen_at
from reconciliation_differences where ended_at is null and id > :after order by id limit :page
"""


def open_differences(tx: Transaction, *, after: int = 0, page: int = 100) -> list[OpenDifference]:
    """What differs and is not mended, the oldest first; `after` is the last one's id of the page before."""
    return tx.rows(OpenDifference, _OPEN, after=after, page=page)


@dataclass(frozen=True, slots=True)
class LastComparison:
    """The newest comparison of a provider."""

    provider: str
    day: date
    compared_at: datetime
    lines: int
    matched: int
    under_way: int
    complete: bool


_LAST = """
select p.name as provider, c.day, c.compared_at, c.lines, c.matched, c.under_way, c.complete
from providers p cross join lateral (
    select * from reconciliations r where r.provider = p.name order by r.day desc limit 1) c
order by p.name
"""


def last_comparisons(tx: Transaction) -> list[LastComparison]:
    """Of each provider that was ever compared, the newest."""
    return tx.rows(LastComparison, _LAST)
