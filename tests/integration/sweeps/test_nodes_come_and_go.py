"""Nodes that come and go: the breaker in Postgres, lost and back, drained, refilled, and what a bad node costs the others."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from functions.sweeps import sweep_activation, sweep_expiry
from functions.tasks import task_provision
from lib import bootstrap, log
from lib.domain import health_snapshot, nodes, provisioning
from lib.domain.breaker import OPENS_AFTER, Call
from lib.domain.stored_work import By, NotDone
from lib.nodes import converge
from lib.nodes.client import ATTEMPTS
from lib.nodes.transport import NodeError
from tests.integration.by_the_owner import by_the_owner, travel
from tests.integration.sweeps.failure_matrix import Shop
from tests.integration.sweeps.grants import know_nodes, open_order, pay, start_trials
from tests.integration.sweeps.nodes import Network, RememberingNode
from tests.integration.sweeps.runs import Queue, sweep_run
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Database, Transaction

BY = By(42, {42}, "the machine is to be replaced", "t")
_AWAY = NodeError("ClientConnectorError", temporary=True)
_MINUTE = timedelta(seconds=60)
_WAITING, _MANY = 450, 100_000
_ADDED_AT_ONCE = 1_000  # rows of one statement, which has the functions' time limit
_LONG = [pytest.mark.full, pytest.mark.timeout(3_600)]
_STATE = """
select failures, open_until > atlas.now() as waits, probing_by is not null as probed, lost_since is not null as lost
from nodes where id = :node
"""


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """Two nodes, and no pause between the attempts of a call."""

    async def no_pause(_seconds: float) -> None:
        """At once."""

    monkeypatch.setenv("XRAY_API_KEY", "k")
    monkeypatch.setattr("lib.nodes.client.sleep", no_pause)
    made = Network(2)
    monkeypatch.setattr(bootstrap, "node_transport", lambda: made)
    return made


@pytest.fixture
async def db(processes: Callable[[int], list[Database]], queue: Queue, network: Network) -> Database:
    assert (queue.tasks, len(network.nodes)) == ({}, 2)
    (made,) = processes(1)
    await made.run(know_nodes, 2)
    return made


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the lines about nodes' breakers."""
    found: list[str] = []
    for level in ("info", "warning", "error"):
        monkeypatch.setattr(
            log, level, lambda event, **_: found.append(event) if event.startswith(("node_b", "node_l")) else None
        )
    return found


async def state(db: Database, node: int) -> dict[str, Any]:
    def read(tx: Transaction) -> dict[str, Any]:
        found: dict[str, Any] = tx.value(f"select to_jsonb(s) from ({_STATE}) s", node=node)  # noqa: S608 -- a constant
        return found

    return await db.run(read)


async def a_pass(db: Database) -> None:
    """A minute passes, and both sweeps run."""
    await db.run(travel, _MINUTE)
    await sweep_expiry._work(sweep_run(db, "expiry"))
    await sweep_activation._work(sweep_run(db, "activation"))


async def fill(db: Database, count: int, *, waiting_on: int) -> None:
    """So many customers, on both nodes; none of them confirmed on one of the two."""
    for first in range(0, count, _ADDED_AT_ONCE):
        await db.run(_customers, 1_000_001 + first, min(_ADDED_AT_ONCE, count - first), waiting_on)


def _customers(tx: Transaction, first: int, count: int, waiting_on: int) -> None:
    these = f"telegram_id between {first} and {first + count - 1}"
    by_the_owner(
        tx,
        f"""insert into accounts (telegram_id, language) select {first} + n, 'ru' from generate_series(0, {count - 1}) n;
        create temporary table added on commit drop as
        with made as (
            insert into subscriptions (account_id, tariff, source, status, activation_status, uuid, started_at, expires_at, placement)
            select id, 'basic', 'admin', 'active', 'active', gen_random_uuid(), atlas.now(), atlas.now() + interval '30 days',
                   (select generation from placement)
            from accounts where {these} returning *
        ) select * from made;
        insert into subscription_history (subscription_id, event, source, tariff, uuid, version, expires_at, actor_id)
        select id, 'granted', source, tariff, uuid, version, expires_at, 1 from added;
        insert into messages (key, account_id, kind, delivery, status, finished_at, correlation_id)
        select 'key:' || id || ':' || left(cast(uuid as text), 8), account_id, 'key', 'must', 'sent', atlas.now(), 't' from added;
        insert into node_clients (subscription_id, node_id, uuid, version, wanted, expires_at, applied_version, applied_uuid, link)
        select s.id, n.id, s.uuid, s.version, true, s.expires_at, case when n.id <> {waiting_on} then s.version end,
               case when n.id <> {waiting_on} then s.uuid end, case when n.id <> {waiting_on} then 'vless://x' end
        from added s cross join nodes n;
        drop table added""",  # noqa: S608 -- numbers
    )


