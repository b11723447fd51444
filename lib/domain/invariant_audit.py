"""Whether what must always hold holds: asked of what is new each hour, of everything each night (docs/data.md, Invariants).

Each invariant is a statement of its own (lib/db/invariants.sql). What is new is known by ids: rows of the tables below are only added,
and a row that is older than any transaction lasts has no unseen row before it. So a mark in Postgres says up to where the rows were
asked about, and an hour costs what the hour brought. What changed without such a row is found by the night's walk, which goes through
every thing of a kind by its id, a page at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.db.invariants import declared

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from lib.db import Transaction

CHAIN = "audit_chain_is_whole"
"""The one that is verified link by link instead of by its query (`next_links`)."""
SETTLES_MIN = 20
"""What is new is asked about this many minutes later: it is committed by then, and what follows from it has had its time."""
MOST_A_DAY = 10
"""Violations of one invariant that alarm on one day; the page tells how to see all."""


@dataclass(frozen=True, slots=True)
class Source:
    """A table whose new rows tell what changed.

    Attributes:
        moment: the column with the time of a row's transaction.
        keys: of each kind of thing that a row touches, which ones; `settled` are the rows.
    """

    table: str
    moment: str
    keys: Mapping[str, str]

    @property
    def mark(self) -> str:
        """The name of its mark."""
        return f"new.{self.table}"

    @property
    def sql(self) -> str:
        """The keys of a page of rows behind `:after`, and the last row's id under the kind ''."""
        keys = " union ".join(
            f"select '{kind}', key from ({sql}) named (key) where key is not null"  # noqa: S608 -- words of this module
            for kind, sql in self.keys.items()
        )
        return f"""
with page as (select * from {self.table} where id > :after order by id limit :page),
settled as (
    select * from page where id < coalesce(
        (select min(id) from page where {self.moment} >= atlas.now() - make_interval(mins => {SETTLES_MIN})), 9223372036854775807)
)
select '' as kind, coalesce(max(id), :after) as key from settled union all ({keys}) order by 1, 2
"""  # noqa: S608 -- as above


SOURCES = (
    Source(
        "subscription_history",
        "created_at",
        {
            "subscription": "select subscription_id from settled",
            "account": "select s.account_id from settled join subscriptions s on s.id = settled.subscription_id",
            "payment": "select payment_id from settled",
        },
    ),
    Source("orders", "created_at", {"order": "select id from settled"}),
    Source(
        "payments",
        "created_at",
        {
            "payment": "select id from settled",
            "order": "select order_id from settled",
            "event": "select event_id from settled",
        },
    ),
    Source("payment_events", "received_at", {"event": "select id from settled"}),
    Source(
        "ledger_transfers",
        "booked_at",
        {
            "transfer": "select id from settled",
            "payment": "select payment_id from settled",
            "order": "select order_id from settled",
            "event": "select event_id from settled",
            "wallet": "select a.id from settled join ledger_entries e on e.transfer_id = settled.id"
            " join ledger_accounts a on a.id in (e.debit_account_id, e.credit_account_id) and a.account_id is not null",
        },
    ),
    Source("messages", "created_at", {"message": "select id from settled"}),
    Source("refunds", "created_at", {"refund": "select id from settled", "payment": "select payment_id from settled"}),
)

KINDS = {
    "subscription": "subscriptions",
    "account": "accounts",
    "order": "orders",
    "payment": "payments",
    "event": "payment_events",
    "transfer": "ledger_transfers",
    "wallet": "ledger_accounts",
    "message": "messages",
    "refund": "refunds",
}
"""Where the things of a kind are."""


@dataclass(frozen=True, slots=True)
class Page:
    """Things to be asked about, by kind; and the mark to set once that is done."""

    keys: Mapping[str, Sequence[int]]
    upto: int


@dataclass(frozen=True, slots=True)
class _Touched:
    kind: str
    key: int


_MARK = "select position from invariant_marks where name = :name and night is not distinct from cast(:night as date)"
_SET_MARK = """
insert into invariant_marks (name, position, hash, night) values (:name, :position, decode(cast(:hash as text), 'hex'), cast(:night as date))
on conflict (name) do update
set position = excluded.position, hash = excluded.hash, night = excluded.night, marked_at = excluded.marked_at
"""


def by_kind(kind: str) -> list[str]:
    """Invariants that are asked for things of a kind."""
    return [one.name for one in declared().values() if one.by == kind and one.name != CHAIN]


def asked_whole(*, hourly: bool) -> list[str]:
    """Invariants that are asked as they are, each hour or only at night."""
    return [one.name for one in declared().values() if one.by is None and one.hourly is hourly and one.name != CHAIN]


def next_new(tx: Transaction, source: Source, page: int) -> Page:
    """What the next rows of a table touch, up to `page` rows; a page without keys: there are no more that have settled."""
    after = tx.value(_MARK, name=source.mark, night=None) or 0
    keys: dict[str, list[int]] = {}
    for one in tx.rows(_Touched, source.sql, after=after, page=page):
        keys.setdefault(one.kind, []).append(one.key)
    (upto,) = keys.pop("")
    return Page(keys if upto > after else {}, upto)


def next_of(tx: Transaction, kind: str, night: date, page: int) -> Page:
    """The next things of a kind in a night's walk; a page without keys: it is at its end."""
    after = tx.value(_MARK, name=f"all.{kind}", night=night) or 0
    found = tx.values(f"select id from {KINDS[kind]} where id > :after order by id limit :page", after=after, page=page)  # noqa: S608 -- words of this module
    return Page({kind: found} if found else {}, found[-1] if found else after)


