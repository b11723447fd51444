"""What operators read of the shop's work: counts and ages, what waits, nodes, sweeps, switches. Reading changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.bot.finance import callbacks as money
from lib.bot.operations import acts
from lib.bot.operations.callbacks import (
    Act,
    Begin,
    Event,
    Events,
    Flags,
    GivenUp,
    Home,
    Message,
    Messages,
    Node,
    Nodes,
    Pending,
    Refunds,
    Sweep,
    Sweeps,
    Update,
    Updates,
)
from lib.bot.screen import Screen, tap
from lib.domain import operations, operators, sweep_runs
from lib.domain.money_desk import FIRST
from lib.domain.operators import Action
from lib.domain.provisioning import CLOCK_OFF_MS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from lib.bot.screen import Button, Rows
    from lib.bot.update_context import UpdateContext
    from lib.db import Transaction
    from lib.domain.operations import Kept, NodeState, Said
    from lib.domain.operators import Role
    from lib.domain.sweep_runs import LastRun
    from lib.texts import Texts

_PAGE, _RUNS, _SAID = 5, 5, 3
_LONGEST = 120
"""Characters of a text of others: what a node said, an error."""
_AGES = (("d", 86_400, 172_800), ("h", 3_600, 7_200), ("m", 60, 120))


def home(tx: Transaction, context: UpdateContext, held: Collection[Role], toast: str = "") -> Screen:
    """The desk: counts and ages of everything that waits; `toast` is the id of a text."""
    say = context.texts
    toasted = say.plain(toast) if toast else ""
    if not operators.may(held, Action.SEE_OPERATIONS):
        return Screen("\n\n".join((say.html("operations"), say.html("finance-nothing"))), toast=toasted)
    stands, all_nodes, last = (
        operations.standing(tx, own=context.incoming.update_id),
        operations.nodes(tx, page=operations.MOST),
        sweep_runs.last(tx),
    )
    switched = operations.switches(tx)
    off = [name for name, one in switched.items() if not one.enabled]
    unwell = _unwell(tx, last)
    troubled = [one for one in all_nodes if _problems(context, one)]
    lines = [
        say.html(
            "operations-pending", count=_count(stands.pending), age=_oldest(say, stands.pending, stands.pending_s)
        ),
        say.html("operations-nodes", count=str(len(all_nodes)), troubled=str(len(troubled))),
        say.html("operations-sweeps", count=str(len(acts.sweeps())), unwell=", ".join(unwell) or "—"),
        say.html("operations-off-now", names=", ".join(off) or "—"),
        say.html(
            "operations-updates",
            count=_count(stands.updates),
            age=_oldest(say, stands.updates, stands.updates_s),
            gone=_count(stands.updates_given_up),
        ),
        say.html(
            "operations-events",
            count=_count(stands.events),
            age=_oldest(say, stands.events, stands.events_s),
            unmatched=_count(stands.events_unmatched),
        ),
        say.html(
            "operations-messages",
            unclear=_count(stands.messages_unclear),
            failed=_count(stands.messages_failed),
            unreachable=_count(stands.messages_unreachable),
        ),
        say.html(
            "operations-refunds", count=_count(stands.refunds), age=_oldest(say, stands.refunds, stands.refunds_s)
        ),
    ]
    owed = [
        say.html("operations-queue", name=one.queue, count=_count(one.count), age=_age(say, one.oldest_s))
        for one in operations.owed(tx)
    ]
    queues = "\n".join((say.html("operations-queues"), *owed)) if owed else say.html("operations-queues-none")
    rows: Rows = (
        (
            tap(say.plain("button-operations-pending"), Pending(after_us=0, after=0)),
            tap(say.plain("button-operations-nodes"), Nodes(after=0)),
        ),
        (
            tap(say.plain("button-operations-sweeps"), Sweeps()),
            tap(say.plain("button-operations-flags"), Flags()),
        ),
        (
            tap(say.plain("button-operations-updates"), Updates(place=0, after=0)),
            tap(say.plain("button-operations-gone"), GivenUp(before=0)),
        ),
        (
            tap(say.plain("button-operations-events"), Events(after=0)),
            tap(say.plain("button-operations-messages"), Messages(before=0)),
        ),
        (
            tap(say.plain("button-operations-refunds"), Refunds(after=0)),
            tap(say.plain("button-operations-refresh"), Home()),
        ),
    )
    return Screen("\n\n".join((say.html("operations"), "\n".join(lines), queues)), rows, toast=toasted)


def pending(tx: Transaction, context: UpdateContext, held: Collection[Role], after_us: int, after: int) -> Screen:
    """Access that no node has confirmed yet, the oldest first: since when, and which node said what."""
    say = context.texts
    found = operations.pending(tx, after_us=after_us, after=after, page=_PAGE + 1)
    page = found[:_PAGE]
    said: dict[int, list[Said]] = {}
    for answer in operations.said(tx, [each.id for each in page]):
        said.setdefault(answer.subscription_id, []).append(answer)
    parts = []
    for one in page:
        lines = [
            say.html(
                "operations-pending-line",
                number=str(one.account_id),
                tariff=say.tariff(one.tariff),
                when=context.moment(one.since),
                age=_age(say, one.age_s),
            )
        ]
        lines += [
            say.html(
                "operations-node-said",
                name=answer.node,
                what=_short(answer.error) or say.plain("operations-not-asked"),
                count=str(answer.attempts),
                age=_age(say, answer.next_s),
            )
            for answer in said.get(one.id, ())[:_SAID]
        ]
        parts.append("\n".join(lines))
    known: tuple[Button, ...] = ()
    if operators.may(held, Action.SEE_CUSTOMER):
        known = tuple(
            tap(
                say.plain("button-finance-customer", number=str(one.account_id)), money.Customer(account=one.account_id)
            )
            for one in page
        )
    more = (
        ((tap(say.plain("button-finance-more"), Pending(after_us=page[-1].since_us, after=page[-1].id)),),)
        if len(found) > _PAGE
        else ()
    )
    head = say.html("operations-pending-list" if page else "operations-pending-none")
    return Screen("\n\n".join((head, *parts)), (*_pairs(known), *more, (_home(context),)))


def nodes(tx: Transaction, context: UpdateContext, after: int) -> Screen:
    """Every node with its state, a page."""
    say = context.texts
    found = operations.nodes(tx, after=after, page=_PAGE + 1)
    page = found[:_PAGE]
    lines = [
        "\n".join(
            (
                say.html(
                    "operations-node-line",
                    name=one.name,
                    state=say.plain(f"operations-node-{one.state}"),
                    count=_count(one.waiting),
                ),
                *_problems(context, one),
            )
        )
        for one in page
    ]
    choice = tuple(tap(one.name, Node(node=one.id)) for one in page)
    more = ((tap(say.plain("button-finance-more"), Nodes(after=page[-1].id)),),) if len(found) > _PAGE else ()
    head = say.html("operations-node-list" if page else "operations-node-none")
    return Screen("\n\n".join((head, *lines)), (*_pairs(choice), *more, (_home(context),)))


def node(tx: Transaction, context: UpdateContext, held: Collection[Role], node_id: int) -> Screen:
    """One node: its state, its breaker, what it owes."""
    say = context.texts
    one = operations.node(tx, node_id)
    if one is None:
        return _missing(context, tap(say.plain("button-operations-nodes"), Nodes(after=0)))
    clock = "—" if one.clock_off_ms is None else f"{one.clock_off_ms / 1000:+.1f}"
    lines = [
        say.html(
            "operations-node-line",
            name=one.name,
            state=say.plain(f"operations-node-{one.state}"),
            count=_count(one.waiting),
        ),
        say.html("operations-node-clients", count=str(operations.clients(tx, node_id))),
        say.html("operations-node-clock", seconds=clock),
        say.html("operations-node-failures", count=str(one.failures), reconcile=str(one.reconcile_failures)),
        *_problems(context, one),
    ]
    rows: list[tuple[Button, ...]] = []
    if operators.may(held, Action.OPERATE) and (one.open_s > 0 or one.reconcile_s > 0):
        rows.append((_act(context, Act.PROBE, str(one.id)),))
    if operators.may(held, Action.OPERATE) and one.state != "retired":
        rows.append((_act(context, Act.UNDRAIN if one.state == "draining" else Act.DRAIN, str(one.id)),))
    back = tap(say.plain("button-operations-nodes"), Nodes(after=0))
    return Screen("\n".join(lines), (*rows, (back, _home(context))))


def _problems(context: UpdateContext, one: NodeState) -> list[str]:
    """What an operator has to know of a node, in words; empty when it is well."""
    say = context.texts
    found = []
    if one.lost_since is not None:
        found.append(say.html("operations-node-lost", when=context.moment(one.lost_since)))
    if one.open_until is not None and one.open_s > 0:
        found.append(say.html("operations-node-open", when=context.moment(one.open_until), age=_age(say, one.open_s)))
    elif one.open_until is not None:  # open until the probe succeeds, not until it may be sent
        found.append(say.html("operations-node-probe-due"))
    if one.reconcile_s > 0:
        found.append(say.html("operations-node-reconcile-open", age=_age(say, one.reconcile_s)))
    if one.trouble is not None:
        found.append(say.html(f"operations-trouble-{one.trouble}"))
    if one.clock_off_ms is not None and abs(one.clock_off_ms) > CLOCK_OFF_MS:
        found.append(say.html("operations-node-clock-off", seconds=f"{one.clock_off_ms / 1000:+.1f}"))
    return found


def sweeps(tx: Transaction, context: UpdateContext) -> Screen:
    """Every sweep of this release: when it ran last, how it ended, when it last ended well."""
    say = context.texts
    last, switched = sweep_runs.last(tx), operations.switches(tx)
    unwell, lines = _unwell(tx, last), []
    for name, function in acts.sweeps().items():
        run = _run_of(last, name)
        flag = switched.get(function.flag or "")
        lines.append(
            say.html(
                "operations-sweep-line",
                sign="⏸" if flag is not None and not flag.enabled else "⚠️" if name in unwell else "✅",
                name=name,
                age="—" if run is None else _age(say, run.age_s),
                outcome="—" if run is None else say.plain(f"operations-outcome-{run.outcome.replace('_', '-')}"),
                good="—" if run is None or run.well_s is None else _age(say, run.well_s),
            )
        )
    choice = tuple(tap(name, Sweep(name=name)) for name in acts.sweeps())
    return Screen("\n".join((say.html("operations-sweep-list"), *lines)), (*_pairs(choice), (_home(context),)))


def sweep(tx: Transaction, context: UpdateContext, held: Collection[Role], name: str) -> Screen:
    """One sweep: its last runs, its switch, and a run now."""
    say = context.texts
    back = tap(say.plain("button-operations-sweeps"), Sweeps())
    function = acts.sweeps().get(name)
    if function is None:
        return _missing(context, back)
    flag = operations.switches(tx).get(function.flag or "")
    is_on = flag is None or flag.enabled
    lines = [
        say.html("operations-sweep", name=name, state=say.plain("operations-on" if is_on else "operations-off")),
        *(
            say.html(
                "operations-run",
                when=context.moment(run.ended_at),
                outcome=say.plain(f"operations-outcome-{run.outcome.replace('_', '-')}"),
                claimed=str(run.claimed),
                done=str(run.done),
                failed=str(run.failed),
                seconds=f"{run.duration_s:.1f}",
                error=_short(run.error),
            )
            for run in operations.ran(tx, name, _RUNS)
        ),
    ]
    rows: list[tuple[Button, ...]] = []
    if operators.may(held, Action.OPERATE) and is_on:
        rows.append((_act(context, Act.SWEEP, name),))
    if operators.may(held, Action.SWITCH) and function.flag:
        rows.append((_act(context, Act.OFF if is_on else Act.ON, function.flag),))
    return Screen("\n".join(lines), (*rows, (back, _home(context))))


def switches(tx: Transaction, context: UpdateContext, held: Collection[Role]) -> Screen:
    """The switches of the whole shop, and those of sweeps that are off."""
    say = context.texts
    known = operations.switches(tx)
    every = acts.sweeps()
    of_sweeps = [one.flag for one in every.values() if one.flag is not None]
    names = [*acts.shop_flags(), *(name for name in of_sweeps if name in known and not known[name].enabled)]
    lines, rows = [], []
    for name in names:
        is_on = name not in known or known[name].enabled
        at = known[name].updated_at if name in known else None
        lines.append(
            say.html(
                "operations-flag-line",
                name=name,
                state=say.plain("operations-on" if is_on else "operations-off"),
                when="—" if at is None else context.moment(at),
            )
        )
        if operators.may(held, Action.SWITCH):
            act = Act.OFF if is_on else Act.ON
            label = say.plain(f"button-operations-{act.value}-of", name=name)
            rows.append((tap(label, Begin(act=act, subject=name)),))
    return Screen("\n".join((say.html("operations-flags"), *lines)), (*rows, (_home(context),)))


def updates(tx: Transaction, context: UpdateContext, place: int, after: int) -> Screen:
    """Stored updates that are not done, the oldest first."""
    say = context.texts
    found = operations.waiting_updates(tx, place=place, after=after, page=_PAGE + 1, own=context.incoming.update_id)
    page = found[:_PAGE]
    more = (
        ((tap(say.plain("button-finance-more"), Updates(place=page[-1].place, after=page[-1].update_id)),),)
        if len(found) > _PAGE
        else ()
    )
    return _updates(context, page, "operations-update-list" if page else "operations-update-none", more)


def given_up(tx: Transaction, context: UpdateContext, before: int) -> Screen:
    """Updates that were given up, newest first."""
    say = context.texts
    found = operations.given_up_updates(tx, before=before or FIRST, page=_PAGE + 1)
    page = found[:_PAGE]
    more = ((tap(say.plain("button-older"), GivenUp(before=page[-1].update_id)),),) if len(found) > _PAGE else ()
    return _updates(context, page, "operations-gone-list" if page else "operations-gone-none", more)


def _updates(context: UpdateContext, page: Sequence[Kept], head: str, more: Rows) -> Screen:
    say = context.texts
    lines = [_update_line(context, one) for one in page]
    choice = tuple(
        tap(say.plain("button-operations-update", number=str(one.update_id)), Update(update=one.update_id))
        for one in page
    )
    return Screen("\n".join((_text(context, head), *lines)), (*_pairs(choice), *more, (_home(context),)))


def _text(context: UpdateContext, name: str) -> str:
    """A text whose id is decided by what is there."""
    return context.texts.html(name)


def _update_line(context: UpdateContext, one: Kept) -> str:
    say = context.texts
    return say.html(
        "operations-update-line",
        number=str(one.update_id),
        kind=one.kind or "—",
        when=context.moment(one.received_at),
        age=_age(say, one.age_s),
        count=str(one.attempts),
        error=_short(one.error) or "—",
    )


def update(tx: Transaction, context: UpdateContext, held: Collection[Role], update_id: int) -> Screen:
    """One stored update; what it says of a person is not shown."""
    say = context.texts
    back = tap(say.plain("button-operations-updates"), Updates(place=0, after=0))
    one = operations.update(tx, update_id)
    if one is None:
        return _missing(context, back)
    lines = [
        _update_line(context, one),
        say.html("finance-event-state", state=say.plain(f"operations-update-{one.state}")),
    ]
    rows: list[tuple[Button, ...]] = []
    if operators.may(held, Action.OPERATE):
        if one.state != "done":
            rows.append((_act(context, Act.UPDATE_AGAIN, str(update_id)),))
        if one.state == "waiting":
            rows.append((_act(context, Act.UPDATE_GIVE_UP, str(update_id)),))
    return Screen("\n".join(lines), (*rows, (back, _home(context))))


def events(tx: Transaction, context: UpdateContext, held: Collection[Role], after: int) -> Screen:
    """Payment events that are kept because settling them fails, the oldest first; what fits nothing waits at the desk for money."""
    say = context.texts
    found = operations.news(tx, after=after, page=_PAGE + 1)
    page = found[:_PAGE]
    lines = [
        say.html(
            "operations-event-line",
            number=str(one.id),
            provider=one.provider,
            kind=one.kind,
            when=context.moment(one.received_at),
            age=_age(say, one.age_s),
        )
        for one in page
    ]
    choice = tuple(tap(say.plain("button-finance-event", number=str(one.id)), Event(event=one.id)) for one in page)
    more = ((tap(say.plain("button-finance-more"), Events(after=page[-1].id)),),) if len(found) > _PAGE else ()
    waiting = (
        ((tap(say.plain("button-finance-waiting"), money.Waiting(before=0)),),)
        if operators.may(held, Action.SEE_MONEY)
        else ()
    )
    head = say.html("operations-event-list" if page else "operations-event-none")
    return Screen("\n".join((head, *lines)), (*_pairs(choice), *more, *waiting, (_home(context),)))


def event(tx: Transaction, context: UpdateContext, held: Collection[Role], event_id: int) -> Screen:
    """One payment event, and what may be done while it is kept."""
    say = context.texts
    back = tap(say.plain("button-operations-events"), Events(after=0))
    one = operations.one_news(tx, event_id)
    if one is None:
        return _missing(context, back)
    lines = [
        say.html("finance-event", number=str(one.id), provider=one.provider, charge=_short(one.external_id)),
        say.html("finance-event-when", when=context.moment(one.received_at)),
        say.html("finance-event-state", state=say.plain(f"finance-event-{one.status.replace('_', '-')}")),
    ]
    rows: list[tuple[Button, ...]] = []
    if operators.may(held, Action.END_SUSPENSE) and one.status == "new":
        rows.append((_act(context, Act.EVENT_AGAIN, str(event_id)),))
        if one.kind == "charge":
            rows.append((_act(context, Act.EVENT_ASIDE, str(event_id)),))
    if operators.may(held, Action.SEE_MONEY):
        rows.append((tap(say.plain("button-operations-at-the-desk"), money.Event(event=event_id)),))
    return Screen("\n".join(lines), (*rows, (back, _home(context))))


def messages(tx: Transaction, context: UpdateContext, before: int) -> Screen:
    """Messages that did not end well, newest first."""
    say = context.texts
    found = operations.told(tx, before=before or FIRST, page=_PAGE + 1)
    page = found[:_PAGE]
    lines = [
        say.html(
            "operations-message-line",
            number=str(one.id),
            kind=one.kind,
            account=str(one.account_id),
            when="—" if one.finished_at is None else context.moment(one.finished_at),
            state=say.plain(f"operations-message-{one.status}"),
        )
        for one in page
    ]
    choice = tuple(
        tap(say.plain("button-operations-message", number=str(one.id)), Message(message=one.id)) for one in page
    )
    older = ((tap(say.plain("button-older"), Messages(before=page[-1].id)),),) if len(found) > _PAGE else ()
    head = say.html("operations-message-list" if page else "operations-message-none")
    return Screen("\n".join((head, *lines)), (*_pairs(choice), *older, (_home(context),)))


def message(tx: Transaction, context: UpdateContext, held: Collection[Role], message_id: int) -> Screen:
    """One message; what it says is not shown."""
    say = context.texts
    back = tap(say.plain("button-operations-messages"), Messages(before=0))
    one = operations.one_told(tx, message_id)
    if one is None:
        return _missing(context, back)
    lines = [
        say.html(
            "operations-message-line",
            number=str(one.id),
            kind=one.kind,
            account=str(one.account_id),
            when="—" if one.finished_at is None else context.moment(one.finished_at),
            state=say.plain(f"operations-message-{one.status}"),
        ),
        say.html("operations-message-why", count=str(one.attempts), error=_short(one.error) or "—"),
    ]
    rows: list[tuple[Button, ...]] = []
    is_listed = one.status in {"unclear", "failed", "unreachable"} and one.delivery == "must"
    if is_listed and operators.may(held, Action.OPERATE):
        rows.append((_act(context, Act.MESSAGE_AGAIN, str(message_id)),))
    if operators.may(held, Action.SEE_CUSTOMER):
        label = say.plain("button-finance-customer", number=str(one.account_id))
        rows.append((tap(label, money.Customer(account=one.account_id)),))
    return Screen("\n".join(lines), (*rows, (back, _home(context))))


def refunds(tx: Transaction, context: UpdateContext, held: Collection[Role], after: int) -> Screen:
    """Refunds that their providers have not made yet, the oldest first."""
    say = context.texts
    found = operations.going_back(tx, after=after, page=_PAGE + 1)
    page = found[:_PAGE]
    lines = [
        say.html(
            "operations-refund-line",
            number=str(one.event_id),
            provider=one.provider,
            state=say.plain(f"operations-refund-{one.status}"),
            age=_age(say, one.age_s),
            count=str(one.attempts),
            answer=_short(one.answer) or "—",
        )
        for one in page
    ]
    choice: tuple[Button, ...] = ()
    if operators.may(held, Action.SEE_MONEY):
        choice = tuple(
            tap(say.plain("button-finance-event", number=str(one.event_id)), money.Event(event=one.event_id))
            for one in page
        )
    more = ((tap(say.plain("button-finance-more"), Refunds(after=page[-1].id)),),) if len(found) > _PAGE else ()
    head = say.html("operations-refund-list" if page else "operations-refund-none")
    return Screen("\n".join((head, *lines)), (*_pairs(choice), *more, (_home(context),)))


def _run_of(last: Sequence[LastRun], name: str) -> LastRun | None:
    return next((run for run in last if run.sweep == name), None)


def _unwell(tx: Transaction, last: Sequence[LastRun]) -> list[str]:
    """Sweeps that have not ended well within the time after which their alerts ring; a new one is awaited for as long."""
    well = {run.sweep: run.well_s for run in last if run.well_s is not None}
    since = sweep_runs.expected_s(tx) | well
    return [name for name, limit in acts.silent_after_s().items() if since.get(name, 0.0) > limit]


def _act(context: UpdateContext, act: Act, subject: str) -> Button:
    return tap(context.texts.plain(f"button-operations-{act.value}"), Begin(act=act, subject=subject))


def _missing(context: UpdateContext, back: Button) -> Screen:
    say = context.texts
    return Screen(say.html("finance-not-found"), ((back, _home(context)),), toast=say.plain("toast-stale"))


def _pairs(choice: tuple[Button, ...]) -> Rows:
    return tuple(choice[at : at + 2] for at in range(0, len(choice), 2))


def _count(number: int) -> str:
    return f"{number}+" if number >= operations.MOST else str(number)


def _oldest(say: Texts, count: int, seconds: float) -> str:
    return _age(say, seconds) if count else "—"


def _age(say: Texts, seconds: float) -> str:
    """How long ago, or for how long: in the largest unit of which there are two."""
    for unit, length, least in _AGES:
        if seconds >= least:
            return say.plain(f"operations-age-{unit}", number=str(int(seconds // length)))
    return say.plain("operations-age-s", number=str(int(max(seconds, 0))))


def _short(text: str | None) -> str:
    said = text or ""
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST - 1]}…"


def _home(context: UpdateContext) -> Button:
    return tap(context.texts.plain("button-operations"), Home())