async def buy(db: Database, person: int) -> int:
    """They pay, and their task runs; how many of their clients it had confirmed."""
    await db.run(pay, await db.run(open_order, person, "basic", 30, f"{person}"))

    def work(tx: Transaction) -> tuple[int, int]:
        item = tx.value("select max(id) from outbox where target = 'task_provision'")
        return item, tx.value(
            "select cast(payload ->> 'subscription_id' as bigint) from outbox where id = :id", id=item
        )

    item, subscription = await db.run(work)
    answer = await task_provision._provision({"outbox_id": item, "subscription_id": subscription})
    applied: int = answer["applied"]
    return applied


def _dead(node: RememberingNode) -> int:
    node.failing = _AWAY
    return OPENS_AFTER + ATTEMPTS - 1  # the call that opens it makes all its attempts


def _slow(node: RememberingNode) -> int:
    def too_late(_answer: dict[str, Any]) -> tuple[int, bytes]:
        raise NodeError("TimeoutError", temporary=True)

    node.on_its_way = too_late
    return OPENS_AFTER + ATTEMPTS - 1


def _nonsense(node: RememberingNode) -> int:
    node.nonsense = 200, b'{"items": []}'
    return 1  # the call that finds it out


def _garbage(node: RememberingNode) -> int:
    node.nonsense = 200, b"<html>"
    return 1


@pytest.mark.proves("N-38")
@pytest.mark.proves("N-24")
@pytest.mark.parametrize(
    ("make_bad", "bad", "waiting"),
    [
        (_dead, 1, _WAITING),
        (_dead, 2, _WAITING),
        (_slow, 1, _WAITING),
        (_nonsense, 2, _WAITING),
        *(pytest.param(bad, 1, _MANY, marks=_LONG) for bad in (_dead, _slow, _nonsense, _garbage)),
    ],
)
@pytest.mark.usefixtures("told")
async def test_purchases_are_applied_elsewhere_and_a_bad_node_is_asked_once_a_pass(
    db: Database,
    network: Network,
    monkeypatch: pytest.MonkeyPatch,
    *,
    make_bad: Callable[[RememberingNode], int],
    bad: int,
    waiting: int,
) -> None:
    """However many of its rows wait, and all of them older than the purchases."""
    monkeypatch.setattr(bootstrap, "database", lambda: db)
    await fill(db, waiting, waiting_on=bad)
    finds_out = make_bad(network[bad])
    for person in range(3):
        assert await buy(db, person) == 1
    assert network[bad].calls <= finds_out
    passes = 4
    for number in range(passes):
        await a_pass(db)
        assert await buy(db, 10 + number) == 1
    # a pass asks it once: whichever sweep, or purchase, comes first
    assert network[bad].calls <= finds_out + passes
    assert len(network[3 - bad].present) == 3 + passes
    unasked = "select count(*) from node_clients where node_id = :bad and attempts = 0"
    untouched = await db.run(lambda tx: tx.value(unasked, bad=bad))
    assert untouched >= waiting - 100 * (2 + passes)
    network[bad].failing = network[bad].on_its_way = network[bad].nonsense = None
    refilled = [len(network[bad].present)]
    while len(refilled) < 3 or refilled[-1] > refilled[-2]:  # as many passes as it takes, none of them without a gain
        await a_pass(db)
        refilled.append(len(network[bad].present))
    assert refilled[-1] == waiting + 3 + passes


