"""Which VPN nodes there are: added and changed by operators, each change with its row in the audit log (docs/node.md)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from lib.domain import audit, provisioning
from lib.domain.operators import Action
from lib.domain.stored_work import NotDone, Why, check_may

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from lib.db import Transaction
    from lib.domain.stored_work import By

WAITS_LONG = "15 minutes"
"""What a node that can be called has not confirmed after so long is told to an operator."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What an operator says of a node.

    Attributes:
        key_name: the setting that its API key comes from.
        pins: SHA-256 of the public keys that its certificate may have, in hex, the present one first; none of a node on this machine.
        country: two letters (ISO 3166); with both names of the city, or without.
        weight: 0 or more; customers' links lead with the heaviest.
    """

    name: str
    api_url: str
    key_name: str
    pins: tuple[str, ...]
    country: str | None
    city_ru: str | None
    city_en: str | None
    tags: tuple[str, ...]
    weight: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A node as operators see it.

    Attributes:
        pin_until: while the certificate is exchanged: until when the first pin counts.
        clients: that it is to hold.
        waiting: clients that it has not confirmed, those that are to go included.
        waiting_long: of them, those that changed more than `WAITS_LONG` ago.
        asked_at: `atlas.now()`.
        open_since: since when its breaker is open: the functions do not reach it.
    """

    entry: Entry
    id: int
    state: str
    lost_since: datetime | None
    trouble: str | None
    pin_until: datetime | None
    clients: int
    waiting: int
    waiting_long: int
    asked_at: datetime
    open_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """What a command was given; None leaves a node's own, and of a new node takes what `added` says."""

    name: str
    api_url: str | None = None
    pins: tuple[str, ...] | None = None
    country: str | None = None
    city_ru: str | None = None
    city_en: str | None = None
    tags: tuple[str, ...] | None = None
    weight: int | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """What came of it.

    Attributes:
        was: its row before; None: there was none.
        differences: field by field, what is, or would be, another: (before, after).
        written: whether the database changed.
    """

    was: Entry | None
    differences: dict[str, tuple[Any, Any]]
    written: bool


@dataclass(frozen=True, slots=True)
class Drained:
    """What came of draining a node, or of its undoing.

    Attributes:
        was: its state before.
        written: whether that changed.
        clients: that it is to hold now.
    """

    was: str
    written: bool
    clients: int


class AddressTaken(Exception):
    """Another node is at that address: one machine under two names would get two keys and every customer twice."""


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    name: str
    api_url: str
    key_name: str
    pin: str | None
    next_pin: str | None
    country: str | None
    city_ru: str | None
    city_en: str | None
    tags: Sequence[str]
    weight: int


_COLUMNS = "n.id, n.name, n.api_url, n.key_name, n.pin, n.next_pin, n.country, n.city_ru, n.city_en, n.tags, n.weight"
_FIND = f"select {_COLUMNS} from nodes n where n.name = :name"  # noqa: S608 -- a constant
_LOCK = f"{_FIND} for no key update"
_STATE = """
select state, (select count(*) from node_clients c where c.node_id = n.id and c.wanted) as clients
from nodes n where n.name = :name for no key update of n
"""
_ANOTHER = """
select exists (select from nodes where name <> :name and state = 'active' and lost_since is null and open_until is null and trouble is null)
"""
_SET_STATE = "update nodes set state = :state, drained_to = 0 where name = :name"
_ONE_BY_ONE = "select pg_advisory_xact_lock(7301, 0)"
# An address means the same with its scheme's own port and without.
_ELSEWHERE = r"""
select name from nodes
where name <> :name and state <> 'retired'
  and regexp_replace(api_url, '^(https://[^/]*):443(?=/|$)|^(http://[^/]*):80(?=/|$)', '\1\2')
    = regexp_replace(cast(:api_url as text), '^(https://[^/]*):443(?=/|$)|^(http://[^/]*):80(?=/|$)', '\1\2')
"""
_INSERT = f"""
insert into nodes (name, api_url, key_name, pin, next_pin, pin_until, country, city_ru, city_en, tags, weight)
values (:name, :api_url, :key_name, cast(:pin as text), cast(:next_pin as text),
        case when cast(:next_pin as text) is not null then atlas.now() + interval '{provisioning.EXCHANGE}' end,
        cast(:country as text), cast(:city_ru as text), cast(:city_en as text), cast(:tags as text[]), :weight)
"""  # noqa: S608 -- a constant
# The same two pins said again begin no new exchange: the old one ends when it was to end.
_UPDATE = f"""
update nodes set api_url = :api_url, pin = cast(:pin as text), next_pin = cast(:next_pin as text),
    pin_until = case when cast(:next_pin as text) is null then null
                     when pin = cast(:pin as text) and next_pin = cast(:next_pin as text) then pin_until
                     else atlas.now() + interval '{provisioning.EXCHANGE}' end,
    country = cast(:country as text), city_ru = cast(:city_ru as text), city_en = cast(:city_en as text),
    tags = cast(:tags as text[]), weight = :weight
where name = :name
"""  # noqa: S608 -- a constant


@dataclass(frozen=True, slots=True)
class _StateRow:
    state: str
    clients: int


@dataclass(frozen=True, slots=True)
class _ListedRow(_Row):
    state: str
    lost_since: datetime | None
    trouble: str | None
    pin_until: datetime | None
    clients: int
    waiting: int
    waiting_long: int
    asked_at: datetime
    open_since: datetime | None


