"""What the sweeps read: with a million rows of each kind (100 000 in a quick run), every statement reads its page and no more.

Judged by the rows and blocks that each plan really reads, never by time.
"""

from __future__ import annotations

import ast
import json
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pg8000.native
import pytest

from lib import function_table
from lib.db import migrate as migrations
from lib.db.connection import Connection, Timeouts
from lib.db.transaction import Transaction
from lib.domain import (
    books,
    flags,
    freezing,
    health_snapshot,
    inbox,
    invariant_audit,
    ledger_export,
    listings,
    orders,
    outbox,
    provisioning,
    reconcile_nodes,
    reconciliation,
    refund_requests,
    refunds,
    reminders,
    renewals,
    retention,
    subscriptions,
    sweep_runs,
    webhook_state,
)
from lib.domain.breaker import Call
from lib.domain.listings import Commission, Debit
from lib.domain.provisioning import Answer, Dropped, Heard
from lib.domain.reconciliation import CHARGE, REFUND, Difference, Line, Outcome
from lib.domain.renewals import Place
from lib.domain.settlement import Event, Money
from lib.domain.sweep_runs import SweepRun
from lib.domain.webhook_state import Looked
from lib.settings import pricelist
from tests.integration import money_watch
from tests.lint.reachable import Node, graph, reached_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox.postgres.server import Postgres

FUNCTIONS = function_table.load().functions
PRICES = pricelist.load()
_CLOCK = Path(migrations.__file__).with_name("migrations") / "clock.sql"
PAGE = 400
MOST_ROWS = 12_000
"""Rows that one scan may read for a page (the largest is 1 000 orders); the smallest table filled has 50 000."""
# what was rolled back before is still read past
_BLOCKS_PER_ROW, _BLOCKS_TO_BEGIN = 12, 120
_ME = uuid.UUID(int=1)
_MODES = ("force_custom_plan", "force_generic_plan")