def was_asked(tx: Transaction, invariant: str, night: date) -> bool:
    """Whether an invariant was asked as a whole in a night."""
    return tx.value(_MARK, name=f"whole.{invariant}", night=night) is not None


def set_mark(tx: Transaction, name: str, position: int, night: date | None = None) -> None:
    """That everything up to a position was asked about."""
    tx.execute(_SET_MARK, name=name, position=position, hash=None, night=night)


def violated(tx: Transaction, invariant: str, keys: Sequence[int] | None = None) -> list[str]:
    """The first keys for which an invariant does not hold.

    Args:
        tx: of this question alone, so that a slow one hides no other.
        invariant: its name.
        keys: of the kind of things that it is of; None: all of them.
    """
    one = declared()[invariant]
    if keys is None:
        return tx.values(one.asked(by_keys=False))
    return tx.values(one.asked(by_keys=True), keys=list(keys))


# What is told once a day is counted among what is not yet told: the same ten are found again all day.
_NOTE = """
with today as (select cast(atlas.now() at time zone 'UTC' as date) as day), told as (
    select v.key from invariant_violations v, today where v.day = today.day and v.invariant = :invariant
), new as (
    select key, row_number() over (order by key) as number from (select distinct key from unnest(cast(:keys as text[])) found (key)) found
    where key not in (select key from told)
)
insert into invariant_violations (invariant, key)
select :invariant, key from new where number + (select count(*) from told) <= :most
on conflict (day, invariant, key) do nothing returning key
"""


def note(tx: Transaction, invariant: str, keys: Sequence[str]) -> list[str]:
    """Record what is violated; those of today that were not recorded before, `MOST_A_DAY` of an invariant at most."""
    return sorted(tx.values(_NOTE, invariant=invariant, keys=list(keys), most=MOST_A_DAY))


_LINKS = """
with upto as (select cast(:after as bigint) as after, decode(cast(:hash as text), 'hex') as hash),
page as (
    select e.id, e.hash, audit_hash(e) as computed, e.previous_hash, lag(e.hash, 1, upto.hash) over (order by e.id) as hash_before
    from upto join audit_log e on e.id > upto.after and e.id <= upto.after + :page
)
select coalesce(p.id, upto.after) as id, encode(coalesce(p.hash, upto.hash), 'hex') as hash,
       p.hash = p.computed and p.previous_hash = p.hash_before and p.id <= h.last_id as sound,
       h.last_id, encode(h.last_hash, 'hex') as last_hash
from upto cross join audit_head h left join page p on true order by 1
"""


@dataclass(frozen=True, slots=True)
class _Link:
    id: int
    hash: str
    sound: bool | None
    last_id: int
    last_hash: str


@dataclass(frozen=True, slots=True)
class Links:
    """A page of the audit log's chain.

    Attributes:
        broken: rows that are not as they were written, or do not hold the hash of the one before; the end that is missing.
        upto: the last row of the page.
        hash: its hash.
        more: the chain goes on behind it.
    """

    broken: Sequence[int]
    upto: int
    hash: str
    more: bool


_CHAIN = "select position, encode(hash, 'hex') as hash from invariant_marks where name = :name and night is not distinct from cast(:night as date)"


@dataclass(frozen=True, slots=True)
class _Verified:
    position: int
    hash: str


def next_links(tx: Transaction, night: date | None, page: int) -> Links:
    """The next rows of the audit log against the ones before them: each hour the new ones, from the hash that was kept of the last; each night all.

    Ids of the log have no gaps, so a page is a range of them.
    """
    at = tx.row(_Verified, _CHAIN, name=_chain_mark(night), night=night) or _Verified(0, "00" * 32)
    links = tx.rows(_Link, _LINKS, after=at.position, hash=at.hash, page=page)
    last = links[-1]
    broken = [one.id for one in links if one.sound is False]
    more = last.id > at.position and last.id < last.last_id
    if last.id == at.position and last.id < last.last_id:
        broken.append(last.id + 1)  # the rows that follow are not there
    if last.id >= last.last_id and last.hash != last.last_hash:
        broken.append(last.id)
    return Links(broken, last.id, last.hash, more)


def verified(tx: Transaction, links: Links, night: date | None) -> None:
    """That a page of the chain was looked at."""
    tx.execute(_SET_MARK, name=_chain_mark(night), position=links.upto, hash=links.hash, night=night)


def _chain_mark(night: date | None) -> str:
    return "new.audit_log" if night is None else "all.audit_log"


_NIGHT = """
select cast((atlas.now() - interval '2 hours') at time zone 'UTC' as date) as night, m.night as finished
from (select 1) one left join invariant_marks m on m.name = 'night'
"""


@dataclass(frozen=True, slots=True)
class _Night:
    night: date
    finished: date | None


def night_due(tx: Transaction) -> date | None:
    """The night whose walk through everything is due or under way: it begins at two in the morning, UTC, and ends whenever it is done."""
    found = tx.one(_Night, _NIGHT)
    return None if found.finished is not None and found.finished >= found.night else found.night


def night_is_over(tx: Transaction, night: date) -> None:
    """That everything was asked about in a night."""
    set_mark(tx, "night", 0, night)