# For a person, now and then: it reads every client's row.
_LIST = f"""
select {_COLUMNS}, n.state, n.lost_since, n.trouble, n.pin_until, n.open_since, atlas.now() as asked_at,
       count(*) filter (where c.wanted) as clients,
       count(*) filter (where not c.wanted or c.applied_version is distinct from c.version) as waiting,
       count(*) filter (where (not c.wanted or c.applied_version is distinct from c.version)
                          and c.changed_at < atlas.now() - interval '{WAITS_LONG}') as waiting_long
from nodes n left join node_clients c on c.node_id = n.id
group by n.id order by n.id
"""  # noqa: S608 -- constants


def listing(tx: Transaction) -> list[Listed]:
    """Every node, retired ones too, in the order in which they came."""
    return [
        Listed(
            _entry(row),
            row.id,
            row.state,
            row.lost_since,
            row.trouble,
            row.pin_until,
            row.clients,
            row.waiting,
            row.waiting_long,
            row.asked_at,
            row.open_since,
        )
        for row in tx.rows(_ListedRow, _LIST)
    ]


def merged(was: Entry | None, given: Given, key_name: str) -> Entry:
    """What the row is to say. `key_name` is a new node's; one that is there keeps its own.

    Raises:
        ValueError: a new node lacks what it needs; which, is the text.
    """
    if was is None:
        missing = [name for name in ("api_url", "country", "city_ru", "city_en") if getattr(given, name) is None]
        if missing:
            raise ValueError(", ".join(missing))
        was = Entry(given.name, "", key_name, (), None, None, None, (), 1)
    said = {field.name: getattr(given, field.name) for field in fields(given) if getattr(given, field.name) is not None}
    return replace(was, **said)


def register(tx: Transaction, given: Given, key_name: str, *, update: bool, correlation_id: str) -> Registered:
    """Add the node, or change its row when `update` says so; the same again changes nothing.

    New customers are placed on an added node from now on, present ones page by page (`lib.domain.provisioning.place`).

    Raises:
        ValueError: as `merged`.
        AddressTaken
        lib.db.StatementFailed: a constraint refuses it.
    """
    tx.execute(_ONE_BY_ONE)  # two commands at once can't both find an address free
    row = tx.row(_Row, _LOCK, name=given.name)
    was = _entry(row) if row else None
    wanted = merged(was, given, key_name)
    differences = differing(was, wanted)
    if (taken := tx.value(_ELSEWHERE, api_url=wanted.api_url, name=wanted.name)) is not None:
        raise AddressTaken(taken)
    if was is not None and (not differences or not update):
        return Registered(was, differences, written=False)
    pin, next_pin = [*wanted.pins, None, None][:2]
    written = asdict(wanted) | {"pin": pin, "next_pin": next_pin, "tags": list(wanted.tags)}
    del written["pins"]
    if was is None:
        tx.execute(_INSERT, **written)
    else:
        del written["key_name"]
        tx.execute(_UPDATE, **written)
    audit.record(
        tx,
        None,
        "node.added" if was is None else "node.changed",
        audit.Subject("node", wanted.name),
        before=None if was is None else {name: before for name, (before, _) in differences.items()},
        after={name: after for name, (_, after) in differences.items()},
        correlation_id=correlation_id,
    )
    return Registered(was, differences, written=True)


def drain(tx: Transaction, name: str, by: By, *, undo: bool) -> Drained:
    """Take customers off the node, each once another is confirmed to let them in, and give it no new ones; or undo that.

    The sweeps do it, page by page (`lib.domain.provisioning.take_off`). Undone, it takes customers again, those who were taken off too.

    Raises:
        NotDone: no role of theirs may do it, there is no such node, it is retired, or no other node that is well takes customers:
            new ones would get no key.
    """
    check_may(tx, by, Action.OPERATE, f"node {name}")
    tx.execute(_ONE_BY_ONE)  # two nodes are not drained at once, each for the other's sake
    row = tx.row(_StateRow, _STATE, name=name)
    if row is None:
        raise NotDone(Why.MISSING, f"node {name}")
    if row.state == "retired":
        raise NotDone(Why.RETIRED, f"node {name}")
    state = "active" if undo else "draining"
    if row.state == state:
        return Drained(row.state, written=False, clients=row.clients)
    if not undo and not tx.value(_ANOTHER, name=name):
        raise NotDone(Why.LAST_NODE, f"node {name}")
    tx.execute(_SET_STATE, name=name, state=state)
    audit.record(
        tx,
        by.actor,
        "node.active" if undo else "node.draining",
        audit.Subject("node", name),
        before={"state": row.state},
        after={"state": state, "clients": row.clients, "reason": by.reason},
        correlation_id=by.correlation_id,
    )
    return Drained(row.state, written=True, clients=row.clients)


def differing(was: Entry | None, wanted: Entry) -> dict[str, tuple[Any, Any]]:
    """Field by field, what is another: (before, after). Everything that is said of a new node."""
    after = asdict(wanted)
    before: dict[str, Any] = dict.fromkeys(after) if was is None else asdict(was)
    return {name: (before[name], after[name]) for name in after if name != "name" and before[name] != after[name]}


def _entry(row: _Row) -> Entry:
    return Entry(
        row.name,
        row.api_url,
        row.key_name,
        tuple(pin for pin in (row.pin, row.next_pin) if pin is not None),
        row.country,
        row.city_ru,
        row.city_en,
        tuple(row.tags),
        row.weight,
    )