# A shop that has run for long, in the middle of an outage: what is over is most of each table, and a tenth of what is open
# waits for a moment that has not come. Only what is told of here is due.
_FILL = """
set session_replication_role = replica;
insert into nodes (name, api_url, key_name) values ('n1', 'http://127.0.0.1', 'K'), ('n2', 'http://127.0.0.2', 'K');
insert into accounts (telegram_id, language) select n, 'ru' from generate_series(1, {size}) n;
insert into subscriptions (account_id, tariff, source, status, activation_status, uuid, started_at, expires_at, pending_since,
        placement, frozen_until)
    select n, 'basic', 'payment', case when n % 10 = 0 then 'expired' when n % 200 = 7 then 'frozen' else 'active' end,
           case when n % 10 = 0 or n % 200 = 7 then 'none' when n % 1000 = 1 then 'pending' else 'active' end,
           case when n % 10 = 0 then null else gen_random_uuid() end,
           atlas.now() - interval '60 days',
           case when n % 10 = 0 or n % 200 = 1 then atlas.now() - interval '1 minute'
                else atlas.now() + make_interval(mins => n % 40000 + 1) end,
           case when n % 1000 = 1 then atlas.now() - interval '2 minutes' end,
           case when n % 200 = 3 then 0 else (select generation from placement) end,
           case when n % 200 = 7 then atlas.now() - interval '1 minute' end
    from generate_series(1, {size}) n;
update subscriptions set remind_at = case when id % 200 = 5 then '-infinity' else expires_at - interval '3 hours' end;
insert into node_clients (subscription_id, node_id, uuid, version, wanted, expires_at, applied_version, applied_uuid, link,
        next_attempt_at)
    select s.id, n.id, coalesce(s.uuid, gen_random_uuid()), 1, s.status = 'active', s.expires_at,
           case when s.status = 'active' and s.id % 100 > 19 then 1 end,
           coalesce(s.uuid, gen_random_uuid()), 'l',
           case when s.id % 100 < 20 and s.id % 400 > 9 then atlas.now() + interval '5 minutes' else atlas.now() end
    from subscriptions s cross join nodes n where not (s.id % 200 = 3 and n.id = 2);
insert into orphan_clients (node_id, client, version, seen_at, due_at)
    select 1, {size} + n, 1, atlas.now(), atlas.now() + make_interval(secs => n % 2 * 600 - 1) from generate_series(1, {size}) n;
insert into orders (account_id, kind, tariff, period_days, list_price, price, value, currency, provider, status, invoice_id,
        invoice_url, invoice_asked_at, provider_closed_at, created_at, expires_at, paid_at)
    select n, 'subscription', 'basic', 30, 14900, 14900, 14900, 'RUB', 'cryptobot',
           case when n % 3 = 0 then 'paid' when n % 100 = 1 then 'open' else 'expired' end,
           case when n % 200 <> 1 then n end, case when n % 200 <> 1 then 'l' end,
           atlas.now() - interval '2 days',
           case when n % 3 = 0 or n % 100 > 1 then atlas.now() end, atlas.now() - interval '2 days',
           atlas.now() - interval '1 minute', case when n % 3 = 0 then atlas.now() end
    from generate_series(1, {size}) n;
insert into payment_events (provider, external_id, body, meaning, via, status, processed_at, correlation_id, order_id)
    select 'cryptobot', n, '', '', 'webhook', case when n % 1000 = 0 then 'new' else 'settled' end,
           case when n % 1000 <> 0 then atlas.now() end, 'c', n
    from generate_series(3, {size}, 3) n;
insert into refund_requests (event_id, reason, correlation_id, status, ended_at, next_attempt_at)
    select id, 'asked', 'c', case when id % 100 = 0 then 'requested' else 'done' end,
           case when id % 100 <> 0 then atlas.now() end, atlas.now() + make_interval(mins => cast(id % 500 as integer) - 100)
    from payment_events;
insert into outbox (queue, target, payload, correlation_id, created_at, not_before, enqueued_at, done_at)
    select (array['nodes', 'messages', 'payments', 'updates'])[n % 4 + 1], 'task_notify', '{{}}', 'c',
           atlas.now() - make_interval(days => n % 8), atlas.now() - make_interval(days => n % 8),
           atlas.now() - make_interval(days => n % 8), atlas.now() - make_interval(days => n % 8)
    from generate_series(1, {size}) n;
-- enqueued again just now (by a clock that no slow test overtakes), put off to later, enqueued too long ago, never enqueued
insert into outbox (queue, target, payload, correlation_id, attempt, created_at, not_before, enqueued_at)
    select queue, 'task_notify', '{{}}', 'c', attempt, atlas.now() - interval '1 hour', atlas.now() + not_before,
           atlas.now() - enqueued
    from (values ('messages', 3, 10, interval '-1 hour', interval '-1 hour'),
                 ('messages', 3, 10, interval '1 hour', null),
                 ('nodes', 1, 100, interval '-1 hour', interval '1 day'),
                 ('nodes', 3, 100, interval '-1 minute', null),
                 ('nodes', 1, 100, interval '-1 hour', null)) as kinds (queue, attempt, part, not_before, enqueued)
    cross join lateral generate_series(1, {size} / part);
insert into updates (update_id, body, done_at, reply, correlation_id)
    select n, '', case when n % 1000 <> 0 then atlas.now() - make_interval(days => n % 4) end,
           case when n % 1000 <> 0 then cast('[]' as jsonb) end, 'c'
    from generate_series(1, {size}) n;
insert into withdrawals (account_id, amount, destination_kind, destination, destination_erased_at, status, reason, requested_at,
        ended_at)
    select n, 50000, 'card', case when n % 10 = 0 then '4' end, case when n % 10 <> 0 then atlas.now() end, 'rejected', 'r',
           atlas.now() - interval '100 days', atlas.now() - make_interval(days => 86 + n / 10 % 8)
    from generate_series(1, {size}) n;
insert into sweep_runs (sweep, tick, started_at, ended_at, outcome, claimed, done, failed, more)
    select (array['activation', 'expiry', 'outbox', 'payments'])[n % 4 + 1], 't', at, at, 'done', 0, 0, 0, false
    from (select n, atlas.now() - make_interval(mins => 50000 - n % 50000) as at from generate_series(1, {size}) n) runs;
insert into invariant_violations (day, invariant, key, found_at)
    select date '2020-01-01' + n % 2000, 'end_is_explained', n, atlas.now() - make_interval(days => n % 100)
    from generate_series(1, {size}) n;
-- years of closed days, all but the last one copied off site, and what they hold
insert into closed_days (day, closed_at) select date '2020-01-01' + n, atlas.now() from generate_series(0, 1999) n;
insert into ledger_exports (store, day, manifest_sha256, protection)
    select 'https://s3.example.com/books', date '2020-01-01' + n, sha256('m'), 'locked' from generate_series(0, 1998) n;
insert into ledger_accounts (code, currency, account_id) select 'user:topped_up', 'RUB', n from generate_series(1, 200) n;
insert into ledger_snapshots (day, ledger_account_id, debit, credit)
    select date '2020-01-01' + n, a.id, 0, 1 from generate_series(0, 1999) n cross join ledger_accounts a where a.account_id is not null;
insert into ledger_transfers (key, kind, entries, actor_id, reason, books_day)
    select 'owner_movement:' || n, 'owner_movement', 1, 1, 'r', date '2020-01-01' + n % 2000 from generate_series(1, {size}) n;
insert into ledger_entries (transfer_id, number, entries, books_day, debit_account_id, credit_account_id, amount, currency)
    select t.id, 1, 1, t.books_day, a.first, a.last, 1, 'RUB'
    from ledger_transfers t, (select min(id) as first, max(id) as last from ledger_accounts where account_id is not null) a;
insert into payments (provider, charge_id, kind, order_id, account_id, event_id, amount, currency, created_at)
    select 'balance', 'p' || n, 'settling', n, n, null, 14900, 'RUB', timestamptz '2020-01-01 12:00+00' + make_interval(days => n % 2000)
    from generate_series(3, {size}, 3) n;
-- a provider's account: some lines of each day, its list read to the end, years of comparisons, and what differed once
insert into ledger_accounts (code, currency) values ('clearing:cryptobot', 'RUB');
insert into ledger_snapshots (day, ledger_account_id, debit, credit)
    select date '2020-01-01' + n, a.id, 1, 0 from generate_series(0, 1999) n, ledger_accounts a where a.code = 'clearing:cryptobot';
insert into ledger_entries (transfer_id, number, entries, books_day, debit_account_id, credit_account_id, amount, currency)
    select t.id, 2, 2, t.books_day, a.clearing, a.wallet, 1, 'RUB'
    from ledger_transfers t, (select min(id) filter (where account_id is null) as clearing, min(id) filter (where account_id is not null) as wallet
                              from ledger_accounts) a where t.id / 2000 % 5 = 0;
insert into provider_listings (provider, read_to) values ('stars', {size});
insert into listed_debits (provider, charge_id, moved_at, number)
    select 'stars', 'd' || n, atlas.now() - interval '1 year', 1 from generate_series(1, {size}) n;
insert into reconciliations (provider, day, lines, matched, under_way, complete, compared_at)
    select 'cryptobot', date '2020-01-01' + n, 1, 1, 0, true, timestamptz '2020-01-01 03:00+00' + make_interval(days => n)
    from generate_series(0, 1999) n;
insert into reconciliation_differences (provider, day, state, kind, external_id, asset, of_fee, said, booked, ended_at)
    select 'cryptobot', date '2020-01-01' + n % 2000, 'missing_here', 'charge', n, 'RUB', false, 1, null,
           case when n % 1000 <> 0 then atlas.now() end
    from generate_series(1, {size}) n;
-- who renews by itself
update subscriptions set auto_renew = true, renewal_price = 14900, renewal_order_id = account_id, renewal_agreed_at = atlas.now()
    where id % 30 = 3;
set session_replication_role = origin;
"""


