"""G-4: a row that no statement can be done for stops no other row's work, in whatever page and at whatever step it stands."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from functions.sweeps import sweep_activation, sweep_expiry, sweep_outbox, sweep_payments
from lib import bootstrap, log
from lib.domain import outbox, provisioning, retention
from lib.domain.retention import Rule
from lib.sweeps import runner
from tests.integration.by_the_owner import by_the_owner, travel
from tests.integration.sweeps.grants import know_nodes, open_order, start_trials
from tests.integration.sweeps.nodes import Network
from tests.integration.sweeps.runs import Queue, sweep_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Database, Transaction
    from lib.sweeps.runner import Run

pytestmark = pytest.mark.proves("G-4")

CUSTOMERS = 9


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    monkeypatch.setenv("XRAY_API_KEY", "k")
    made = Network(2)
    monkeypatch.setattr(bootstrap, "node_transport", lambda: made)
    return made


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> Queue:
    made = Queue()
    monkeypatch.setattr(bootstrap, "task_queue", lambda: made)
    return made


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Failures that an operator is told of."""
    found: list[str] = []
    monkeypatch.setattr(log, "exception", lambda event, **_fields: found.append(event))
    return found


@pytest.fixture
def db(processes: Callable[[int], list[Database]]) -> Database:
    return processes(1)[0]


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pages and a bit: the bad row is in one of them, and sorts before what comes after."""
    for module in (sweep_activation, sweep_expiry):
        monkeypatch.setattr(module, "_PAGE", 4)
    monkeypatch.setattr("lib.nodes.converge.BATCH", 4)


def refuse(tx: Transaction, table: str, condition: str) -> None:
    """Whatever the reason: a constraint of a later release, a damaged index, a trigger."""
    by_the_owner(
        tx,
        "create or replace function atlas.refuse() returns trigger language plpgsql as"
        " $$ begin raise exception 'no' using errcode = '23514'; end $$",
    )
    by_the_owner(
        tx,
        f"create trigger refuse before insert or update on {table} for each row when ({condition})"
        " execute function atlas.refuse()",
    )


def mend(tx: Transaction) -> None:
    by_the_owner(tx, "drop function atlas.refuse() cascade")


async def the(db: Database, number: int, table: str = "subscriptions") -> int:
    """The id of the first, second, ... row."""
    ids = await db.run(lambda tx: tx.values(f"select id from {table} order by id"))  # noqa: S608 -- a constant of the test
    return int(ids[number - 1])


async def activated(db: Database) -> Run:
    run = sweep_run(db, "activation")
    await sweep_activation._work(run)
    return run


@pytest.mark.parametrize("bad", [1, CUSTOMERS])
async def test_of_a_new_node(db: Database, network: Network, tasks: Queue, told: list[str], bad: int) -> None:
    await db.run(know_nodes, 1)
    await db.run(start_trials, 1, CUSTOMERS)
    await activated(db)
    await db.run(
        lambda tx: tx.execute(
            "insert into nodes (id, name, api_url, key_name) overriding system value"
            " values (2, 'n2', 'http://127.0.0.2', 'XRAY_API_KEY')"
        )
    )
    await db.run(refuse, "node_clients", f"new.node_id = 2 and new.subscription_id = {await the(db, bad)}")
    run = await activated(db)
    await activated(db)
    assert len(network[2].present) == CUSTOMERS - 1
    assert (run.broken > 0, "sweep_item_failed" in told) == (True, True)
    await db.run(mend)
    await activated(db)
    assert len(network[2].present) == CUSTOMERS
    assert len(tasks.tasks) == CUSTOMERS


@pytest.mark.parametrize("bad", [1, 3, CUSTOMERS])
async def test_of_an_activation(db: Database, network: Network, tasks: Queue, told: list[str], bad: int) -> None:
    """The node confirmed a batch; one of its rows can't be written."""
    await db.run(know_nodes, 1)
    await db.run(start_trials, 1, CUSTOMERS)
    await db.run(refuse, "subscriptions", f"new.activation_status = 'active' and new.id = {await the(db, bad)}")
    await activated(db)
    assert len(tasks.tasks) == CUSTOMERS - 1
    assert "node_answer_not_recorded" in told or "sweep_item_failed" in told
    await db.run(mend)
    await db.run(travel, timedelta(seconds=provisioning.LEASE_S + 1))
    await activated(db)
    assert len(tasks.tasks) == CUSTOMERS
    assert len(network[1].present) == CUSTOMERS


