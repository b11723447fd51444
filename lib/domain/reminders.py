"""What customers are told before access ends: reminders, and a trial's messages (product.md#messages).

Of the messages of one end, the one whose time came last is said; those before it are not, so a late sweep says what is still
true. The next time is kept with the subscription (`remind_at`), so a run reads what is due and nothing else.

Access that renews by itself, as things stand, does not end: its customer is not reminded. Each further message of that end is asked
again, so that who spends the money meanwhile is told by the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.domain import messages, outbox, renewals

if TYPE_CHECKING:
    from lib.db import Transaction
    from lib.domain.pricelist import PriceList, Quiet

REMINDER, TRIAL = "reminder", "trial"
"""Kinds of messages."""
PER_SECOND = 10
"""They are spread so thin that a customer's key or receipt never waits behind them."""

# Due ones; rows that another transaction is at work on are passed over.
_LOCK_DUE = """
select id from subscriptions
where status = 'active' and remind_at <= atlas.now()
order by remind_at, id limit :page
for no key update skip locked
"""
_LOCK_ONE = """
select id from subscriptions where id = :id and status = 'active' and remind_at <= atlas.now() for no key update skip locked
"""

# A statement of its own, so that it sees each row as it was locked. `moment` is when a message is due: its hours before the end,
# but not in the quiet part of a day. A trial's waits for the morning, when access still runs then; a reminder comes the evening
# before. A run that is late and falls in quiet hours itself waits for the morning too, unless the morning would be too late:
# access has ended by then, or the next message is due, and it is no trial's.
_LOOK_AT = f"""
with clock as materialized (
    select n.at, (date_trunc('day', n.at at time zone cast(:zone as text) - make_interval(mins => :quiet_from))
                  + make_interval(mins => :quiet_from + :quiet_minutes)) at time zone cast(:zone as text) as morning
    from (select atlas.now() as at) n
), rule as materialized (
    select audience, days, hours, name
    from unnest(cast(:audiences as text[]), cast(:days as integer[]), cast(:hours as integer[]), cast(:names as text[]))
         as listed (audience, days, hours, name)
), held as materialized (
    select s.id, s.account_id, s.expires_at, s.started_at,
           case when s.source in ('payment', 'renewal', 'gift') or exists (
                    select from subscription_history h
                    where h.subscription_id = s.id and h.created_at >= s.started_at
                      and h.source in ('payment', 'renewal', 'gift')) then 'paid'
                when s.source = 'trial' then 'trial' else 'given' end as audience
    from subscriptions s where s.id = any(cast(:ids as bigint[]))
), planned as materialized (
    select held.id, rule.name, rule.hours,
           case when due.at >= quiet.morning then due.at
                when held.audience = 'trial' and quiet.morning < held.expires_at then quiet.morning
                else quiet.evening end as moment
    from held
    join rule on rule.audience = held.audience and rule.days = (
        select max(r.days) from rule r
        where r.audience = held.audience and make_interval(days => r.days) <= held.expires_at - held.started_at)
    cross join lateral (select held.expires_at - make_interval(hours => rule.hours) as at) due
    cross join lateral (
        select (began.local + make_interval(mins => :quiet_minutes)) at time zone cast(:zone as text) as morning,
               (began.local - make_interval(mins => :quiet_before)) at time zone cast(:zone as text) as evening
        from (select date_trunc('day', due.at at time zone cast(:zone as text) - make_interval(mins => :quiet_from))
                     + make_interval(mins => :quiet_from) as local) began
    ) quiet
), now_due as (
    select distinct on (p.id) p.id, p.name from planned p, clock where p.moment <= clock.at order by p.id, p.moment desc, p.hours
), next_due as (
    select p.id, min(p.moment) as at from planned p, clock where p.moment > clock.at group by p.id
), plan as materialized (
    select held.id, held.account_id, held.expires_at, held.audience, now_due.name, next_due.at as next_at,
           now_due.name is not null and clock.morning > clock.at
               and (held.audience = 'trial' or held.expires_at > clock.morning and (next_due.at > clock.morning) is not false)
               as waits
    from held left join now_due using (id) left join next_due using (id) cross join clock
), looked_at as (
    update subscriptions s
    set remind_at = case when plan.waits then clock.morning else coalesce(plan.next_at, 'infinity') end
    from plan, clock where s.id = plan.id
), told as (
    select case plan.audience when 'trial' then '{TRIAL}' else '{REMINDER}' end
               || ':' || plan.id || ':' || cast(extract(epoch from plan.expires_at) as bigint) || ':' || plan.name as key,
           plan.account_id, case plan.audience when 'trial' then '{TRIAL}' else '{REMINDER}' end as kind, 'once' as delivery,
           clock.at + make_interval(secs => cast(:after as double precision)
               + (row_number() over (order by plan.expires_at, plan.id) - 1) / cast(:per_second as double precision)) as due_at,
           coalesce(plan.next_at, plan.expires_at) as not_after,
           jsonb_build_object('until', plan.expires_at, 'name', plan.name) as params
    from plan join accounts a on a.id = plan.account_id cross join clock
    where plan.name is not null and not plan.waits and a.unreachable_since is null
      and (plan.audience = 'trial' or plan.account_id <> all(cast(:renewing as bigint[])))
), {messages.QUEUE_TOLD}
select id, queue, target, payload, attempt, correlation_id, not_before from message_all_work order by id
"""  # noqa: S608 -- constant fragments