@dataclass
class Scan:
    """One scan of one table in a plan, and what it read."""

    table: str
    kind: str
    rows: int
    blocks: int
    searches: int

    def reads_too_much(self) -> bool:
        """Rows are what came out and what a filter dropped; blocks tell of an index that was read from end to end.

        Each search of an index reads some blocks, also for what is not there.
        """
        most = _BLOCKS_TO_BEGIN + _BLOCKS_PER_ROW * (self.rows + min(self.searches, MOST_ROWS))
        return self.rows > MOST_ROWS or self.blocks > most


def _scans(plan: dict[str, Any]) -> Iterator[Scan]:
    if "Scan" in plan["Node Type"] and "Relation Name" in plan:
        loops = plan["Actual Loops"]
        dropped = sum(plan.get(f"Rows Removed by {by}", 0) for by in ("Filter", "Index Recheck"))
        rows = round(loops * (plan["Actual Rows"] + dropped))
        yield Scan(
            plan["Relation Name"],
            plan["Node Type"],
            rows + loops,
            _blocks(plan) - sum(_blocks(inner) for inner in plan.get("Plans", [])),
            plan.get("Index Searches", 0),
        )
    for inner in plan.get("Plans", []):
        yield from _scans(inner)


def _blocks(plan: dict[str, Any]) -> int:
    """What it read with all that is in it: a scan holds the plans of what it looks for."""
    found: int = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return found