@pytest.mark.parametrize("bad", [1, CUSTOMERS])
async def test_of_an_end(db: Database, network: Network, tasks: Queue, told: list[str], bad: int) -> None:
    await db.run(know_nodes, 2)
    await db.run(start_trials, 1, CUSTOMERS)
    await activated(db)
    keys = len(tasks.tasks)
    await db.run(travel, timedelta(hours=72))
    await db.run(refuse, "subscriptions", f"new.status = 'expired' and new.id = {await the(db, bad)}")
    for _ in range(2):
        run = sweep_run(db, "expiry")
        await sweep_expiry._work(run)
        assert run.broken == 1
    assert await db.run(lambda tx: tx.values("select id from subscriptions where status = 'active'")) == [
        await the(db, bad)
    ]
    assert (len(network[1].present), len(network[2].present)) == (1, 1)
    assert len(tasks.tasks) - keys == CUSTOMERS - 1
    assert set(told) == {"sweep_item_failed"}
    await db.run(mend)
    await sweep_expiry._work(sweep_run(db, "expiry"))
    assert (network[1].present, network[2].present) == ({}, {})


async def test_of_an_order_that_is_out_of_time(
    db: Database, tasks: Queue, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "invoices", dict)
    for number in range(1, 5):
        await db.run(open_order, number, "basic", 30, str(number))
    await db.run(travel, timedelta(hours=1))
    first = await the(db, 1, "orders")
    await db.run(refuse, "orders", f"new.id = {first}")
    await sweep_payments._work(run := sweep_run(db, "payments"))
    assert await db.run(lambda tx: tx.values("select id from orders where status = 'open'")) == [first]
    assert (run.broken, told, tasks.tasks) == (1, ["sweep_item_failed"], {})
    await db.run(mend)


def _work_of_another_release(tx: Transaction, *, enqueued: bool) -> None:
    """Three rows; the function of the first is one that this release does not have."""
    for target in ("task_of_tomorrow", "task_provision", "task_provision"):
        outbox.add(tx, "nodes", target, {"subscription_id": 1}, "t")
    tx.execute(
        "update outbox set created_at = atlas.now() - interval '1 hour',"
        " enqueued_at = case when cast(:enqueued as boolean) then atlas.now() - interval '1 hour' end",
        enqueued=enqueued,
    )


@pytest.mark.parametrize("enqueued", [False, True], ids=["never enqueued", "stuck"])
async def test_of_follow_up_work(db: Database, tasks: Queue, told: list[str], *, enqueued: bool) -> None:
    await db.run(lambda tx: _work_of_another_release(tx, enqueued=enqueued))
    await sweep_outbox._work(run := sweep_run(db, "outbox"))
    assert len(tasks.tasks) == 2
    assert (run.done, run.failed, told) == (2, 1, ["enqueue_failed"])
    await sweep_outbox._work(sweep_run(db, "outbox"))
    assert len(tasks.tasks) == 2, "what was made is marked, and made no second time"


async def test_of_what_is_pruned(db: Database, tasks: Queue, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Rule("gone", "id", "ended_at", 1, "delete from gone")
    monkeypatch.setattr(retention, "RULES", (broken, *retention.RULES))
    await db.run(lambda tx: outbox.finish(tx, outbox.add(tx, "nodes", "task_provision", {}, "t").id))
    await db.run(travel, timedelta(days=8))
    await sweep_outbox._work(sweep_run(db, "outbox"))
    assert await db.run(lambda tx: tx.value("select count(*) from outbox")) == 0
    assert (told, tasks.tasks) == (["sweep_item_failed"], {})


async def test_a_run_with_a_bad_item_is_not_one_that_ended_well(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(run: Run) -> None:
        async with run.item(id=1):
            raise KeyError

    monkeypatch.setattr(log, "error", lambda *_a, **_k: None)
    outcome = await runner._bounded(sweep_run(db, "outbox"), work)
    assert outcome == ("failed", "items")
    recorded: Any = await db.run(lambda tx: tx.values("select outcome || ' ' || error from sweep_runs"))
    assert recorded == ["failed items"]
