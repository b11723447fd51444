"""What must hold: at every look (safety), and once what goes wrong has stopped (liveness)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from lib.db.invariants import violations_in
from simulation import access, money
from simulation.access import TRIAL, Gain
from simulation.customers import FIRST_ID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from simulation.customers import Person
    from simulation.nodes import Node
    from simulation.world import World

_GRACE: Final = timedelta(hours=6)
"""A node drops a client by itself so long after its end when it hears nothing (product.md)."""
_SLACK: Final = timedelta(minutes=5)
_HELD: Final = """
select a.telegram_id, s.id, s.tariff, s.status, s.expires_at, s.uuid, s.auto_renew
from subscriptions s join accounts a on a.id = s.account_id order by s.id
"""
_GAINED: Final = """
select a.telegram_id, o.paid_at as at, o.id, o.tariff, o.period_days
from orders o join accounts a on a.id = o.account_id where o.status = 'paid' and o.kind = 'subscription'
union all
select a.telegram_id, h.created_at, 0, h.tariff, 0
from subscription_history h join subscriptions s on s.id = h.subscription_id join accounts a on a.id = s.account_id
where h.source = 'trial' and h.event in ('granted', 'extended', 'renewed')
order by 2, 3
"""
_UUIDS: Final = "select subscription_id, cast(uuid as text), max(expires_at) from subscription_history group by 1, 2"
_WANTED: Final = """
select n.name, cast(c.subscription_id as text), cast(c.uuid as text)
from node_clients c join nodes n on n.id = c.node_id where c.wanted
"""
_WAITING: Final = """
select 'outbox: ' || target from outbox where done_at is null and greatest(created_at, not_before) < :before
union all select 'an update' from updates where done_at is null and received_at < :before
union all select 'access that is not applied' from subscriptions where activation_status = 'pending' and pending_since < :before
union all select 'access that is over' from subscriptions where status = 'active' and expires_at < :before
union all select 'a node is to be told' from node_clients
    where (applied_version is distinct from version) and (wanted or applied_version is not null) and changed_at < :before