class Watching(Transaction):
    """Runs each statement under `explain analyze` before it counts, and keeps what its plans read."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, lambda: False, "watching")
        self.seen: list[tuple[str, list[Scan]]] = []

    def _run(self, sql: str, parameters: dict[str, Any]) -> Any:
        self.seen += ((sql, scans) for scans in self._read_by(sql, parameters))
        return super()._run(sql, parameters)

    def execute_with_commit(self, sql: str, **parameters: Any) -> None:
        """At once: there is no COMMIT here."""
        self._run(sql, parameters)

    def _read_by(self, sql: str, parameters: dict[str, Any]) -> Iterator[list[Scan]]:
        """By the plan for these values, and by the one for any where Postgres may prefer it after five runs."""
        numbered, values_of = pg8000.native.to_statement(sql)
        texts = pg8000.native.make_params(self._connection._driver.py_types, values_of(parameters))
        values = ", ".join("null" if text is None else pg8000.native.literal(text) for text in texts)
        call = f"execute watched({values})" if values else "execute watched"
        self._connection.simple(f"prepare watched as {numbered}")
        custom, for_any = (self._explain("costs", mode, call)["Total Cost"] for mode in _MODES)
        for mode in _MODES if for_any <= 1.2 * custom + 20 else _MODES[:1]:
            yield list(_scans(self._explain("analyze, buffers, timing off", mode, call)))
        self._connection.simple("deallocate watched")

    def _explain(self, how: str, mode: str, call: str) -> dict[str, Any]:
        self._connection.simple(f"savepoint watched; set local plan_cache_mode = {mode}")
        ((answer,),) = self._connection._driver.run(f"explain ({how}, format json) {call}")
        self._connection.simple("rollback to savepoint watched; release savepoint watched")
        (explained,) = answer if isinstance(answer, list) else json.loads(answer)
        plan: dict[str, Any] = explained["Plan"]
        return plan


@dataclass(frozen=True)
class Large:
    """The filled database."""

    url: str

    def watch(self, work: Callable[[Transaction], object]) -> Watching:
        """What the statements of one transaction read; it is rolled back."""
        connection = Connection(self.url, application="scans", timeouts=Timeouts(statement_ms=300_000))
        try:
            connection.begin()
            watching = Watching(connection)
            work(watching)
            connection.rollback()
            return watching
        finally:
            connection.close()


@pytest.fixture(scope="module")
def filled(postgres: Postgres) -> Iterator[Callable[[int], Large]]:
    """A database of a size, with the clock of production; each size is filled once, in whatever order tests ask."""
    made: dict[int, Large] = {}

    def fill(size: int) -> Large:
        if size not in made:
            name = f"large_{size}"
            postgres.create_database(name, template="atlas_template")
            money_watch.remove(postgres.url(name))
            connection = Connection(postgres.url(name), application="fill", timeouts=Timeouts(statement_ms=3_600_000))
            connection.simple(_CLOCK.read_text())
            connection.simple(_FILL.format(size=size))
            connection.simple("analyze")
            connection.close()
            made[size] = Large(postgres.url(name))
        return made[size]

    yield fill
    for size in made:
        postgres.drop_database(f"large_{size}")


# Ten million rows take minutes, and on a crowded machine longer than any other test may take.
@pytest.fixture(params=[100_000, pytest.param(1_000_000, marks=[pytest.mark.full, pytest.mark.timeout(3_600)])])
def large(filled: Callable[[int], Large], request: pytest.FixtureRequest) -> Large:
    """A shop of many customers."""
    return filled(request.param)


def _ids(tx: Transaction, sql: str) -> list[int]:
    """Read aside: what a test looks up is not judged."""
    found: list[int] = [row[0] for row in tx._connection.execute(sql, {})[1]]
    return found


def _record(tx: Transaction) -> None:
    """A full batch that is confirmed, refused and overtaken in equal parts, from a node that lost its memory."""
    claimed = provisioning.claim(tx, 1, _ME, 100, wanted=True)
    assert claimed is not None
    assert len(claimed.works) == 100
    answers = [
        Answer(w.subscription_id, w.node_id, w.version, str(w.claimed_by), applied=n % 3 == 0, link="l" if n % 3 == 0 else None,
               held_version=9 if n % 3 == 1 else None, error="e")
        for n, w in enumerate(claimed.works)
    ]  # fmt: skip
    dropped = tuple(Dropped(subscription_id, 1) for subscription_id in range(1, 100))
    provisioning.record(tx, claimed.node, answers, Heard(dropped=dropped), correlation_id="c")


def _probe(tx: Transaction) -> None:
    """A node that answers no more, from its first failed call to its last probe."""
    (node, *_) = provisioning.nodes(tx)
    provisioning.record(tx, node, (), None, correlation_id="c", call=Call(_ME, answered=False, failed=5))
    assert not provisioning.take_probe(tx, node.id, _ME)
    provisioning.record(tx, node, (), None, correlation_id="c", call=Call(_ME, answered=True))


def _refill(tx: Transaction) -> None:
    """A page of a node that lost its state, in the middle of its customers, and what follows a row that refuses it."""
    (node, *_) = provisioning.nodes(tx)
    for state_id in ("before", "after"):
        provisioning.record(tx, node, (), Heard(state_id), correlation_id="c")
    assert provisioning.that_lost_state(tx) == [node.id]
    provisioning.pass_over_forget(tx, node.id)
    assert provisioning.forget(tx, node.id, PAGE).looked_at == PAGE


def _drain(tx: Transaction) -> None:
    """A page of a node that is drained, in the middle of its customers, and what follows a row that refuses it."""
    assert provisioning.draining(tx) == []
    tx.execute("update nodes set state = 'draining' where id = 1")
    provisioning.pass_over_take_off(tx, 1)
    assert provisioning.take_off(tx, 1, PAGE).looked_at == PAGE


def _receive(tx: Transaction) -> None:
    """News that settles, the same again, and something else under its key."""
    (order,) = _ids(tx, "select max(id) from orders where status <> 'paid' and invoice_id is not null")
    event = Event("cryptobot", str(order), b"", "sweep", "c", Money(14900, "RUB", str(order), None))
    assert inbox.receive(tx, event, PRICES).outcome == "settled"
    assert inbox.receive(tx, event, PRICES).outcome == "repeated"


def _prune(tx: Transaction) -> None:
    for rule in retention.RULES:
        assert retention.prune(tx, rule, 500) == 500


def _new_rows(tx: Transaction) -> None:
    """A page in the middle of each table."""
    for source in invariant_audit.SOURCES:
        (middle,) = _ids(tx, f"select coalesce(max(id), 0) / 2 from {source.table}")  # noqa: S608 -- the code's words
        invariant_audit.set_mark(tx, source.mark, middle)
        invariant_audit.next_new(tx, source, 500)


def _violated(tx: Transaction) -> None:
    """What is asked each hour: of a page of things, and as a whole where that is cheap."""
    for kind, table in invariant_audit.KINDS.items():
        if kind == "wallet":
            continue  # costs what its own entries do, by an index; here two wallets hold all there are
        keys = _ids(tx, f"select id from {table} order by id desc limit 100")  # noqa: S608 -- as above
        for invariant in invariant_audit.by_kind(kind):
            invariant_audit.violated(tx, invariant, keys)
    for invariant in invariant_audit.asked_whole(hourly=True):
        invariant_audit.violated(tx, invariant)


def _verified(tx: Transaction) -> None:
    invariant_audit.verified(tx, invariant_audit.next_links(tx, None, 500), None)


def _due(tx: Transaction) -> None:
    """In the middle of a page's worth, and when nothing is left."""
    assert retention.due(tx) == list(retention.RULES)


