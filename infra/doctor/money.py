"""What was paid and what came of it; and whether everything that must always hold does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.doctor.check import Check, WrongError, insist
from lib.db import invariants
from lib.domain import flags, health_snapshot, reconciliation, refund_requests
from lib.settings import plain, values

if TYPE_CHECKING:
    from infra.doctor.deployment import Deployment

_SUBJECT = "Money and promises"
APPLIED_WITHIN_S = 120.0
SETTLED_WITHIN_S = 300.0
GIVEN_UP_DAYS = 1
INVARIANTS_S = 60.0
COMPARED_WITHIN_H = 26
COMPARED_DAILY = ("cryptobot", "stars")
"""Providers that `sweep_money` asks; a statement of others comes when a person has one."""
_MOST_NAMED = 20
WALKED_WITHIN_H = 28
"""A night's walk begins at two, and is over within hours at any size."""
OFF_SITE_WITHIN_S = 26 * 3600.0
"""A day closes once the daily run of its night may be over, and goes with the next one."""


async def applied(deployment: Deployment) -> str:
    """What was granted is on a node within two minutes."""
    found = await deployment.read(lambda session: health_snapshot.overdue(session.transaction, APPLIED_WITHIN_S))
    if found.count:
        raise WrongError(f"{found.count} wait for their access, the first for {round(found.oldest_s / 60)} min")
    return ""


async def kept(deployment: Deployment) -> str:
    """No payment waits to be settled."""
    (row,) = await deployment.rows(
        "select count(*) as kept from payment_events"
        " where status = 'new' and received_at < atlas.now() - make_interval(secs => :seconds)",
        seconds=SETTLED_WITHIN_S,
    )
    if row["kept"]:
        raise WrongError(f"{row['kept']} payments are recorded and not settled")
    return ""


async def unmatched(deployment: Deployment) -> str:
    """No money is without its order, and no further charge of a paid order waits to be credited or given back."""
    found = await deployment.read(lambda session: health_snapshot.take(session.transaction).waiting)
    counted = (
        (found.events_unmatched, "payments fit no order"),
        (found.events_duplicate, "further charges of paid orders are neither credited nor given back"),
    )
    insist([f"{count} {what}" for count, what in counted if count])
    return ""


async def refunds(deployment: Deployment) -> str:
    """What a provider was asked to give back went back within ten minutes; what it refused within a day has gone another way."""
    late = await deployment.read(lambda session: refund_requests.overdue(session.transaction))
    problems = [
        f"{one.provider} has not given {one.count} charges back, the first asked for {round(one.oldest_s / 60)} min ago"
        for one in late
    ]
    refused = await deployment.read(
        lambda session: refund_requests.refused_lately(session.transaction, GIVEN_UP_DAYS, _MOST_NAMED)
    )
    insist(
        problems + [f"request {one.id}: {one.provider} refused the refund of event {one.event_id}" for one in refused]
    )
    return ""


async def updates(deployment: Deployment) -> str:
    """No update was given up within a day."""
    (row,) = await deployment.rows(
        "select count(*) as given_up, max(update_id) as newest from updates"
        " where last_error is not null and reply = '[]' and done_at > atlas.now() - make_interval(days => :days)",
        days=GIVEN_UP_DAYS,
    )
    if row["given_up"]:
        raise WrongError(f"{row['given_up']} updates were given up within a day, the newest {row['newest']}")
    return ""


async def messages(deployment: Deployment) -> str:
    """No message that a customer must get was lost within a day."""
    rows = await deployment.rows(
        "select status, count(*) as lost from messages where delivery = 'must' and status in ('failed', 'unclear')"
        " and finished_at > atlas.now() - make_interval(days => :days) group by status order by status",
        days=GIVEN_UP_DAYS,
    )
    insist([f"{row['lost']} messages are {row['status']}" for row in rows])
    return ""


_MEANS = {flags.PAYMENTS: "nothing is sold", flags.TRIAL: "no one gets a trial"}


async def switched_off(deployment: Deployment) -> str:
    """No path of customers is closed by hand; those of sweeps have a check of their own."""
    sweeps = [row.flag for row in deployment.table.functions.values() if row.flag]
    rows = await deployment.rows("select name, updated_at from flags where not enabled order by name")
    insist(
        [
            f"{row['name']} is switched off since {row['updated_at']:%Y-%m-%d %H:%M} UTC"
            + (f": {_MEANS[row['name']]}" if row["name"] in _MEANS else "")
            for row in rows
            if row["name"] not in sweeps
        ]
    )
    return ""


