"""Nodes that time out together, and a process whose clock is wrong: nothing piles up, and Postgres alone says what time it is."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from functions.sweeps import sweep_activation, sweep_expiry
from lib import bootstrap
from lib.nodes.transport import NodeError
from tests.integration.by_the_owner import travel
from tests.integration.sweeps.grants import know_nodes, start_trial, start_trials
from tests.integration.sweeps.nodes import Network
from tests.integration.sweeps.runs import sweep_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Database, Transaction

_ATTEMPTS = 3
_TRIAL = timedelta(hours=72)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    async def no_pause(_seconds: float) -> None:
        """At once."""

    monkeypatch.setenv("XRAY_API_KEY", "k")
    monkeypatch.setattr("lib.nodes.client.sleep", no_pause)
    made = Network(4)
    monkeypatch.setattr(bootstrap, "node_transport", lambda: made)
    return made


class _TimeOut:
    """Nodes that answer none before all of them were asked, and then never do."""

    def __init__(self, network: Network, *numbers: int) -> None:
        self._waiting: set[int] = set()
        self._all = asyncio.Event()
        self._numbers = numbers
        for number in numbers:
            network[number].before_answer = lambda number=number: self._ask(number)

    async def _ask(self, number: int) -> None:
        self._waiting.add(number)
        if len(self._waiting) == len(self._numbers):
            self._all.set()
        await self._all.wait()
        raise NodeError("TimeoutError", temporary=True)


def _applied(tx: Transaction) -> dict[int, int]:
    rows = tx._run(
        "select node_id, count(*) from node_clients where wanted and applied_version = version group by 1", {}
    )
    return {int(node): int(count) for node, count in rows[1]}


@pytest.mark.proves("S2-6c")
@pytest.mark.usefixtures("queue")
async def test_nodes_that_time_out_together_are_waited_for_at_once_and_asked_ever_more_rarely(
    processes: Callable[..., list[Database]], network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of four: the fourth has everything after the first pass, no pass waits for one after the other, and none is hammered."""
    monkeypatch.setattr(bootstrap, "node_transport", lambda: network)  # the fixture `queue` has another
    (db,) = processes(1)
    await db.run(know_nodes, 4)
    _TimeOut(network, 1, 2, 3)
    await db.run(start_trials, 1, 12)
    passes = 6
    for number in range(passes):
        run = sweep_run(db, "activation")
        await asyncio.wait_for(sweep_activation._work(run), 30)  # for ever, were they waited for in turn
        assert len(network[4].present) == 12, number
        await db.run(travel, timedelta(minutes=1))
    assert [network[node].calls <= _ATTEMPTS * passes for node in (1, 2, 3)] == [True] * 3
    assert await db.run(_applied) == {4: 12}
    for node in (1, 2, 3):
        network[node].before_answer = None
    for _ in range(2):
        await db.run(travel, timedelta(minutes=10))
        await sweep_activation._work(sweep_run(db, "activation"))
    assert await db.run(_applied) == dict.fromkeys((1, 2, 3, 4), 12)


@pytest.mark.proves("S2-6g")
@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize("skew_s", [-300.0, 300.0], ids=["behind", "ahead"])
async def test_a_process_whose_clock_is_five_minutes_off_ends_access_by_the_databases(
    processes: Callable[..., list[Database]], skew_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    (db,) = processes(1)
    await db.run(know_nodes, 2)
    await db.run(lambda tx: start_trial(tx, 1))
    await db.run(travel, timedelta(minutes=2))
    await db.run(lambda tx: start_trial(tx, 2))
    await db.run(travel, _TRIAL - timedelta(minutes=1))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + skew_s)
    await sweep_expiry._work(sweep_run(db, "expiry"))
    ended = await db.run(
        lambda tx: tx.values(
            "select a.telegram_id from subscriptions s join accounts a on a.id = s.account_id where s.status = 'expired'"
        )
    )
    assert ended == [1], "a minute over; the other one has a minute left"
