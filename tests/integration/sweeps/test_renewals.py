"""The sweep of renewals with ends that are due: pages, hand-over, its time, an item that fails, its flag."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from functions.sweeps import sweep_renewals
from lib import bootstrap, log
from lib.domain import balance, flags, renewals
from lib.domain.ledger import Wallets
from lib.settings import pricelist
from lib.sweeps import runner
from tests.integration.by_the_owner import travel
from tests.integration.domain.test_renewals import NEAR, PRICE, costing, said, subscribed, switched
from tests.integration.sweeps.grants import know_nodes, open_order
from tests.integration.sweeps.runs import Queue, sweep_run
from tests.integration.sweeps.test_bad_rows import mend, refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Database, Transaction
    from lib.domain.pricelist import PriceList
    from lib.domain.renewals import Due, Place
    from lib.sweeps.runner import Run

CUSTOMERS = 5


@pytest.fixture
def db(processes: Callable[[int], list[Database]], monkeypatch: pytest.MonkeyPatch, database_url: str) -> Database:
    (made,) = processes(1)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setattr(bootstrap, "database", lambda: made)
    monkeypatch.setattr(sweep_renewals, "_PAGE", 2)
    return made


def customer(tx: Transaction, left: int, number: int) -> int:
    return subscribed(tx, left, telegram_id=number)


async def shop(db: Database, *left: int, by: timedelta = NEAR) -> list[int]:
    """Customers with so much on their balance each, whose access is near its end; their accounts, the first end first."""
    await db.run(know_nodes, 2)
    made = []
    for number, amount in enumerate(left, start=1):
        made.append(await db.run(customer, amount, number))
        await db.run(travel, timedelta(minutes=1))
    await db.run(travel, by)
    return made


def ended_after_a_page(monkeypatch: pytest.MonkeyPatch, run: Run, listed: str = "due") -> None:
    """The run's time is over within the first page of this list."""
    following = getattr(renewals, listed)

    def page(tx: Transaction, after: Place, page: int, prices: PriceList) -> list[Due]:
        found: list[Due] = following(tx, after, page, prices)
        run.started -= 1_000_000
        return found

    monkeypatch.setattr(renewals, listed, page)


async def left_of(db: Database, accounts: list[int]) -> list[int]:
    return [(await db.run(balance.of, one)).total for one in accounts]


async def swept(db: Database) -> Run:
    run = sweep_run(db, "renewals")
    await sweep_renewals._work(run)
    return run


@pytest.mark.proves("S1-7")
async def test_a_run_renews_those_it_can_and_tells_the_others_why(db: Database, queue: Queue) -> None:
    """Over several pages, the first ends first; each that is renewed has its receipt and its nodes' work on the way."""
    accounts = await shop(db, PRICE, PRICE - 1, 3 * PRICE, PRICE, 0)
    await db.run(renewals.turn_off, accounts[3])
    run = await swept(db)
    assert (run.claimed, run.done, run.failed, run.more, run.cursors) == (4, 4, 0, False, {})
    assert await left_of(db, accounts) == [0, PRICE - 1, 2 * PRICE, PRICE, 0]
    assert await db.run(said) == ["low", "low"]
    by_target = Counter(task.service for task in queue.tasks.values())
    assert sorted(by_target.values()) == [2, 4], "two of the nodes; two receipts and two who have too little"
    await swept(db)
    assert await left_of(db, accounts) == [0, PRICE - 1, 2 * PRICE, PRICE, 0]
    assert await db.run(said) == ["low", "low"]


async def test_who_is_paying_an_invoice_is_left_alone_and_the_next_is_renewed(db: Database, queue: Queue) -> None:
    accounts = await shop(db, PRICE, PRICE)
    await db.run(open_order, 1, "basic", 30, "101")
    await swept(db)
    assert await left_of(db, accounts) == [PRICE, 0]
    assert queue.tasks