_DUE_AFTER = """
select id from subscriptions
where status = 'active' and remind_at <= atlas.now() and (remind_at, id) >
      (coalesce((select last.remind_at from subscriptions last where last.id = :after), '-infinity'), cast(:after as bigint))
order by remind_at, id limit :page
"""


@dataclass(frozen=True, slots=True)
class Looked:
    """What a page was: how many subscriptions, and the work that tells those who are to be told, each at its time."""

    count: int
    follow_up: tuple[outbox.Item, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """How a run reminds.

    Attributes:
        prices: when what is said, and what a renewal would cost.
        zone: of quiet hours, by its name.
        correlation_id: of the run.
    """

    prices: PriceList
    zone: str
    correlation_id: str


def look_at(tx: Transaction, page: int, terms: Terms, queued: int = 0) -> Looked:
    """Queue what is due now for up to `page` subscriptions, and note when each is due next.

    `queued` is how many messages the run has queued before: those are sent first.
    """
    return _look(tx, tx.values(_LOCK_DUE, page=page), terms, queued)


def look_at_one(tx: Transaction, subscription_id: int, terms: Terms, queued: int = 0) -> Looked:
    """`look_at` of one subscription, when a page as a whole is refused."""
    return _look(tx, tx.values(_LOCK_ONE, id=subscription_id), terms, queued)


def due(tx: Transaction, after: int, page: int) -> list[int]:
    """Ids of subscriptions that are due to be looked at, the page after that subscription."""
    return tx.values(_DUE_AFTER, after=after, page=page)


def is_quiet(tx: Transaction, quiet: Quiet, zone: str) -> float:
    """For how many seconds customers are still left alone; 0 outside quiet hours."""
    seconds: float = tx.value(
        "select cast(greatest(0, extract(epoch from (date_trunc('day', atlas.now() at time zone cast(:zone as text)"
        " - make_interval(mins => :begins)) + make_interval(mins => :begins + :minutes)) at time zone cast(:zone as text) - atlas.now()))"
        " as double precision)",
        zone=zone,
        begins=quiet.begins,
        minutes=quiet.minutes,
    )
    return seconds


def _look(tx: Transaction, ids: list[int], terms: Terms, queued: int) -> Looked:
    if not ids:
        return Looked(0, ())
    rules = _rules(terms.prices)
    quiet = terms.prices.reminders.quiet
    told = tx.rows(
        outbox.Item,
        _LOOK_AT,
        ids=ids,
        renewing=sorted(renewals.renewing(tx, ids, terms.prices)),
        zone=terms.zone,
        quiet_from=quiet.begins,
        quiet_minutes=quiet.minutes,
        quiet_before=(quiet.begins - quiet.before) % (24 * 60),
        audiences=[rule.audience for rule in rules],
        days=[rule.days for rule in rules],
        hours=[rule.hours for rule in rules],
        names=[rule.name for rule in rules],
        after=queued / PER_SECOND,
        per_second=PER_SECOND,
        correlation_id=terms.correlation_id,
    )
    tx.reach("messages.mid-transaction")
    return Looked(len(ids), tuple(told))


@dataclass(frozen=True, slots=True)
class _Rule:
    """So many hours before the end, this is said to those whose access is of this kind and lasts at least so many days."""

    audience: str
    days: int
    hours: int
    name: str


def _rules(prices: PriceList) -> list[_Rule]:
    said = prices.reminders
    return [
        *(_Rule("paid", 0, hours, _name(hours)) for hours in said.paid),
        *(_Rule("given", days, hours, _name(hours)) for days, listed in said.given.items() for hours in listed),
        # as far as the end is away at these hours after the start, so that a trial whose end moved has them before that end
        *(_Rule("trial", 0, prices.trial.hours - after, name) for name, after in said.trial.items()),
    ]


def _name(hours: int) -> str:
    """Of a reminder, in its message's key: `3d`, `24h`."""
    days, rest = divmod(hours, 24)
    return f"{hours}h" if rest or days <= 1 else f"{days}d"
