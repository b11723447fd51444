"""What an operator does to work that is stored: run it again, give it up with a reason, ask for a sweep, let a node be asked.

Each is one transaction with its row in the audit log. A row that a task is at work on is passed over, never waited for: what it
leaves is decided upon then. No customer's path loads this module.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lib.domain import audit, operators, outbox
from lib.domain.operators import Action
from lib.domain.settlement import settle
from lib.domain.updates import Incoming

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from lib.db import Transaction
    from lib.domain.outbox import Item
    from lib.domain.pricelist import PriceList
    from lib.domain.settlement import Event


class Why(StrEnum):
    """Why it is not done; the end of its texts' names."""

    NOT_ALLOWED = "not-allowed"
    MISSING = "missing"
    BUSY = "busy"
    HAD_EFFECT = "had-effect"
    GIVEN_UP = "given-up"
    TELLS_OF_MONEY = "tells-of-money"
    SETTLED = "settled"
    NO_AMOUNT = "no-amount"
    NOT_LISTED = "not-listed"
    ONCE = "once"
    OUT_OF_REACH = "out-of-reach"
    TOO_LATE = "too-late"
    NOT_OPEN = "not-open"
    RETIRED = "retired"
    LAST_NODE = "last-node"
    SAME = "same"


class NotDone(Exception):
    """Nothing was changed; `why` says why."""

    def __init__(self, why: Why, about: str) -> None:
        super().__init__(f"{about}: {why.value}")
        self.why = why


@dataclass(frozen=True, slots=True)
class By:
    """Which operator, and why.

    Attributes:
        actor: Telegram id.
        owners: `ADMIN_IDS`.
        reason: as they typed it; empty where none is asked for.
        correlation_id: of the update or command.
    """

    actor: int
    owners: Collection[int]
    reason: str
    correlation_id: str


@dataclass(frozen=True, slots=True)
class _Update:
    update_id: int
    body: str
    correlation_id: str
    attempts: int
    is_done: bool
    is_given_up: bool


GIVEN_UP = "done_at is not null and last_error is not null and reply = '[]'"
"""An update that is done with an error and nothing to say had no effect: it was given up."""
_BY_AN_OPERATOR = "given up by an operator"

# A task that is inside the update's transaction holds the row: it is not waited for, and nothing is taken from under it.
_LOCK_UPDATE = f"""
select update_id, body, correlation_id, attempts, done_at is not null as is_done, {GIVEN_UP} as is_given_up
from updates where update_id = :id for no key update skip locked
"""  # noqa: S608 -- a constant
_UPDATE_EXISTS = "select exists (select from updates where update_id = :id)"
_OPEN_AGAIN = "update updates set done_at = null, reply = null, attempts = 0 where update_id = :id"
_GIVE_UP_UPDATE = f"""
update updates set done_at = atlas.now(), reply = '[]', last_error = coalesce(last_error, '{_BY_AN_OPERATOR}')
where update_id = :id
"""  # noqa: S608 -- a constant
# Found by the update's own index.
_DRIVE_UPDATE = """
select id from outbox where target = 'task_update' and payload ->> 'update_id' = cast(cast(:id as bigint) as text) and done_at is null
"""
# Among what the queue owes: there is no index by event, and that is a short list.
_DRIVE_EVENT = """
select id from outbox where queue = 'payments' and target = 'task_settle' and done_at is null
  and payload ->> 'event_id' = cast(cast(:id as bigint) as text) order by id
"""


@dataclass(frozen=True, slots=True)
class _Event:
    status: str
    kind: str
    body: bytes
    reason: str | None
    correlation_id: str


_LOCK_EVENT = """
select status, kind, body, reason, correlation_id from payment_events where id = :id for no key update skip locked
"""
_EVENT_EXISTS = "select exists (select from payment_events where id = :id)"


@dataclass(frozen=True, slots=True)
class _Message:
    status: str
    delivery: str
    correlation_id: str
    is_out_of_reach: bool
    is_too_late: bool


_LOCK_MESSAGE = """
select m.status, m.delivery, m.correlation_id, a.unreachable_since is not null as is_out_of_reach,
       coalesce(m.not_after <= atlas.now(), false) as is_too_late
from messages m join accounts a on a.id = m.account_id where m.id = :id for no key update of m skip locked
"""
_MESSAGE_EXISTS = "select exists (select from messages where id = :id)"
_QUEUE_AGAIN = """
update messages set status = 'queued', finished_at = null, last_error = null, due_at = atlas.now(), unknown_attempts = 0
where id = :id
"""
# One row a sweep is open: what was asked for before and never ran is asked for now.
_CLOSE_ASKED = "update outbox set done_at = atlas.now() where queue = 'sweeps' and target = :target and done_at is null"


@dataclass(frozen=True, slots=True)
class _Breaker:
    name: str
    is_open: bool
    failures: int