union all select 'a message: ' || kind from messages where status = 'queued' and greatest(created_at, due_at) < :before
union all select 'money that has no effect' from payment_events where status = 'new' and received_at < :before
union all select 'a breaker: ' || name from nodes where open_until is not null or failures > 0
"""
_TWICE: Final = """
select key from messages where delivery = 'once' and attempts > 1 and status = 'sent' and unknown_attempts > 0
"""


@dataclass(frozen=True, slots=True)
class Found:
    """Something that must not be.

    Attributes:
        check: which one found it.
        what: in words, without UUIDs.
    """

    check: str
    what: str


class Checks:
    """The judges of one run."""

    def __init__(self, world: World, people: Sequence[Person]) -> None:
        self._world = world
        self._people = {FIRST_ID + number: person for number, person in enumerate(people, 1)}
        self.looks = 0

    def safety(self) -> list[Found]:
        """At any moment."""
        self.looks += 1
        found = [Found(f"invariant {one.invariant}", ", ".join(one.keys)) for one in violations_in(self._world.owner)]
        found += self._ends()
        found += [Found("money", what) for what in money.problems(self._world, older_than=0)]
        found += [Found("node", what) for node in self._world.nodes for what in self._lets_in(node)]
        return [*found, *(Found("message once", key) for (key,) in self._world.query(_TWICE))]

    def converged(self, before: datetime) -> list[Found]:
        """Of what began before that moment nothing waits, and the world is as the books have it."""
        found = [Found("waiting", what) for (what,) in self._world.query(_WAITING, before=before)]
        found += [Found("money", what) for what in money.problems(self._world, older_than=before.timestamp())]
        return found

    def at_rest(self) -> list[Found]:
        """With no one doing anything any more: every node holds just what is wanted of it, and all who paid get in."""
        found = []
        wanted: dict[str, dict[str, str]] = {node.name: {} for node in self._world.nodes}
        for node_name, subscription, uuid in self._world.query(_WANTED):
            wanted[node_name][subscription] = uuid
        for node in self._world.nodes:
            held = node.lets_in
            found += [
                Found(
                    "node at rest",
                    f"{node.name}: subscription {one} {'lacks' if one in wanted[node.name] else 'still has'} its client",
                )
                for one in sorted(held.keys() | wanted[node.name].keys())
                if held.get(one) != wanted[node.name].get(one)
            ]
        now = self._world.clock.now()
        for telegram_id, until in self._reckoned_ends().items():
            key = self._key_of(telegram_id)
            inside = key is not None and any(key in node.lets_in.values() for node in self._world.nodes)
            if until > now and not inside:
                found.append(Found("access", f"c{telegram_id - FIRST_ID} paid until {until}, and no node lets them in"))
            if until <= now and inside:
                found.append(
                    Found("access", f"c{telegram_id - FIRST_ID}'s access ended {until}, and a node lets them in")
                )
        return found

    def _key_of(self, telegram_id: int) -> str | None:
        rows = self._world.query(
            "select cast(s.uuid as text) from subscriptions s join accounts a on a.id = s.account_id where a.telegram_id = :id",
            id=telegram_id,
        )
        return rows[0][0] if rows else None

    def _gains(self) -> dict[int, list[Gain]]:
        found: dict[int, list[Gain]] = {}
        for telegram_id, at, order, tariff, days in self._world.query(_GAINED):
            gain = Gain(at, tariff, TRIAL, trial=True) if not order else Gain(at, tariff, timedelta(days=days))
            found.setdefault(telegram_id, []).append(gain)
        return found

    def _reckoned_ends(self) -> dict[int, datetime]:
        ends = {}
        for telegram_id, gains in self._gains().items():
            had = access.reckoned(gains)
            if had is not None:
                ends[telegram_id] = had.until
        return ends

    def _ends(self) -> list[Found]:
        """Every end is what was paid for, to the microsecond; every trial was asked for, once."""
        gains, found = self._gains(), []
        for telegram_id, _, tariff, status, expires_at, uuid, _ in self._world.query(_HELD):
            person, name = self._people.get(telegram_id), f"c{telegram_id - FIRST_ID}"
            theirs = gains.get(telegram_id, [])
            had = access.reckoned(theirs)
            if had is None:
                found.append(Found("access", f"{name} has access, and nothing gave it"))
                continue
            if (had.until, had.tariff) != (expires_at, tariff):
                found.append(
                    Found(
                        "access",
                        f"{name} has {tariff} until {expires_at}, and should have {had.tariff} until {had.until}",
                    )
                )
            if (status == "expired") != (uuid is None):
                found.append(
                    Found("access", f"{name} is {status}, and a key is {'lacking' if uuid is None else 'left'}")
                )
            if status == "expired" and expires_at > self._world.clock.now():
                found.append(Found("access", f"{name} is expired before {expires_at}"))
            trials = [gain for gain in theirs if gain.trial]
            if len(trials) > 1 or (trials and theirs[0] is not trials[0]):
                found.append(Found("access", f"{name} has a second trial, or one after they paid"))
            if trials and person is not None and not person.seen.trial_taps:
                found.append(Found("access", f"{name} has a trial that they never asked for"))
        return found

    def _lets_in(self, node: Node) -> list[str]:
        """A node that is up lets in no one whose access ended longer ago than its grace, and no UUID that no grant made."""
        known = {(str(number), uuid): until for number, uuid, until in self._world.query(_UUIDS)}
        found: list[str] = []
        if node.mood != "up":
            return found
        for subscription, uuid in node.lets_in.items():
            if (subscription, uuid) not in known:
                found.append(f"{node.name} lets subscription {subscription} in by a UUID that no grant made")
        return found
