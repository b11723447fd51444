"""Rows that come while a sweep runs are neither skipped nor looped over (S4-9); a row that fails waits for its own time."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from functions.sweeps import sweep_activation, sweep_expiry, sweep_outbox, sweep_payments
from lib import bootstrap
from lib.db import Transaction
from lib.domain import orders, outbox, subscriptions
from lib.nodes import converge
from lib.payments import cryptopay_news
from lib.payments.provider import Looked, PaidPage
from tests.integration.by_the_owner import travel
from tests.integration.sweeps.grants import know_the_node, meet, open_order, start_trial, start_trials
from tests.integration.sweeps.runs import Queue, sweep_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Database
    from lib.tasks.queue import Task
    from tests.integration.sweeps.nodes import RememberingNode

_PAGE = 5
_FIRST = 3 * _PAGE + 1  # the pages are full, and so is what comes meanwhile
_LATER = 2 * _PAGE


class Newcomers:
    """Adds rows, a few at each call, until so many have come."""

    def __init__(self, db: Database, add: Callable[..., object]) -> None:
        self._db = db
        self._add = add
        self._numbers = itertools.count(1_000)
        self.count = 0

    async def come(self) -> None:
        if self.count < _LATER:
            self.count += 2
            for _ in range(2):
                await self._db.run(self._add, next(self._numbers))


@pytest.mark.proves("S4-9")
async def test_grants_made_while_activation_runs_are_applied_once(
    processes: Callable[[int], list[Database]],
    node: RememberingNode,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    db, other = processes(2)
    monkeypatch.setattr(sweep_activation, "_PAGE", _PAGE)
    monkeypatch.setattr(converge, "BATCH", _PAGE)
    await db.run(know_the_node)
    await db.run(start_trials, 1, _FIRST)
    newcomers = Newcomers(other, start_trial)
    node.before_answer = newcomers.come
    run = sweep_run(db, "activation")
    await sweep_activation._work(run)
    assert newcomers.count == _LATER
    assert (run.claimed, run.done, run.failed, run.more) == (_FIRST + _LATER, _FIRST + _LATER, 0, False)
    assert sorted(node.asked.values()) == [1] * (_FIRST + _LATER)
    assert len([task for task in queue.tasks.values() if task.queue == "messages"]) == _FIRST + _LATER


async def test_what_a_node_confirmed_of_many_is_as_few_statements_as_of_one(
    processes: Callable[[int], list[Database]],
    node: RememberingNode,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A page of keys is queued as a page: the sweep's time is the node's, not that of a statement for each customer."""
    (db,) = processes(1)
    sent: list[str] = []
    run_it = Transaction._run

    def run_seen(tx: Transaction, sql: str, parameters: dict[str, Any]) -> Any:
        sent.append(sql)
        return run_it(tx, sql, parameters)

    monkeypatch.setattr(Transaction, "_run", run_seen)
    await db.run(know_the_node)
    counts = []
    for first, count in ((1, 1), (2, _FIRST - 1)):
        await db.run(start_trials, first, count)
        sent.clear()
        await sweep_activation._work(sweep_run(db, "activation"))
        counts.append(len(sent))
    assert sorted(node.asked.values()) == [1] * _FIRST
    assert len([task for task in queue.tasks.values() if task.queue == "messages"]) == _FIRST
    assert counts[0] == counts[1]