_LOCK_BREAKER = """
select name, failures,
       coalesce(open_until > atlas.now(), false) or coalesce(reconcile_open_until > atlas.now(), false) as is_open
from nodes where id = :id for no key update
"""
# The failures stay: one probe by one caller, and what it finds closes the breaker or opens it again. Of the two breakers, the one that
# is closed stays so.
_ALLOW_PROBE = """
update nodes
set open_until = case when open_until > atlas.now() then atlas.now() else open_until end,
    reconcile_open_until = case when reconcile_open_until > atlas.now() then atlas.now() else reconcile_open_until end
where id = :id
"""


def run_update_again(tx: Transaction, update_id: int, by: By) -> list[Item]:
    """Handle a stored update again now, one that was given up too; its task to enqueue.

    Raises:
        NotDone: it had its effect, is being handled at this moment, or is none.
    """
    check_may(tx, by, Action.OPERATE, f"update {update_id}")
    found = _locked_update(tx, update_id)
    if found.is_done and not found.is_given_up:
        raise NotDone(Why.HAD_EFFECT, f"update {update_id}")
    tx.execute(_OPEN_AGAIN, id=update_id)
    work = _driven(tx, _DRIVE_UPDATE, update_id) or [
        outbox.add(tx, "updates", "task_update", {"update_id": update_id}, found.correlation_id)
    ]
    before = {"state": "given_up" if found.is_given_up else "waiting", "attempts": found.attempts}
    _record(tx, by, "update.run_again", ("update", update_id), before=before, after={"state": "waiting"})
    return work


def give_up_update(tx: Transaction, update_id: int, by: By, is_money: Callable[[Incoming], bool]) -> None:
    """Have a stored update end with nothing to say; it can be run again for as long as it is kept.

    Args:
        tx: the transaction.
        update_id: which.
        by: who, with their reason.
        is_money: whether an update tells of a charge: such a one is never given up, it would be pruned with the rest.

    Raises:
        NotDone: it is done, is being handled at this moment, tells of money, or is none.
    """
    check_may(tx, by, Action.OPERATE, f"update {update_id}")
    found = _locked_update(tx, update_id)
    if found.is_done:
        raise NotDone(Why.GIVEN_UP if found.is_given_up else Why.HAD_EFFECT, f"update {update_id}")
    if is_money(Incoming(found.update_id, found.body, found.correlation_id)):
        raise NotDone(Why.TELLS_OF_MONEY, f"update {update_id}")
    tx.execute(_GIVE_UP_UPDATE, id=update_id)
    _close(tx, _DRIVE_UPDATE, update_id)
    before = {"state": "waiting", "attempts": found.attempts}
    _record(tx, by, "update.given_up", ("update", update_id), before=before, after={"state": "given_up"})


def run_event_again(tx: Transaction, event_id: int, by: By) -> list[Item]:
    """Settle a kept payment event again now; its task to enqueue.

    Raises:
        NotDone: it is settled or set aside, is being settled at this moment, or is none.
    """
    check_may(tx, by, Action.END_SUSPENSE, f"event {event_id}")
    found = _locked_event(tx, event_id)
    work = _driven(tx, _DRIVE_EVENT, event_id) or [
        outbox.add(tx, "payments", "task_settle", {"event_id": event_id}, found.correlation_id)
    ]
    _record(
        tx, by, "event.run_again", ("event", event_id), before={"state": found.status}, after={"state": found.status}
    )
    return work


def set_event_aside(tx: Transaction, event_id: int, event: Event, by: By, prices: PriceList) -> list[Item]:
    """Give up settling a charge that is kept: its money lies in suspense, where every way out of it is open.

    Args:
        tx: the transaction.
        event_id: which.
        event: the same, read again by its provider's reader.
        by: who, with their reason.
        prices: of today.

    Raises:
        NotDone: it is settled, is being settled at this moment, is no charge with an amount, or is none.
    """
    check_may(tx, by, Action.END_SUSPENSE, f"event {event_id}")
    found = _locked_event(tx, event_id)
    if event.money is None or event.kind != "charge" or found.kind != "charge" or event.body != found.body:
        raise NotDone(Why.NO_AMOUNT, f"event {event_id}")
    said = replace(event, reason=f"set aside by an operator: {by.reason}")
    received = settle(tx, event_id, said, prices, is_new=False)
    _close(tx, _DRIVE_EVENT, event_id)
    _record(
        tx,
        by,
        "event.set_aside",
        ("event", event_id),
        before={"state": found.status},
        after={"state": received.outcome},
    )
    return list(received.follow_up)