# Days are copied in their order: the first that is owed follows the newest.
_OFF_SITE = """
with newest as (
    select day, protection from ledger_exports where store = :store order by day desc limit 1
), owed as (
    select min(c.day) as day, count(*) as days from closed_days c where c.day > coalesce((select n.day from newest n), '-infinity')
)
select n.day as copied, n.protection, o.day as owed, o.days,
       cast(extract(epoch from atlas.now() - (select c.closed_at from closed_days c where c.day = o.day)) as double precision) as owed_s
from owed o left join newest n on true
"""


async def books_off_site(deployment: Deployment) -> str:
    """Every day that closed more than a day ago is in the store, which keeps what was written."""
    if not deployment.settings.get("LEDGER_EXPORT_URL"):
        return "no store is configured (LEDGER_EXPORT_URL): there is no copy elsewhere"
    region = deployment.settings.get("LEDGER_EXPORT_REGION") or plain.STORE_REGION
    endpoint = deployment.settings.get("LEDGER_EXPORT_ENDPOINT") or plain.aws_endpoint(region)
    store = plain.store_address(values.store_folder(deployment.settings["LEDGER_EXPORT_URL"]), endpoint)
    (row,) = await deployment.rows(_OFF_SITE, store=store)
    problems = []
    if row["owed"] is not None and row["owed_s"] > OFF_SITE_WITHIN_S:
        since = f"since {row['copied']}" if row["copied"] else "yet"
        problems.append(f"{row['days']} closed days are owed, the first {row['owed']}; nothing was copied {since}")
    if row["protection"] == "none":
        problems.append("the store has neither versions nor object lock, or does not say so: what is there can be lost")
    insist(problems)
    if row["copied"]:
        return f"up to {row['copied']}, {row['protection']}"
    return "no day is closed yet" if row["owed"] is None else "nothing is copied yet"


async def books(deployment: Deployment) -> str:
    """The named queries of lib/db/invariants.sql come back empty."""
    found = await deployment.read(lambda session: invariants.violations_in(session.connection), INVARIANTS_S)
    insist([f"{one.invariant}: {', '.join(one.keys)}" for one in found])
    return f"{len(invariants.queries())} of them"


async def audit(deployment: Deployment) -> str:
    """Nothing that sweep_audit found within a day, and its last walk through everything is of the last night."""
    found = await deployment.rows(
        "select invariant, count(*) as count, min(key) as key from invariant_violations"
        " where found_at > atlas.now() - interval '1 day' group by invariant order by invariant"
    )
    problems = [
        f"{row['invariant']}: {row['key']}" + (f" and {row['count'] - 1} more" if row["count"] > 1 else "")
        for row in found
    ]
    late = await deployment.rows(
        "select name, night from invariant_marks where name = 'night'"
        " and night < cast((atlas.now() - make_interval(hours => :hours)) at time zone 'UTC' as date)",
        hours=WALKED_WITHIN_H,
    )
    problems += [f"everything was last asked about in the night of {row['night']}" for row in late]
    insist(problems)
    return ""


async def providers(deployment: Deployment) -> str:
    """No difference between a provider's own account and the books is open, and each was compared within a day."""
    found = await deployment.read(lambda session: reconciliation.open_differences(session.transaction, page=1000))
    problems = [f"{one.provider}: {one}" for one in found[:_MOST_NAMED]]
    if len(found) > _MOST_NAMED:
        problems.append(f"and {len(found) - _MOST_NAMED} more")
    rows = await deployment.rows(
        "select wanted.provider, last.compared_at, last.complete"
        " from unnest(cast(:providers as text[])) as wanted (provider) left join lateral ("
        "     select r.compared_at, r.complete from reconciliations r where r.provider = wanted.provider"
        "     order by r.day desc limit 1) last on true"
        " where exists (select from payment_events e where e.provider = wanted.provider"
        "               and e.received_at < atlas.now() - make_interval(hours => :hours))"
        " and (last.compared_at is null or not last.complete"
        "      or last.compared_at < atlas.now() - make_interval(hours => :hours)) order by 1",
        providers=list(COMPARED_DAILY),
        hours=COMPARED_WITHIN_H,
    )
    for row in rows:
        since = (
            f"was not compared with the books since {row['compared_at']:%Y-%m-%d %H:%M} UTC"
            if row["compared_at"]
            else "was never compared with the books"
        )
        whole = "" if row["complete"] in {None, True} else ", and then not whole"
        problems.append(f"{row['provider']}: {since}{whole}")
    insist(problems)
    return ""