async def test_a_run_whose_time_is_over_stops_after_its_page_and_says_where(
    db: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = await shop(db, *[PRICE] * CUSTOMERS)
    assert queue.tasks == {}
    run = sweep_run(db, "renewals")
    with monkeypatch.context() as patch:
        ended_after_a_page(patch, run)
        await sweep_renewals._work(run)
    assert (run.claimed, run.more) == (2, True)
    assert await left_of(db, accounts) == [0, 0, PRICE, PRICE, PRICE]
    on = sweep_run(db, "renewals")
    on.cursors = dict(run.cursors)
    await sweep_renewals._work(on)
    assert (on.claimed, on.more, on.cursors) == (3, False, {})
    assert await left_of(db, accounts) == [0] * CUSTOMERS


async def test_a_run_without_time_touches_nothing_and_begins_there_again(db: Database, queue: Queue) -> None:
    accounts = await shop(db, PRICE)
    run = sweep_run(db, "renewals")
    run.cursors = {"end_us": 5, "id": 7}
    run.soft_s = -1.0
    await sweep_renewals._work(run)
    assert (run.claimed, run.more, run.cursors) == (0, True, {"end_us": 5, "id": 7})
    assert await left_of(db, accounts) == [PRICE]
    assert queue.tasks == {}


async def handed_on(db: Database, monkeypatch: pytest.MonkeyPatch, queue: Queue, listed: str) -> list[dict[str, Any]]:
    """A tick whose runs have time for one page each, as the runner hands it on; the bodies of its tasks."""
    bodies: list[dict[str, Any]] = []
    seen: set[str] = set(queue.tasks)

    async def work(run: Run) -> None:
        with monkeypatch.context() as patch:
            ended_after_a_page(patch, run, listed)
            await sweep_renewals._work(run)

    tick: runner.Tick | None = runner.Tick("t")
    while tick is not None:
        await runner._exclusive("renewals", tick, work, None)
        fresh = [task for name, task in queue.tasks.items() if name not in seen and task.queue == "sweeps"]
        seen |= queue.tasks.keys()
        tick = None
        for task in fresh:
            body = json.loads(task.body)
            bodies.append(body)
            tick = runner.Tick(body["tick"], cursors=body["cursors"], hop=body["hop"])
        assert len(bodies) < 10, "it comes to an end"
    assert await db.run(lambda tx: tx.value("select count(*) from sweep_runs where sweep = 'renewals'")) > len(bodies)
    return bodies


async def test_a_tick_with_no_one_to_charge_is_handed_on_to_the_last(
    db: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All who have too little stay due: a run that began anew each time would never come to who stands behind them."""
    accounts = await shop(db, 0, 0, 0, 0, PRICE)
    bodies = await handed_on(db, monkeypatch, queue, "due")
    assert await left_of(db, accounts) == [0] * CUSTOMERS
    assert await db.run(said) == ["low"] * 4
    # two pages with the next behind them, then the announcements, for which no time was left
    assert [sorted(body["cursors"]) for body in bodies] == [["end_us", "id"], ["end_us", "id"], ["announce_end_us"]]


async def test_announcements_are_handed_on_too_and_no_renewal_runs_twice_for_it(
    db: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop(db, *[PRICE] * CUSTOMERS, by=timedelta(days=27, hours=-6))
    monkeypatch.setattr(pricelist, "load", lambda: costing(PRICE + 1))
    bodies = await handed_on(db, monkeypatch, queue, "to_announce")
    assert await db.run(said) == ["announced"] * CUSTOMERS
    assert [sorted(body["cursors"]) for body in bodies] == [["announce_end_us", "announce_id"]] * 2


@pytest.mark.proves("G-4", "S1-7")
@pytest.mark.parametrize("bad", [1, 3, CUSTOMERS])
async def test_an_end_that_can_not_be_renewed_stops_no_other_and_is_tried_by_the_next_run(
    db: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    told: list[str] = []
    monkeypatch.setattr(log, "exception", lambda event, **_fields: told.append(event))
    accounts = await shop(db, *[PRICE] * CUSTOMERS)
    await db.run(refuse, "payments", f"new.account_id = {accounts[bad - 1]}")
    run = await swept(db)
    assert (run.claimed, run.done, run.failed, run.broken) == (CUSTOMERS, CUSTOMERS - 1, 1, 1)
    assert told == ["sweep_item_failed"]
    assert await left_of(db, accounts) == [PRICE if n == bad else 0 for n in range(1, CUSTOMERS + 1)]
    await db.run(mend)
    run = await swept(db)
    assert (run.claimed, run.done, run.failed) == (1, 1, 0)
    assert await left_of(db, accounts) == [0] * CUSTOMERS
    assert queue.tasks


@pytest.mark.usefixtures("queue")
async def test_an_announcement_that_fails_stops_no_other(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = await shop(db, *[PRICE] * 3, by=timedelta(days=27, hours=-6))
    monkeypatch.setattr(pricelist, "load", lambda: costing(PRICE + 1))
    await db.run(refuse, "messages", f"new.account_id = {accounts[0]}")
    run = await swept(db)
    assert (run.done, run.failed, await db.run(said)) == (2, 1, ["announced"] * 2)
    await db.run(mend)
    assert ((await swept(db)).failed, await db.run(said)) == (0, ["announced"] * 3)


async def test_a_queue_that_refuses_undoes_no_renewal(
    db: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work is kept with it, and `sweep_outbox` makes the task."""

    async def refuses(_task: object) -> bool:
        raise ValueError("whatever")

    accounts = await shop(db, PRICE, PRICE)
    monkeypatch.setattr(queue, "create", refuses)
    run = await swept(db)
    assert (run.failed, await left_of(db, accounts)) == (0, [0, 0])
    waiting = "select count(*) from outbox where target = 'task_provision' and done_at is null and enqueued_at is null"
    assert await db.run(lambda tx: tx.value(waiting)) >= 2


async def test_its_flag_switches_it(db: Database, queue: Queue) -> None:
    (anna,) = await shop(db, PRICE)
    await db.run(switched, flags.RENEWALS, "off")
    answer = await runner._exclusive("renewals", runner.Tick("t"), sweep_renewals._work, None)
    assert b"disabled" in answer.body
    assert await db.run(balance.of, anna) == Wallets(PRICE, 0)
    await db.run(switched, flags.RENEWALS, "on")
    await runner._exclusive("renewals", runner.Tick("t"), sweep_renewals._work, None)
    assert await db.run(balance.of, anna) == Wallets(0, 0)
    assert queue.tasks


async def test_a_flag_that_is_switched_off_within_a_run_stops_what_is_left_of_it(
    db: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = await shop(db, PRICE, PRICE, PRICE)
    renew = renewals.renew

    def and_switch_off(tx: Transaction, account_id: int, prices: PriceList, correlation_id: str) -> renewals.Renewed:
        done = renew(tx, account_id, prices, correlation_id)
        if account_id == accounts[0]:
            switched(tx, flags.RENEWALS, "off")
        return done

    monkeypatch.setattr(renewals, "renew", and_switch_off)
    await swept(db)
    assert await left_of(db, accounts) == [0, PRICE, PRICE]
    assert queue.tasks