def run_message_again(tx: Transaction, message_id: int, by: By) -> list[Item]:
    """Send a `must` message again whose outcome is unknown, or that was refused; its task to enqueue. It may come twice.

    Raises:
        NotDone: it is none of those, its customer can't be reached, its time is over, or it is sent `once` at most.
    """
    check_may(tx, by, Action.OPERATE, f"message {message_id}")
    found = tx.row(_Message, _LOCK_MESSAGE, id=message_id)
    if found is None:
        raise NotDone(_why_not_locked(tx, _MESSAGE_EXISTS, message_id), f"message {message_id}")
    if found.status not in {"unclear", "failed", "unreachable"}:
        raise NotDone(Why.NOT_LISTED, f"message {message_id}")
    if found.delivery != "must":
        raise NotDone(Why.ONCE, f"message {message_id}")
    if found.is_out_of_reach:
        raise NotDone(Why.OUT_OF_REACH, f"message {message_id}")
    if found.is_too_late:
        raise NotDone(Why.TOO_LATE, f"message {message_id}")
    tx.execute(_QUEUE_AGAIN, id=message_id)
    work = outbox.add(tx, "messages", "task_notify", {"message_id": message_id}, found.correlation_id)
    _record(
        tx, by, "message.run_again", ("message", message_id), before={"state": found.status}, after={"state": "queued"}
    )
    return [work]


def ask_for_sweep(tx: Transaction, sweep: str, target: str, by: By) -> list[Item]:
    """Have a sweep run now, beside its schedule; its named task to enqueue. One that is running already is not run twice.

    Args:
        tx: the transaction.
        sweep: its name.
        target: its function.
        by: who.

    Raises:
        NotDone: not by this role.
    """
    check_may(tx, by, Action.OPERATE, f"sweep {sweep}")
    tx.execute(_CLOSE_ASKED, target=target)
    work = outbox.add(tx, "sweeps", target, {"tick": f"asked {by.correlation_id}"}, by.correlation_id)
    _record(tx, by, "sweep.asked", ("sweep", sweep), before=None, after={"outbox_id": work.id})
    return [work]


def allow_probe(tx: Transaction, node_id: int, by: By) -> None:
    """Let a node whose breaker is open be asked now: by one probe, whose answer closes the breaker or opens it again.

    Raises:
        NotDone: no breaker of it is open, or there is no such node.
    """
    check_may(tx, by, Action.OPERATE, f"node {node_id}")
    found = tx.row(_Breaker, _LOCK_BREAKER, id=node_id)
    if found is None:
        raise NotDone(Why.MISSING, f"node {node_id}")
    if not found.is_open:
        raise NotDone(Why.NOT_OPEN, f"node {found.name}")
    tx.execute(_ALLOW_PROBE, id=node_id)
    _record(
        tx,
        by,
        "node.probe_allowed",
        ("node", found.name),
        before={"breaker": "open", "failures": found.failures},
        after={"breaker": "one probe"},
    )


def switch_flag(tx: Transaction, name: str, by: By, *, on: bool) -> None:
    """Open or close the path behind a switch.

    Raises:
        NotDone: not by this role, or it stands so already.
    """
    check_may(tx, by, Action.SWITCH, f"flag {name}")
    if not operators.switch_flag(tx, by.actor, name, on=on, correlation_id=by.correlation_id):
        raise NotDone(Why.SAME, f"flag {name}")


def check_may(tx: Transaction, by: By, action: Action, about: str) -> None:
    """Raises: NotDone: no role of theirs may do it now."""
    if not operators.may(operators.roles(tx, by.actor, by.owners), action):
        raise NotDone(Why.NOT_ALLOWED, about)


def _locked_update(tx: Transaction, update_id: int) -> _Update:
    found = tx.row(_Update, _LOCK_UPDATE, id=update_id)
    if found is None:
        raise NotDone(_why_not_locked(tx, _UPDATE_EXISTS, update_id), f"update {update_id}")
    return found


def _locked_event(tx: Transaction, event_id: int) -> _Event:
    found = tx.row(_Event, _LOCK_EVENT, id=event_id)
    if found is None:
        raise NotDone(_why_not_locked(tx, _EVENT_EXISTS, event_id), f"event {event_id}")
    if found.status != "new":
        raise NotDone(Why.SETTLED, f"event {event_id}")
    return found


def _why_not_locked(tx: Transaction, exists: str, key: int) -> Why:
    return Why.BUSY if tx.value(exists, id=key) else Why.MISSING


def _driven(tx: Transaction, find: str, key: int) -> list[Item]:
    """The open work of a row, as a further attempt of now; empty where there is none."""
    again = [outbox.put_off(tx, int(row), 0) for row in tx.values(find, id=key)[:1]]
    return [item for item in again if item is not None]


def _close(tx: Transaction, find: str, key: int) -> None:
    for row in tx.values(find, id=key):
        outbox.finish(tx, int(row))


def _record(
    tx: Transaction,
    by: By,
    action: str,
    subject: tuple[str, int | str],
    *,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any],
) -> None:
    kind, key = subject
    told = dict(after) | ({"reason": by.reason} if by.reason else {})
    audit.record(
        tx,
        by.actor,
        action,
        audit.Subject(kind, str(key)),
        before=before,
        after=told,
        correlation_id=by.correlation_id,
    )