@pytest.mark.proves("N-38")
@pytest.mark.proves("N-24")
@pytest.mark.parametrize("bad", [1, 2])
async def test_a_node_that_answers_nothing_holds_up_no_page_and_no_purchase_of_the_other(
    db: Database, network: Network, monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    """It takes the sweep's call, and a purchase's, and is silent: the other node has all pages, and the purchase, before it says a word."""
    monkeypatch.setattr(bootstrap, "database", lambda: db)
    monkeypatch.setattr(converge, "BATCH", 10)
    many = 3 * converge.BATCH + 1
    await db.run(start_trials, 100, many)
    thaw = asyncio.Event()

    async def hang() -> None:
        await thaw.wait()

    network[bad].before_answer = hang
    good = network[3 - bad]
    sweeping = asyncio.create_task(sweep_activation._work(sweep_run(db, "activation")))
    async with asyncio.timeout(60):
        await until(lambda: sweeping.done() or len(good.present) == many, "every page is on the other node")
        assert (sweeping.done(), network[bad].present) == (False, {})
        buying = asyncio.create_task(buy(db, 1))
        await until(lambda: buying.done() or len(good.present) == many + 1, "the purchase is on the other node")
        assert not buying.done()
        activated = "select count(*) from subscriptions where activation_status = 'active'"
        await until(lambda: db.run(lambda tx: tx.value(activated) == many + 1), "and its key is given out")
        assert network[bad].calls <= 2, "the sweep's and the purchase's"
        thaw.set()
        await asyncio.gather(sweeping, buying)
    await a_pass(db)
    assert network[bad].present == good.present


@pytest.mark.proves("N-15")
async def test_failures_are_counted_over_all_instances_and_a_success_of_any_begins_anew(
    db: Database, processes: Callable[[int], list[Database]], network: Network, told: list[str]
) -> None:
    node = (await db.run(provisioning.nodes))[0]
    others = itertools.cycle(processes(3))

    async def call(*, answered: bool, failed: int = 0) -> None:
        ended = Call(uuid.uuid4(), answered=answered, failed=failed)
        await next(others).run(provisioning.record, node, (), None, correlation_id="t", call=ended)

    for _ in range(3):
        await call(answered=False, failed=4)
        await call(answered=True)  # its instance read the row before the failures
    assert (await state(db, node.id))["failures"] == 0
    await asyncio.gather(*(call(answered=False, failed=1) for _ in range(4)))
    assert await state(db, node.id) == {"failures": 4, "waits": None, "probed": False, "lost": False}
    await call(answered=False, failed=1)
    assert await state(db, node.id) == {"failures": 5, "waits": True, "probed": False, "lost": False}
    assert [one.id for one in await db.run(provisioning.nodes)] == [3 - node.id]
    assert network[node.id].calls == 0
    assert told == []  # what is told is told by who made the call


@pytest.mark.proves("N-15")
async def test_of_many_who_come_at_once_one_sends_the_probe(
    db: Database, processes: Callable[[int], list[Database]], network: Network, told: list[str]
) -> None:
    """Two sweeps and six looks, at the moment when the wait is over; the probe hangs until all the others have passed it over."""
    await db.run(start_trials, 1, 2)
    network[2].failing = _AWAY
    for _ in range(2):
        await a_pass(db)
    assert "node_breaker_opened" in told
    calls, thaw = network[2].calls, asyncio.Event()
    network[2].failing = None

    async def hang() -> None:
        await thaw.wait()

    network[2].before_answer = hang
    await db.run(travel, _MINUTE)
    four = processes(4)
    runs = [
        asyncio.create_task(work(sweep_run(one, name)))
        for one in four
        for name, work in (("activation", sweep_activation._work), ("expiry", sweep_expiry._work))
    ]
    async with asyncio.timeout(60):
        await until(lambda: sum(run.done() for run in runs) == len(runs) - 1)
        assert network[2].calls == calls + 1
        thaw.set()
        await asyncio.gather(*runs)
    assert told[-1] == "node_breaker_closed"
    assert network[2].present == network[1].present
    assert (await state(db, 2))["failures"] == 0


@pytest.mark.proves("N-15")
async def test_a_probe_whose_sender_was_killed_is_sent_by_another_when_its_lease_is_over(
    db: Database, network: Network, told: list[str]
) -> None:
    await db.run(start_trials, 1, 1)
    network[2].failing = _AWAY
    for _ in range(2):
        await a_pass(db)
    await db.run(travel, timedelta(seconds=30))
    assert await db.run(provisioning.claim, 2, uuid.uuid4(), 10, wanted=True) is not None  # and then it dies
    calls = network[2].calls
    network[2].failing = None
    await sweep_activation._work(sweep_run(db, "activation"))
    assert network[2].calls == calls
    await db.run(travel, timedelta(seconds=61))
    await sweep_activation._work(sweep_run(db, "activation"))
    assert network[2].present == network[1].present
    assert told[-1] == "node_breaker_closed"


@pytest.mark.proves("N-41.lost")
@pytest.mark.proves("N-41.back")
@pytest.mark.parametrize("away_days", [0, 3])
async def test_a_node_is_lost_and_back_by_itself_as_if_it_had_never_gone(
    db: Database,
    network: Network,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    away_days: int,
) -> None:
    monkeypatch.setattr(bootstrap, "database", lambda: db)
    shop = Shop(db, network, caplog)
    await db.run(start_trials, 100, 2)  # they end while it is away, or are still there
    for person in (1, 2):
        assert await buy(db, person) == 2
    await a_pass(db)
    network[1].failing = _AWAY
    passes = 0
    while "node_lost" not in told:
        await a_pass(db)
        passes += 1
    assert passes == 5  # two until it opens, and three probes
    calls = network[1].calls
    if away_days:
        await db.run(travel, timedelta(days=away_days))
    for _ in range(3):
        await a_pass(db)
    assert network[1].calls == calls + 3
    held = await db.run(lambda tx: tx.value("select count(*) from node_clients where node_id = 1 and wanted"))
    assert held == (2 if away_days else 4)  # what it holds stays wanted
    assert await buy(db, 3) == 1
    assert await db.run(lambda tx: tx.value("select count(*) from node_clients where node_id = 1 and wanted")) == held
    await db.run(pay, await db.run(open_order, 2, "basic", 30, "renewed"))
    (account,) = await db.run(lambda tx: tx.values("select id from accounts where telegram_id = 1"))
    assert str(await db.run(provisioning.share_link, account)).startswith("vless://")
    (trouble,) = (await db.run(health_snapshot.take)).nodes
    assert trouble.name == "n1"
    assert trouble.lost_since is not None
    assert trouble.open_since is not None
    network[1].failing = None
    for _ in range(2):
        await a_pass(db)
    assert told[-1] == "node_back"
    assert network[1].present == network[2].present
    assert len(network[1].present) == (3 if away_days else 5)
    assert {client: network[2].ends[client] for client in network[1].ends} == network[1].ends
    assert (await db.run(health_snapshot.take)).nodes == ()
    await shop.provision()
    await shop.healed(within=0)


async def test_links_lead_with_the_nodes_that_are_not_lost(db: Database, network: Network) -> None:
    assert network[1].calls == 0
    await db.run(start_trials, 1, 1)
    await a_pass(db)

    def link(tx: Transaction) -> str | None:
        return provisioning.share_link(tx, tx.value("select id from accounts"))

    await db.run(lambda tx: by_the_owner(tx, "update node_clients set link = 'vless://' || node_id"))
    assert await db.run(link) == "vless://1"
    await db.run(lambda tx: tx.execute("update nodes set lost_since = atlas.now() where id = 1"))
    assert await db.run(link) == "vless://2"


async def confirmed(db: Database, node: int) -> int:
    def count(tx: Transaction) -> int:
        found: int = tx.value(
            "select count(*) from node_clients where node_id = :node and wanted and applied_version = version",
            node=node,
        )
        return found

    return await db.run(count)


@pytest.mark.proves("N-41.drain")
@pytest.mark.usefixtures("told")
async def test_a_drained_node_is_emptied_and_no_customer_is_ever_without_a_node(
    db: Database, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the other node has not confirmed them, nothing is taken off; then all are, but one who is refused there."""
    for module in (sweep_activation, sweep_expiry):
        monkeypatch.setattr(module, "_PAGE", 4)
    await db.run(start_trials, 1, 14)
    network[2].failing = _AWAY
    await a_pass(db)
    drained = await db.run(nodes.drain, "n1", BY, undo=False)
    assert (drained.was, drained.written, drained.clients) == ("active", True, 14)
    for _ in range(3):
        await a_pass(db)
        assert len(network[1].present) == 14
    refused = next(iter(network[1].present))
    network[2].failing, network[2].refusing = None, {refused}
    everyone, seen = dict(network[1].present), []

    async def look() -> None:
        seen.append(network[1].present.keys() | network[2].present.keys())

    for node in (1, 2):
        network[node].before_answer = look
    for _ in range(4):
        await a_pass(db)
    assert all(held == everyone.keys() for held in seen)
    assert set(network[1].present) == {refused}
    assert set(network[2].present) == set(everyone) - {refused}
    await db.run(start_trials, 100, 1)
    network[2].refusing = set()
    for _ in range(3):
        await a_pass(db)
    assert network[1].present == {}
    assert len(network[2].present) == 15
    assert everyone.items() <= network[2].present.items()
    assert await db.run(lambda tx: tx.value("select count(*) from node_clients where node_id = 1")) == 0


@pytest.mark.proves("N-41.drain")
@pytest.mark.usefixtures("told")
async def test_a_node_that_is_taken_back_from_draining_holds_all_customers_again(
    db: Database, network: Network
) -> None:
    await db.run(start_trials, 1, 3)
    await a_pass(db)
    assert (await db.run(nodes.drain, "n2", BY, undo=False)).written
    assert not (await db.run(nodes.drain, "n2", BY, undo=False)).written
    with pytest.raises(NotDone, match="last-node"):
        await db.run(nodes.drain, "n1", BY, undo=False)
    for _ in range(2):
        await a_pass(db)
    assert network[2].present == {}
    assert (await db.run(nodes.drain, "n2", BY, undo=True)).written
    await a_pass(db)
    assert network[2].present == network[1].present
    assert len(network[1].present) == 3
    told = (
        "select actor || ' ' || action || ' ' || (after ->> 'state') || ' ' || (after ->> 'reason') from audit_log"
        " where subject_kind = 'node' order by id"
    )
    assert await db.run(lambda tx: tx.values(told)) == [
        f"42 node.draining draining {BY.reason}",
        f"42 node.active active {BY.reason}",
    ]


@pytest.mark.proves("N-48")
@pytest.mark.parametrize("kind", ["idle", "draining", "lost", "again"])
@pytest.mark.usefixtures("told")
async def test_a_node_that_lost_its_state_is_refilled_by_itself(
    db: Database, network: Network, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Whatever it is when it loses it, in pages, once, without a call to the other node."""
    monkeypatch.setattr(sweep_activation, "_PAGE", 4)
    network[2].said = {"state_id": "a"}
    await db.run(start_trials, 1, 10)
    await a_pass(db)
    everyone = dict(network[2].present)
    assert len(everyone) == 10
    others = sum(network[1].asked.values())
    if kind == "draining":
        network[1].failing = _AWAY  # so none may be taken off
        for _ in range(2):
            await a_pass(db)
        await db.run(lambda tx: tx.execute("update nodes set state = 'draining' where id = 2"))
    if kind == "lost":
        network[2].failing = _AWAY
        for _ in range(6):
            await a_pass(db)
        assert (await state(db, 2))["lost"]
        network[2].failing = None
    network[2].forget("b")
    asked = sum(network[2].asked.values())
    if kind == "again":
        await sweep_activation._work(sweep_run(db, "activation"))
        assert network[2].present == everyone
        network[2].forget("c")
        asked = sum(network[2].asked.values())
    for _ in range(2):
        await a_pass(db)
    assert network[2].present == everyone
    assert sum(network[2].asked.values()) == asked + 10
    assert sum(network[1].asked.values()) == others
    assert await db.run(provisioning.that_lost_state) == []


@pytest.mark.proves("N-48")
async def test_what_a_node_confirmed_since_its_loss_was_heard_of_is_not_sent_again(
    db: Database, network: Network
) -> None:
    """A purchase finds the loss out: its own client is there, and the others follow."""
    network[2].said = {"state_id": "a"}
    await db.run(start_trials, 1, 5)
    await a_pass(db)
    network[2].forget("b")
    await db.run(start_trials, 50, 1)
    for _ in range(2):
        await a_pass(db)
    assert network[2].present == network[1].present
    assert max(count for (_client, version, _), count in network[2].asked.items() if version == 1) <= 2
    assert len([one for one in network[2].asked.values() if one == 1]) == 1


@pytest.mark.proves("N-48")
async def test_a_customer_whose_row_refuses_it_keeps_no_other_from_being_refilled(
    db: Database, network: Network, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    monkeypatch.setattr(sweep_activation, "_PAGE", 4)
    network[2].said = {"state_id": "a"}
    await db.run(start_trials, 1, 9)
    await a_pass(db)
    network[2].forget("b")
    (bad, *_) = await db.run(lambda tx: tx.values("select id from subscriptions order by id offset 4"))
    await db.run(
        lambda tx: by_the_owner(
            tx,
            "create function atlas.refuse() returns trigger language plpgsql as"
            " $$ begin raise exception 'no' using errcode = '23514'; end $$",
        )
    )
    await db.run(
        lambda tx: by_the_owner(
            tx,
            f"create trigger refuse before update on node_clients for each row when (new.subscription_id = {bad} and new.applied_version"
            " is null and old.applied_version is not null) execute function atlas.refuse()",
        )
    )
    for _ in range(2):
        await a_pass(db)
    assert network[1].present.keys() - network[2].present.keys() == {str(bad)}
    assert await db.run(provisioning.that_lost_state) == []
    assert told == ["node_lost_clients"]