def _drive(tx: Transaction) -> None:
    for queue in function_table.load().queues.values():
        found = outbox.stuck(tx, queue.name, PAGE, queue.max_retry_s)
        assert bool(found) == (queue.name == "nodes")


def _overdue(tx: Transaction) -> None:
    for queue in function_table.load().queues:
        outbox.overdue(tx, queue, PAGE, 600.0)


def _enqueued(tx: Transaction) -> None:
    found = outbox.never_enqueued(tx, 0, PAGE, 30.0)
    assert len(found) == PAGE
    outbox.mark_enqueued(tx, found)


def _claimed(tx: Transaction) -> refund_requests.Claimed:
    return refund_requests.claim(tx, ["cryptobot"], 1, 60.0)[0]


def _renewed(tx: Transaction) -> None:
    """One who has the money, and one who has not."""
    first, second, *_ = renewals.due(tx, Place(), PAGE, PRICES)
    tx._connection.execute(
        "insert into ledger_accounts (code, currency, account_id, balance) values ('user:topped_up', 'RUB', :id, 100000)"
        " on conflict (coalesce(account_id, 0), code, currency) do update set balance = excluded.balance",
        {"id": first.account_id},
    )
    assert renewals.renew(tx, first.account_id, PRICES, "c").outcome is renewals.Outcome.RENEWED
    assert renewals.renew(tx, second.account_id, PRICES, "c").outcome is renewals.Outcome.LOW


def _announced(tx: Transaction) -> None:
    """A price that has risen."""
    first, *_ = renewals.to_announce(tx, Place(), PAGE, PRICES)
    basic = PRICES.tariffs["basic"]
    dearer = replace(PRICES, tariffs={"basic": replace(basic, prices=basic.prices | {30: 20_000})})
    assert renewals.announce(tx, first.account_id, dearer, "c")


def _listed(tx: Transaction) -> None:
    watched = orders.watched(tx, "cryptobot", 0, 1000)
    ids = [order.id for order in watched]
    assert len(ids) > 400
    orders.note_listed(tx, present=ids[:10], missing=ids[10:])
    orders.close_at_provider(tx, ids)


def _place(tx: Transaction) -> None:
    """A full page of what a node that joined lacks."""
    placed = provisioning.place(tx, subscription_id=None, page=PAGE)
    assert (placed.subscriptions, placed.clients) == (PAGE, PAGE)


_NAMES = """
select jsonb_build_object('client', subscription_id, 'version', version, 'uuid', uuid)
from node_clients where node_id = 1 order by cast(subscription_id as text) collate "C" offset 500 limit 1001
"""