CHECKS = (
    Check(
        name="paid-not-applied",
        part="money",
        subject=_SUBJECT,
        asks="what was granted is on a node within two minutes",
        customers="they paid, or began a trial, and have no access.",
        mend="A node that does not answer is the most likely reason.",
        page="runbooks/paid-but-not-applied.md",
        look=applied,
        after=("schema",),
    ),
    Check(
        name="payments-kept",
        part="money",
        subject=_SUBJECT,
        asks="every payment is settled within five minutes",
        customers="they paid and got nothing yet; the money is recorded.",
        mend="Read why settling fails.",
        page="runbooks/payment-kept.md",
        look=kept,
        after=("schema",),
    ),
    Check(
        name="payments-unmatched",
        part="money",
        subject=_SUBJECT,
        asks="all money has its order, and no further charge waits",
        customers="one of them paid and got nothing, or paid twice; the shop holds money that it can't account for.",
        mend="Look each one up at its provider.",
        page="runbooks/payment-unmatched.md",
        look=unmatched,
        after=("schema",),
    ),
    Check(
        name="refunds-waiting",
        part="money",
        subject=_SUBJECT,
        asks="what a provider is to give back goes back within ten minutes",
        customers="they wait for their money; what of it is in their balance can't be spent meanwhile.",
        mend="Read what the provider said last; what it refuses goes back by another way.",
        page="runbooks/give-back.md",
        look=refunds,
        after=("schema",),
    ),
    Check(
        name="updates-given-up",
        part="money",
        subject=_SUBJECT,
        asks="no update was given up within a day",
        customers="one of them got no answer.",
        mend="Mend what its traceback names, then have it handled again.",
        page="runbooks/update-given-up.md",
        look=updates,
        after=("schema",),
    ),
    Check(
        name="messages-lost",
        part="money",
        subject=_SUBJECT,
        asks="every message that is owed arrived, or still may",
        customers="a receipt, a key or a reminder did not come.",
        mend="Read why Telegram refused them.",
        page="runbooks/messages-refused.md",
        look=messages,
        after=("schema",),
    ),
    Check(
        name="flags",
        part="money",
        subject=_SUBJECT,
        asks="sales and trials are open",
        customers="they can't buy, or get no trial, and are told that it is not possible now.",
        mend="Switch it on again, once you know who switched it off and why.",
        page="doctor.md#a-path-is-switched-off",
        look=switched_off,
        after=("schema",),
    ),
    Check(
        name="invariants",
        part="money",
        subject=_SUBJECT,
        asks="what must always hold holds",
        customers="someone may have too little or too much, or the books are wrong.",
        mend="Each name has its paragraph on the page.",
        page="runbooks/invariant-violated.md",
        look=books,
        after=("schema",),
        timeout_s=90,
    ),
    Check(
        name="audit",
        part="money",
        subject=_SUBJECT,
        asks="the last day's audit found nothing",
        customers="someone may have too little or too much, or the books are wrong.",
        mend="Each name has its paragraph on the page.",
        page="runbooks/invariant-violated.md",
        look=audit,
        after=("schema",),
    ),
    Check(
        name="books-against-providers",
        part="money",
        subject=_SUBJECT,
        asks="providers' own accounts are what the books say",
        customers="someone's money came and was not counted, or left and was not booked.",
        mend="Look up each line that is named; book what is missing.",
        page="runbooks/books-differ.md",
        look=providers,
        after=("schema",),
    ),
    Check(
        name="books-off-site",
        part="money",
        subject=_SUBJECT,
        asks="every closed day of the books is in the store elsewhere",
        customers="none for now; with the database the books would be lost as well.",
        mend="Read why the copy fails.",
        page="runbooks/books-not-exported.md",
        look=books_off_site,
        after=("settings", "schema"),
    ),
)