@pytest.mark.proves("S4-9")
async def test_what_a_node_refuses_is_asked_once_and_stops_no_other(
    processes: Callable[[int], list[Database]],
    node: RememberingNode,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (db,) = processes(1)
    monkeypatch.setattr(sweep_activation, "_PAGE", _PAGE)
    monkeypatch.setattr(converge, "BATCH", _PAGE)
    await db.run(know_the_node)
    await db.run(start_trials, 1, _FIRST)
    clients = await db.run(lambda tx: tx.values("select id from subscriptions order by id"))
    node.refusing = {str(client) for client in clients[:_PAGE]}
    run = sweep_run(db, "activation")
    await sweep_activation._work(run)
    assert (run.claimed, run.done, run.failed) == (_FIRST, _FIRST - _PAGE, _PAGE)
    assert sorted(node.asked.values()) == [1] * _FIRST
    assert len(queue.tasks) == _FIRST - _PAGE
    node.refusing = set()
    await db.run(travel, timedelta(seconds=10))
    again = sweep_run(db, "activation")
    await sweep_activation._work(again)
    assert (again.claimed, again.done) == (_PAGE, _PAGE)


@pytest.mark.proves("S4-9")
async def test_access_that_ends_while_expiry_runs_is_ended_once(
    processes: Callable[[int], list[Database]],
    node: RememberingNode,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    db, other = processes(2)
    monkeypatch.setattr(sweep_activation, "_PAGE", 100)
    monkeypatch.setattr(sweep_expiry, "_PAGE", _PAGE)
    monkeypatch.setattr(converge, "BATCH", _PAGE)
    await db.run(know_the_node)
    await db.run(start_trials, 1, _FIRST)
    await sweep_activation._work(sweep_run(db, "activation"))
    await db.run(travel, timedelta(hours=72))
    node.asked.clear()
    queue.tasks.clear()
    expire = subscriptions.expire

    def with_newcomers(tx: Transaction, page: int, correlation_id: str) -> subscriptions.Ended:
        """Each page meets a customer whose access ended since the page before."""
        numbers = tx.value("select count(*) from accounts")
        if numbers < _FIRST + _LATER:
            start_trial(tx, 1_000 + numbers)
            travel(tx, timedelta(hours=72))
        return expire(tx, page, correlation_id)

    monkeypatch.setattr(subscriptions, "expire", with_newcomers)
    run = sweep_run(db, "expiry")
    await sweep_expiry._work(run)
    come = await other.run(lambda tx: tx.value("select count(*) from accounts")) - _FIRST
    assert come > 0
    ended = "select count(*) from subscription_history where event = 'expired'"
    assert await other.run(lambda tx: tx.value(ended)) == _FIRST + come
    assert await other.run(lambda tx: tx.value("select count(*) from node_clients")) == 0
    assert sorted(node.asked.values()) == [1] * (_FIRST + come)
    assert (run.claimed, run.done, run.failed) == (2 * (_FIRST + come), 2 * (_FIRST + come), 0)  # ended, then removed
    assert len(queue.tasks) == _FIRST + come


class Provider:
    """Lists what it is asked about as active, and lets orders come meanwhile."""

    name = cryptopay_news.NAME
    page = _PAGE
    stride = _PAGE
    asks_first = False

    def __init__(self, newcomers: Newcomers) -> None:
        self._newcomers = newcomers
        self.asked: list[str] = []

    async def look(self, invoice_ids: list[str]) -> Looked:
        self.asked += invoice_ids
        await self._newcomers.come()
        return Looked({}, frozenset(), frozenset(invoice_ids), complete=True)

    async def listed(self, start: int) -> PaidPage:
        return PaidPage({}, start + 1)


@pytest.mark.proves("S4-9")
async def test_orders_opened_while_payments_are_asked_about_are_asked_about_once(
    processes: Callable[[int], list[Database]], queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    db, other = processes(2)

    def add(tx: Transaction, number: int) -> None:
        open_order(tx, number, "basic", 30, str(number))

    for number in range(1, _FIRST + 1):
        await db.run(add, number)
    newcomers = Newcomers(other, add)
    provider = Provider(newcomers)
    monkeypatch.setattr(bootstrap, "invoices", lambda: {provider.name: provider})
    run = sweep_run(db, "payments")
    await sweep_payments._work(run)
    assert newcomers.count == _LATER
    assert len(provider.asked) == len(set(provider.asked)) == run.claimed == _FIRST + _LATER
    assert len(await db.run(orders.watched, cryptopay_news.NAME, 0, 1000)) == _FIRST + _LATER
    assert not queue.tasks


@pytest.mark.proves("S4-9")
async def test_work_noted_while_the_outbox_is_swept_is_enqueued_once(
    processes: Callable[[int], list[Database]], queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    db, other = processes(2)
    monkeypatch.setattr(sweep_outbox, "_PAGE", _PAGE)
    monkeypatch.setattr(sweep_outbox, "_FRESH_S", -1.0)

    def add(tx: Transaction, number: int) -> None:
        outbox.add(tx, "nodes", "task_provision", {"subscription_id": meet(tx, number)}, "t")

    for number in range(1, _FIRST + 1):
        await db.run(add, number)
    newcomers = Newcomers(other, add)
    create = queue.create
    made: list[str] = []

    async def create_and_let_come(task: Task) -> bool:
        made.append(task.name)
        await newcomers.come()
        return await create(task)

    monkeypatch.setattr(queue, "create", create_and_let_come)
    run = sweep_run(db, "outbox")
    await sweep_outbox._work(run)
    assert newcomers.count == _LATER
    assert len(made) == len(set(made)) == run.done == _FIRST + _LATER