def _list(tx: Transaction) -> None:
    """A page of a node's list: half of it agrees, the rest is absent; then removals, of a full run."""
    first, *found = [row[0] for row in tx._connection.execute(_NAMES, {})[1]]
    after, last = (str(one["client"]) for one in (first, found[-1]))
    listed = [reconcile_nodes.Listed(one["client"], one["version"], one["uuid"]) for one in found if one["client"] % 2]
    stretch = reconcile_nodes.Stretch(1, after, last, listed)
    (node, *_) = reconcile_nodes.may_be_listed(tx)
    reconcile_nodes.note(tx, stretch)
    reconcile_nodes.take_back(tx, stretch, node.asked_at, 2000)
    reconcile_nodes.take_back(tx, reconcile_nodes.Stretch(1, "", None, ()), node.asked_at, 2000)
    reconcile_nodes.orphan_count(tx)
    ripe = reconcile_nodes.ripe(tx, [1, 2])
    works = reconcile_nodes.claim(tx, 1, ripe[1], _ME)
    assert len(works) == reconcile_nodes.MOST_REMOVALS
    answers = [
        Answer(w.subscription_id, w.node_id, w.version, str(w.claimed_by), applied=n % 2 == 0)
        for n, w in enumerate(works)
    ]
    assert reconcile_nodes.record_removals(tx, 1, answers) == reconcile_nodes.MOST_REMOVALS // 2
    assert reconcile_nodes.failed(tx, 1).failures == 1
    reconcile_nodes.answered(tx, 1)


TERMS = reminders.Terms(PRICES, "Europe/Moscow", "c")


def _remind(tx: Transaction) -> None:
    """A page of those who are due, and the one behind it."""
    for _ in range(2):
        assert reminders.look_at(tx, PAGE, TERMS).count == PAGE


def _close_day(tx: Transaction) -> None:
    assert books.close_next_day(tx) == date(2020, 1, 1) + timedelta(days=2000)


def _compared(tx: Transaction) -> None:
    """A provider's page of lines, most of which the books have."""
    due = reconciliation.due(tx, "cryptobot")
    assert due is not None
    subjects = [(True, str(n)) for n in range(3, 1200, 3)]
    reconciliation.booked(tx, "cryptobot", subjects, due.before)
    assert reconciliation.held(tx, "cryptobot", due.now)
    found, after = reconciliation.booked_since(tx, "cryptobot", datetime(2025, 6, 20, tzinfo=UTC), 0, PAGE)
    assert found
    assert after is None
    differs = [
        Difference("missing_here", CHARGE, str(n), "RUB", of_fee=False, said=Decimal(2), booked=None)
        for n in range(PAGE)
    ]
    outcome = Outcome(due.day, PAGE, 0, 0, differs, due.now, due.now, complete=True, balance_judged=True)
    assert reconciliation.record(tx, "cryptobot", outcome)


def _debit(tx: Transaction) -> None:
    """One that no update told of, and one that was taken up before."""
    event = Event("stars", "e1", b"", "sweep", "c", None, "left", kind="chargeback")
    debit = Debit("d1", datetime(2026, 1, 1, tzinfo=UTC), 1, 100, "XTR", 0)
    listings.take_up_debit(tx, event, debit, PRICES)
    assert listings.take_up_debit(tx, event, debit, PRICES).outcome == "repeated"


def _commission(tx: Transaction) -> None:
    assert listings.book_commission(tx, "stars", Commission("c1", 5, "XTR"))
    assert listings.commissions_posted(tx, "stars", ["c1", *map(str, range(PAGE))]) == {"c1"}


RUN = SweepRun("expiry", "t", "done", 0, 0, 0, more=False, duration_s=1.0, error=None)

_STORE = "https://s3.example.com/books"
_DAY = ledger_export.Due(
    date(2024, 1, 1),
    1,
    "local",
    "UTC",
    None,
    datetime(2024, 1, 1, tzinfo=UTC),
    datetime(2100, 1, 1, tzinfo=UTC),
)


def _copied_page(kind: str) -> Callable[[Transaction], object]:
    """The first page of what a day has of it, and the one after."""

    def read(tx: Transaction) -> None:
        first = ledger_export.READERS[kind](tx, _DAY, ())
        ledger_export.READERS[kind](tx, _DAY, first.last)

    return read


