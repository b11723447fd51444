"""S4-13 of auto-renewal and of a trial's end: the sweep's whole process is killed at each of their places, and the next run needs no help.

All of it happened or nothing; it happens once, both nodes are as Postgres has it, and the customer is told once.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from functions.sweeps import sweep_activation, sweep_expiry, sweep_outbox, sweep_renewals
from lib import bootstrap
from lib.domain import balance, subscriptions
from lib.domain.ledger import Wallets
from tests.integration.by_the_owner import travel
from tests.integration.domain.test_renewals import NEAR, PRICE, PRICES, subscribed
from tests.integration.sweeps.grants import know_nodes, meet, open_order, pay, start_trial
from tests.integration.sweeps.run_and_die import dies
from tests.integration.sweeps.runs import Queue, sweep_run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lib.db import Database, Transaction
    from tests.integration.sweeps.nodes import Network

_LIST = Path(__file__).resolve().parents[3] / "docs" / "acceptance.toml"
# Where the sweep dies, by its failpoint, and whether it stands then; None: COMMIT was sent, so the server may have it or not.
_RENEWAL: dict[str, tuple[str, bool | None]] = {
    "before-claim": ("renewal.before-claim", False),
    "after-claim": ("renewal.after-claim", False),
    "mid-transaction": ("balance.mid-transaction", False),
    "in-commit": ("renew.in-commit", None),
    "after-commit": ("renewal.after-commit", True),
}
_TRIAL_END: dict[str, tuple[str, bool | None]] = {
    "before-claim": ("expiry.before-claim", False),
    "after-claim": ("expire.after-claim", False),
    "mid-transaction": ("expiry.mid-transaction", False),
    "in-commit": ("expire.in-commit", None),
    "after-commit": ("expiry.after-commit", True),
}
ANNA, BORIS = 1, 2
_HISTORY = """
select event from subscription_history h join subscriptions s on s.id = h.subscription_id
where s.account_id = :account and event <> 'activated' order by h.id
"""
_TOLD = "select kind from messages where account_id = :account and kind not in ('key', 'receipt') order by id"
_OWED = "select id from outbox where target in ('task_notify', 'task_provision') and done_at is null"


def test_the_cells_are_the_acceptance_list() -> None:
    document = tomllib.loads(_LIST.read_text())
    listed = {name for part in ("life", "not_applicable") for name in document[part]}
    for operation, places in (("renewal", _RENEWAL), ("trial-end", _TRIAL_END)):
        cells = {f"S4-13.{operation}.{point}" for point in [*places, "after-call"]}
        assert cells == {name for name in listed if name.startswith(f"S4-13.{operation}.")}


def _cells(operation: str, places: Mapping[str, tuple[str, bool | None]]) -> list[Any]:
    cells = []
    for point, (place, stands) in places.items():
        marks = [pytest.mark.proves(f"S4-13.{operation}.{point}")]
        if point.endswith("-claim"):  # nothing is written yet, and each costs a process
            marks.append(pytest.mark.full)
        cells.append(pytest.param(place, stands, id=point, marks=marks))
    return cells


@dataclass
class Shop:
    """Two nodes; a sweep that is killed there, and those that run afterwards."""

    db: Database
    network: Network
    queue: Queue
    url: str
    folder: Path

    async def dies(self, sweep: str, place: str) -> None:
        await dies(sweep, self.url, self.network, self.folder, place)

    async def goes_on(self) -> None:
        """Some minutes pass, in which every sweep runs as it is scheduled."""
        for _ in range(2):
            await self.db.run(travel, timedelta(seconds=61))
            for name, work in (
                ("expiry", sweep_expiry._work),
                ("renewals", sweep_renewals._work),
                ("activation", sweep_activation._work),
                ("outbox", sweep_outbox._work),
            ):
                run = sweep_run(self.db, name)
                await work(run)
                assert (run.failed, run.broken) == (0, 0)

    async def held(self, person: int) -> subscriptions.Subscription:
        found = await self.db.run(lambda tx: subscriptions.current(tx, meet(tx, person)))
        assert found is not None
        return found

    async def of(self, person: int, statement: str) -> list[str]:
        return await self.db.run(lambda tx: tx.values(statement, account=meet(tx, person)))

    async def each_task_is_made(self) -> None:
        """Of all that is still to be told or applied the queue has a task."""
        owed = await self.db.run(lambda tx: tx.values(_OWED))
        assert owed
        assert set(owed) <= {json.loads(task.body)["outbox_id"] for task in self.queue.tasks.values()}


@pytest.fixture
def shop(
    processes: Callable[[int], list[Database]],
    two_nodes: Network,
    functions_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Shop:
    queue = Queue()
    monkeypatch.setattr(bootstrap, "task_queue", lambda: queue)
    (db,) = processes(1)
    return Shop(db, two_nodes, queue, functions_url, tmp_path)


async def _everywhere(shop: Shop, people: tuple[int, ...]) -> None:
    """Both nodes let in these and no others, each under the UUID and until the end that Postgres has."""
    found = [await shop.held(person) for person in people]
    for number in (1, 2):
        node = shop.network[number]
        assert node.present == {str(one.id): str(one.uuid) for one in found}
        assert node.ends == {str(one.id): int(one.expires_at.timestamp() * 1000) for one in found}


@pytest.mark.parametrize(("place", "stands"), _cells("renewal", _RENEWAL))
async def test_a_renewal(shop: Shop, place: str, *, stands: bool | None) -> None:
    """The end is renewed once, for one price, under the same key; Boris, who has no renewal, is left alone."""

    def open_shop(tx: Transaction) -> None:
        know_nodes(tx, 2)
        subscribed(tx, 2 * PRICE)
        pay(tx, open_order(tx, BORIS, "basic", 30, "boris"))

    await shop.db.run(open_shop)
    await sweep_activation._work(sweep_run(shop.db, "activation"))
    await shop.db.run(travel, NEAR)
    before, boris = await shop.held(ANNA), await shop.held(BORIS)
    await shop.dies("renewals", place)
    renewed = (await shop.held(ANNA)).expires_at != before.expires_at
    assert stands is None or renewed == stands
    left = await shop.db.run(lambda tx: balance.of(tx, meet(tx, ANNA)))
    assert left == Wallets(PRICE if renewed else 2 * PRICE, 0)
    assert await shop.of(ANNA, _HISTORY) == ["granted", "renewed"][: 1 + renewed]
    await shop.goes_on()
    after = await shop.held(ANNA)
    assert (after.uuid, after.expires_at, after.source) == (
        before.uuid,
        before.expires_at + timedelta(days=30),
        "renewal",
    )
    assert await shop.db.run(lambda tx: balance.of(tx, meet(tx, ANNA))) == Wallets(PRICE, 0)
    assert await shop.of(ANNA, _HISTORY) == ["granted", "renewed"]
    assert (await shop.held(BORIS)).expires_at == boris.expires_at
    await _everywhere(shop, (ANNA, BORIS))
    await shop.each_task_is_made()


@pytest.mark.parametrize(("place", "stands"), _cells("trial-end", _TRIAL_END))
async def test_the_end_of_a_trial(shop: Shop, place: str, *, stands: bool | None) -> None:
    """The trial ends once, is told once and leaves no node; Boris, whose trial was followed by a month, keeps access."""

    def open_shop(tx: Transaction) -> None:
        know_nodes(tx, 2)
        start_trial(tx, ANNA)
        start_trial(tx, BORIS)
        pay(tx, open_order(tx, BORIS, "basic", 30, "boris"))

    await shop.db.run(open_shop)
    await sweep_activation._work(sweep_run(shop.db, "activation"))
    await shop.db.run(travel, timedelta(hours=PRICES.trial.hours, seconds=1))
    await shop.dies("expiry", place)
    ended = (await shop.held(ANNA)).status == "expired"
    assert stands is None or ended == stands
    assert await shop.of(ANNA, _HISTORY) == ["granted", "expired"][: 1 + ended]
    assert await shop.of(ANNA, _TOLD) == ["expired"][:ended]
    await shop.goes_on()
    assert ((after := await shop.held(ANNA)).status, after.uuid) == ("expired", None)
    assert await shop.of(ANNA, _HISTORY) == ["granted", "expired"]
    assert await shop.of(ANNA, _TOLD) == ["expired"]
    await _everywhere(shop, (BORIS,))
    await shop.each_task_is_made()