TRANSACTIONS: dict[str, Callable[[Transaction], object]] = {
    "books.close_next_day": _close_day,
    "reconciliation.booked": _compared,
    "reconciliation.booked_since": _compared,
    "reconciliation.due": _compared,
    "reconciliation.held": _compared,
    "reconciliation.record": _compared,
    "reconciliation.under_their_charges": lambda tx: reconciliation.under_their_charges(
        tx, "cryptobot", [Line(REFUND, str(n), "RUB", Decimal(-1)) for n in range(PAGE)]
    ),
    "listings.book_commission": _commission,
    "invariant_audit.next_links": lambda tx: [invariant_audit.next_links(tx, night, 500) for night in (None, _DAY.day)],
    "invariant_audit.next_new": _new_rows,
    "invariant_audit.next_of": lambda tx: [
        invariant_audit.next_of(tx, one, _DAY.day, 500) for one in invariant_audit.KINDS
    ],
    "invariant_audit.night_due": invariant_audit.night_due,
    "invariant_audit.night_is_over": lambda tx: invariant_audit.night_is_over(tx, _DAY.day),
    "invariant_audit.note": lambda tx: invariant_audit.note(tx, "end_is_explained", [str(n) for n in range(10)]),
    "invariant_audit.set_mark": lambda tx: invariant_audit.set_mark(tx, "new.orders", 1),
    "invariant_audit.verified": _verified,
    "invariant_audit.violated": _violated,
    "invariant_audit.was_asked": lambda tx: invariant_audit.was_asked(tx, "held_is_what_is_asked_for", _DAY.day),
    "listings.commissions_posted": _commission,
    "listings.note_read": lambda tx: listings.note_read(tx, "stars", 100),
    "listings.page_in_turn": lambda tx: listings.page_in_turn(tx, "stars", 100),
    "listings.read_to": lambda tx: listings.read_to(tx, "stars"),
    "listings.take_up_debit": _debit,
    "listings.told_by_now": listings.told_by_now,
    "orders.close_unasked": lambda tx: orders.close_unasked(tx, "cryptobot", 1000),
    "freezing.due_to_thaw": lambda tx: freezing.due_to_thaw(tx, 0, PAGE),
    "freezing.thaw_due": lambda tx: freezing.thaw_due(tx, PAGE, "c"),
    "freezing.thaw_one_due": lambda tx: freezing.thaw_one_due(tx, freezing.due_to_thaw(tx, 0, 1)[0], "c"),
    "flags.enabled": lambda tx: flags.enabled(tx, "sweep"),
    "health_snapshot.connections": health_snapshot.connections,
    "health_snapshot.overdue": lambda tx: health_snapshot.overdue(tx, 60.0),
    "refund_requests.claim": lambda tx: refund_requests.claim(tx, ["cryptobot"], PAGE, 60.0),
    "refunds.is_told": lambda tx: refunds.is_told(tx, 201),
    "refund_requests.overdue": refund_requests.overdue,
    "refund_requests.refuse_unsent": lambda tx: refund_requests.refuse_unsent(tx, ["cryptobot"], "no"),
    "refund_requests.put_off": lambda tx: refund_requests.put_off(tx, _claimed(tx), 1.0, "later", may_be_made=True),
    "refund_requests.refused": lambda tx: refund_requests.refused(tx, _claimed(tx), "no"),
    "refunds.wake": lambda tx: refunds.wake(tx, PAGE),
    "inbox.page_in_turn": lambda tx: inbox.page_in_turn(tx, 1000),
    "inbox.receive": _receive,
    "inbox.unknown_of": lambda tx: inbox.unknown_of(tx, "cryptobot", [str(n) for n in range(1000)]),
    "orders.attach_invoice": lambda tx: orders.attach_invoice(tx, 201, "new", "l"),
    "orders.close_at_provider": _listed,
    "orders.close_without_invoice": lambda tx: orders.close_without_invoice(tx, "cryptobot", 1000),
    "ledger_export.balances": _copied_page("balances"),
    "ledger_export.due": lambda tx: ledger_export.due(tx, _STORE),
    "ledger_export.entries": _copied_page("entries"),
    "ledger_export.newest_copied": lambda tx: ledger_export.newest_copied(tx, _STORE),
    "ledger_export.orders": _copied_page("orders"),
    "ledger_export.payments": _copied_page("payments"),
    "ledger_export.record": lambda tx: ledger_export.record(
        tx, _STORE, ledger_export.Copied(date(2025, 6, 22), "0a" * 32), "locked"
    ),
    "ledger_export.totals": lambda tx: ledger_export.totals(tx, _DAY.day),
    "ledger_export.transfers": _copied_page("transfers"),
    "orders.expire_one": lambda tx: orders.expire_one(tx, orders.out_of_time(tx, 0, 1)[0]),
    "orders.out_of_time": lambda tx: orders.out_of_time(tx, 0, PAGE),
    "orders.expire_due": lambda tx: orders.expire_due(tx, 1000),
    "orders.note_listed": _listed,
    "orders.watched": _listed,
    "orders.without_known_invoice": lambda tx: orders.without_known_invoice(tx, "cryptobot", 1000),
    "outbox.finish": lambda tx: outbox.finish(tx, 1),
    "outbox.mark_enqueued": _enqueued,
    "outbox.never_enqueued": _enqueued,
    "outbox.overdue": _overdue,
    "outbox.stuck": _drive,
    "provisioning.claim": _record,
    "provisioning.ensure_first_node": lambda tx: provisioning.ensure_first_node(tx, "http://127.0.0.1", "K"),
    "provisioning.nodes": provisioning.nodes,
    "provisioning.nodes_due": lambda tx: [provisioning.nodes_due(tx, wanted=wanted) for wanted in (True, False)],
    "provisioning.to_be_placed": lambda tx: provisioning.to_be_placed(tx, provisioning.FIRST_UNPLACED, PAGE),
    "provisioning.place": _place,
    "provisioning.record": _record,
    **dict.fromkeys(
        (
            f"reconcile_nodes.{name}"
            for name in (
                "answered",
                "claim",
                "failed",
                "may_be_listed",
                "note",
                "orphan_count",
                "record_removals",
                "ripe",
                "take_back",
            )
        ),
        _list,
    ),
    "reminders.due": lambda tx: reminders.due(tx, 0, PAGE),
    "reminders.look_at": _remind,
    "reminders.look_at_one": lambda tx: reminders.look_at_one(tx, reminders.due(tx, 0, 1)[0], TERMS),
    "renewals.announce": _announced,
    "renewals.due": _renewed,
    "renewals.renew": _renewed,
    "renewals.to_announce": _announced,
    "provisioning.draining": _drain,
    "provisioning.forget": _refill,
    "provisioning.pass_over_forget": _refill,
    "provisioning.pass_over_take_off": _drain,
    "provisioning.take_off": _drain,
    "provisioning.take_probe": _probe,
    "provisioning.that_lost_state": _refill,
    "retention.due": _due,
    "retention.prune": _prune,
    "subscriptions.due_to_expire": lambda tx: subscriptions.due_to_expire(tx, 0, PAGE),
    "subscriptions.expire_one": lambda tx: subscriptions.expire_one(tx, subscriptions.due_to_expire(tx, 0, 1)[0], "c"),
    "subscriptions.expire": lambda tx: subscriptions.expire(tx, PAGE, "c"),
    "sweep_runs.last": sweep_runs.last,
    "sweep_runs.record": lambda tx: sweep_runs.record(tx, RUN, ("expiry", "outbox")),
    "webhook_state.note": lambda tx: webhook_state.note(
        tx, Looked(is_set=True, pending=1, last_error_at=1, last_error="e")
    ),
}


def transactions_of(target: str) -> set[str]:
    """`module.function` of every transaction that a function may run: what takes a `tx`, and is named outside the domain."""
    known = graph()
    reached = reached_from((FUNCTIONS[target].module, target))
    named = {use for node in reached if not node[0].startswith(("lib.domain", "lib.db")) for use in known[node].uses}
    return {f"{node[0].removeprefix('lib.domain.')}.{node[1]}" for node in named if _takes_a_transaction(node)}


def _takes_a_transaction(node: Node) -> bool:
    definition = graph().get(node)
    return node[0].startswith("lib.domain.") and any(
        isinstance(text, ast.FunctionDef) and text.args.args[:1] and text.args.args[0].arg == "tx"
        for text in (definition.text if definition else ())
    )


SWEEPS = [name for name, row in FUNCTIONS.items() if row.trigger == "schedule"]


@pytest.mark.proves("S3-8")
@pytest.mark.parametrize("target", SWEEPS)
def test_every_transaction_of_a_sweep_is_watched(target: str) -> None:
    """Found in the code: a new sweep, or a new statement of an old one, is red here until it is in the table."""
    found = transactions_of(target)
    assert len(found) > 2
    assert found <= TRANSACTIONS.keys()


@pytest.mark.proves("S3-8")
@pytest.mark.parametrize("name", TRANSACTIONS)
def test_a_sweep_reads_its_page_and_no_more(large: Large, name: str) -> None:
    watching = large.watch(TRANSACTIONS[name])
    assert watching.seen
    assert [(sql, scan) for sql, scans in watching.seen for scan in scans if scan.reads_too_much()] == []


def test_one_by_one_reads_the_page_that_it_is_asked_for(large: Large) -> None:
    """However many wait behind it: a page of the fallback is read for each that is refused."""
    watching = large.watch(lambda tx: provisioning.to_be_placed(tx, provisioning.FIRST_UNPLACED, 10))
    rows = [scan.rows for _, scans in watching.seen for scan in scans if scan.table == "subscriptions"]
    assert rows
    assert max(rows) <= 11


def test_one_by_one_passes_over_what_stays(large: Large) -> None:
    """The next page begins behind the last key, although what was placed meanwhile is of another generation."""

    def pages(tx: Transaction) -> tuple[list[int], list[int]]:
        first = provisioning.to_be_placed(tx, provisioning.FIRST_UNPLACED, 10)
        provisioning.place(tx, subscription_id=first[-1].id, page=1)
        return [one.id for one in first], [one.id for one in provisioning.to_be_placed(tx, first[-1], 10)]

    found: list[tuple[list[int], list[int]]] = []
    large.watch(lambda tx: found.append(pages(tx)))
    ((first, following),) = found
    assert len(first) == len(following) == 10
    assert first[-1] < following[0]
