"""`sweep_reconcile`: nodes against Postgres, both ways, and each of its limits (S3-Recon, S3-HR-1, S4-8, S4-12)."""

from __future__ import annotations

import asyncio
import tomllib
import tracemalloc
import uuid
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pg8000.native
import pytest

from functions.sweeps import sweep_activation, sweep_expiry, sweep_reconcile
from infra.nodes import comparison
from infra.nodes.arguments import Arguments
from lib import bootstrap, log
from lib.db.address import DatabaseAddress
from lib.db.invariants import violations
from lib.domain import flags, provisioning, reconcile_nodes, subscriptions
from lib.domain.nodes import Given
from lib.nodes import client as node_client
from lib.nodes import reconciling
from lib.nodes.transport import NodeError
from lib.sweeps import runner
from tests.integration.by_the_owner import by_the_owner, travel
from tests.integration.sweeps.grants import know_nodes, meet, start_trials
from tests.integration.sweeps.nodes import Network, RememberingNode
from tests.integration.sweeps.run_and_die import dies
from tests.integration.sweeps.runs import Queue, sweep_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from infra.environment import Environment
    from lib.db import Database, Transaction
    from lib.sweeps.runner import Run

_LIST = Path(__file__).resolve().parents[3] / "docs" / "acceptance.toml"
_GRACE = timedelta(seconds=reconcile_nodes.GRACE_S)
_SECOND = timedelta(seconds=1)
_NO_SUCH = 700_000
"""Ids from here on are of no subscription."""
_KNOWN = "select client from orphan_clients where node_id = :node order by client"


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """Two nodes, and no pause between the attempts of a call."""

    async def no_pause(_seconds: float) -> None:
        """At once."""

    monkeypatch.setenv("XRAY_API_KEY", "k")
    monkeypatch.setattr(node_client, "sleep", no_pause)
    made = Network(2)
    monkeypatch.setattr(bootstrap, "node_transport", lambda: made)
    return made


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Log lines at levels WARNING and ERROR."""
    found: list[tuple[str, dict[str, Any]]] = []
    for level in ("warning", "error"):
        monkeypatch.setattr(log, level, lambda event, **fields: found.append((event, fields)))
    return found


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> Queue:
    made = Queue()
    monkeypatch.setattr(bootstrap, "task_queue", lambda: made)
    monkeypatch.setattr(bootstrap, "budgeted_queue", lambda: made)
    return made


@pytest.fixture
async def shop(processes: Callable[[int], list[Database]], network: Network, tasks: Queue) -> Database:
    """Two nodes, and six customers applied on both."""
    assert tasks.tasks == {}
    (db,) = processes(1)
    await db.run(know_nodes, 2)
    assert await db.run(start_trials, 1, 6) == 6
    await activate(db)
    assert len(network[1].present) == len(network[2].present) == 6
    return db


async def activate(db: Database) -> None:
    await sweep_activation._work(sweep_run(db, "activation"))


async def reconcile(db: Database, *, after: timedelta = timedelta(0)) -> Run:
    """A run, once so much time has passed."""
    await db.run(travel, after)
    run = sweep_run(db, "reconcile")
    await sweep_reconcile._work(run)
    return run


def plant(node: RememberingNode, clients: Sequence[int], version: int = 3) -> None:
    """Clients that Postgres has no row for."""
    for client in clients:
        node.held[str(client)] = (version, str(uuid.uuid4()))


def forget_row(tx: Transaction, node_id: int, subscription_id: int) -> None:
    """As when the database is restored to a moment before it."""
    tx.execute("delete from node_clients where node_id = :n and subscription_id = :s", n=node_id, s=subscription_id)


def want(tx: Transaction, node_id: int, subscription_id: int, *, wanted: bool) -> None:
    tx.execute(
        "update node_clients set wanted = :w where node_id = :n and subscription_id = :s",
        w=wanted,
        n=node_id,
        s=subscription_id,
    )


def give_days(tx: Transaction, telegram_id: int) -> None:
    account = meet(tx, telegram_id)
    subscriptions.grant(tx, account, tariff="basic", seconds=864_000, source="admin", actor_id=1)


async def known(db: Database, node: int) -> list[int]:
    return await db.run(lambda tx: tx.values(_KNOWN, node=node))


async def subscription_ids(db: Database) -> list[int]:
    return await db.run(lambda tx: tx.values("select id from subscriptions order by id"))


@pytest.mark.proves("S3-Recon")
async def test_nothing_is_written_nor_removed_where_both_agree(
    shop: Database, network: Network, told: list[tuple[str, dict[str, Any]]]
) -> None:
    before = await shop.run(lambda tx: tx.values("select cast(c as text) from node_clients c order by 1"))
    asked = dict(network[1].asked)
    run = await reconcile(shop, after=timedelta(hours=1))
    assert (run.claimed, run.done, run.failed, run.broken) == (12, 12, 0, 0)
    assert await shop.run(lambda tx: tx.values("select cast(c as text) from node_clients c order by 1")) == before
    assert dict(network[1].asked) == asked
    assert told == []


@pytest.mark.proves("S3-Recon.grace")
@pytest.mark.proves("S4-8")
@pytest.mark.parametrize("kind", ["never was", "lost its row", "ended"])
async def test_an_orphan_goes_once_it_is_past_its_grace_and_no_one_else(
    shop: Database, network: Network, kind: str
) -> None:
    """One that Postgres never knew, one of access that runs, and one of access that ended."""
    first, *others = await subscription_ids(shop)
    orphan = first
    if kind == "never was":
        orphan = _NO_SUCH
        plant(network[1], [orphan])
    elif kind == "lost its row":
        # such as on a node that takes no new clients: nothing asks for a row of it
        await shop.run(lambda tx: tx.execute("update nodes set state = 'draining' where id = 1"))
        await shop.run(forget_row, 1, first)
    else:
        await shop.run(travel, timedelta(hours=72))
        await sweep_expiry._work(sweep_run(shop, "expiry"))
        others = []
        plant(network[1], [orphan], version=1)
    await reconcile(shop)
    assert await known(shop, 1) == [orphan]
    await reconcile(shop, after=_GRACE - _SECOND)
    assert str(orphan) in network[1].present
    run = await reconcile(shop, after=_SECOND)
    assert str(orphan) not in network[1].present
    assert run.failed == 0
    rest = {str(one) for one in others} | ({str(first)} if kind == "never was" else set())
    assert set(network[1].present) == rest
    assert await known(shop, 1) == []
    # a removal has a version of its own: what was added before it, and comes late, is refused
    version, secret = network[1].held[str(orphan)]
    assert (version > 3 or kind != "never was", secret) == (True, None)
    counted = await shop.run(lambda tx: tx.value("select version from subscriptions where id = :id", id=orphan))
    assert counted is None or counted >= version


@pytest.mark.proves("S3-Recon.grace")
async def test_the_grace_begins_again_when_the_client_was_put_there_anew(shop: Database, network: Network) -> None:
    plant(network[1], [_NO_SUCH], version=3)
    await reconcile(shop)
    plant(network[1], [_NO_SUCH], version=4)
    await reconcile(shop, after=_GRACE)
    assert str(_NO_SUCH) in network[1].present
    await reconcile(shop, after=_GRACE)
    assert str(_NO_SUCH) not in network[1].present


@pytest.mark.proves("S3-Recon")
async def test_what_left_by_itself_is_forgotten(shop: Database, network: Network) -> None:
    plant(network[1], [_NO_SUCH, _NO_SUCH + 1])
    await reconcile(shop)
    del network[1].held[str(_NO_SUCH)]
    await reconcile(shop)
    assert await known(shop, 1) == [_NO_SUCH + 1]
    assert await known(shop, 2) == []


@pytest.mark.proves("S3-Recon.limit")
async def test_no_more_than_a_hundred_go_in_a_run_and_no_node_waits_for_another(
    shop: Database, network: Network, told: list[tuple[str, dict[str, Any]]]
) -> None:
    most = reconcile_nodes.MOST_REMOVALS
    assert most == 100
    plant(network[1], range(_NO_SUCH, _NO_SUCH + most + 80))
    plant(network[2], range(_NO_SUCH, _NO_SUCH + 10))
    await reconcile(shop)
    assert [fields for event, fields in told if event == "reconcile_orphan_clients"] == [
        {"count": most + 90, "most": most}
    ]
    gone = []
    for _ in range(3):
        before = len(network[1].present) + len(network[2].present)
        await reconcile(shop, after=_GRACE)
        gone.append(before - len(network[1].present) - len(network[2].present))
        assert len(network[2].present) == 6, "the few of one node wait behind the many of another"
    assert gone == [most, 90, 0]
    assert await shop.run(reconcile_nodes.orphan_count) == 0


@pytest.mark.proves("S3-Recon.limit")
async def test_a_tick_that_is_handed_on_removes_once(
    shop: Database, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that takes longer than a run goes on where it stopped, and the run that reaches its end removes."""
    monkeypatch.setattr(reconciling, "PAGE", 2)
    plant(network[1], range(_NO_SUCH, _NO_SUCH + 130))
    await reconcile(shop)
    await shop.run(travel, _GRACE)
    cursors: dict[str, int] = {}
    runs = 0
    more = True
    while more:
        run = sweep_run(shop, "reconcile")
        run.cursors = dict(cursors)
        pages = 0

        async def next_page(run: Run = run) -> bool:
            nonlocal pages
            pages += 1
            run.more = run.more or pages > 20
            return not run.more

        monkeypatch.setattr(type(run), "next_page", lambda _run, ask=next_page: ask())
        before = len(network[1].present)
        await sweep_reconcile._work(run)
        runs, cursors, more = runs + 1, run.cursors, run.more
        assert before - len(network[1].present) == (0 if more else 100)
        assert runs < 50
    assert runs > 3
    assert cursors.keys() == {"node 1", "node 1 ended", "node 2", "node 2 ended"}


@pytest.mark.proves("S3-Recon.re-check")
async def test_the_live_re_check_spares_whom_a_grant_has_reached(shop: Database, network: Network) -> None:
    """Noted as an orphan and past its grace; at the moment of the call it has its row again."""
    first, *_ = await subscription_ids(shop)
    await shop.run(lambda tx: tx.execute("update nodes set state = 'draining' where id = 1"))
    await shop.run(forget_row, 1, first)
    await reconcile(shop)
    await shop.run(travel, _GRACE)
    ripe = await shop.run(reconcile_nodes.ripe, [1, 2])
    assert ripe == {1: [first]}
    await shop.run(lambda tx: tx.execute("update nodes set state = 'active' where id = 1"))
    await shop.run(provisioning.place, subscription_id=None, page=10)
    assert await shop.run(reconcile_nodes.claim, 1, [first], uuid.uuid4()) == []
    await activate(shop)
    run = await reconcile(shop)
    assert (run.failed, len(network[1].present)) == (0, 6)
    assert await known(shop, 1) == []


@pytest.mark.proves("S3-7.reconcile-activation")
@pytest.mark.parametrize("order", ["removal first", "activation first"])
async def test_a_client_that_is_wanted_between_the_re_check_and_the_call_is_let_in_whichever_comes_first(
    shop: Database, network: Network, order: str
) -> None:
    first, *_ = await subscription_ids(shop)
    await shop.run(lambda tx: tx.execute("update nodes set state = 'draining' where id = 1"))
    await shop.run(forget_row, 1, first)
    await reconcile(shop)
    await shop.run(travel, _GRACE)
    removals = await shop.run(reconcile_nodes.claim, 1, [first], uuid.uuid4())
    assert [work.subscription_id for work in removals] == [first]
    node = next(one for one in await shop.run(provisioning.nodes) if one.id == 1)
    caller = node_client.NodeClient(network, node, ("k",))

    async def remove() -> None:
        said = await caller.apply(removals)
        await shop.run(reconcile_nodes.record_removals, 1, said.answers)

    async def want() -> None:
        await shop.run(lambda tx: tx.execute("update nodes set state = 'active' where id = 1"))
        await activate(shop)

    for step in (remove, want) if order == "removal first" else (want, remove):
        await step()
    assert str(first) in network[1].present
    await activate(shop)
    await reconcile(shop, after=_GRACE)
    assert str(first) in network[1].present
    assert await known(shop, 1) == []


@pytest.mark.proves("S3-Recon.re-check")
async def test_a_subscription_that_is_being_changed_is_not_judged(
    shop: Database, network: Network, processes: Callable[[int], list[Database]]
) -> None:
    """Its lock is another transaction's: the run passes it over and waits for nothing."""
    first, *_ = await subscription_ids(shop)
    (other,) = processes(1)
    await shop.run(lambda tx: tx.execute("update nodes set state = 'draining' where id = 1"))
    await shop.run(forget_row, 1, first)
    await reconcile(shop)
    await shop.run(travel, _GRACE)
    held, done = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(tx: Transaction) -> None:
        tx.value("select id from subscriptions where id = :id for no key update", id=first)
        loop.call_soon_threadsafe(held.set)
        asyncio.run_coroutine_threadsafe(done.wait(), loop).result()

    holding = asyncio.create_task(other.run(hold))
    await held.wait()
    run = await reconcile(shop)
    assert run.failed == 0
    assert str(first) in network[1].present
    done.set()
    await holding
    await reconcile(shop)
    assert str(first) not in network[1].present


@pytest.mark.proves("S3-Recon.re-adds")
@pytest.mark.parametrize("differs", ["absent", "another UUID", "older version", "newer version"])
async def test_what_a_node_does_not_hold_as_it_confirmed_is_applied_anew(
    shop: Database, network: Network, told: list[tuple[str, dict[str, Any]]], differs: str
) -> None:
    first, *_ = await subscription_ids(shop)
    await shop.run(give_days, 1)
    await activate(shop)
    version, secret = network[1].held[str(first)]
    assert version > 1
    held = {
        "absent": None,
        "another UUID": (version, str(uuid.uuid4())),
        "older version": (version - 1, secret),
        "newer version": (version + 5, str(uuid.uuid4())),
    }[differs]
    if held is None:
        del network[1].held[str(first)]
    else:
        network[1].held[str(first)] = held
    run = await reconcile(shop, after=_SECOND)
    assert (run.failed, run.broken) == (0, 0)
    assert ("reconcile_taken_back", {"node": "n1", "count": 1}) in told
    for _ in range(2):
        await activate(shop)
    assert network[1].present[str(first)] == secret
    told.clear()
    await reconcile(shop, after=_SECOND)
    assert told == []


@pytest.mark.proves("S3-Recon.re-adds")
async def test_what_was_confirmed_after_the_list_was_asked_for_is_not_judged_by_it(shop: Database) -> None:
    """The page was made before the client came: it proves nothing."""
    (node, *_) = await shop.run(reconcile_nodes.may_be_listed)
    await shop.run(travel, _SECOND)
    assert await shop.run(start_trials, 50, 1) == 1
    await activate(shop)
    stretch = reconcile_nodes.Stretch(1, "", None, ())
    taken = await shop.run(reconcile_nodes.take_back, stretch, node.asked_at, 100)
    assert (taken.looked, taken.taken) == (7, 6)


@pytest.mark.proves("S3-Recon.re-adds")
async def test_a_node_that_holds_nothing_is_worked_through_page_by_page(
    shop: Database, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciling, "_ROWS", 2)
    network[1].held.clear()
    await reconcile(shop, after=_SECOND)
    left = "select node_id from node_clients where applied_version is null"
    assert await shop.run(lambda tx: tx.values(left)) == [1] * 6
    await activate(shop)
    assert len(network[1].present) == 6


@pytest.mark.proves("S3-Recon")
async def test_names_that_are_not_atlas_s_are_told_and_stay(
    shop: Database, network: Network, told: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciling, "PAGE", 2)
    for name in ("tg7", "a-tool", "-1", "007"):
        network[1].held[name] = (1, str(uuid.uuid4()))
    for _ in range(3):
        run = await reconcile(shop, after=_GRACE)
        assert (run.failed, run.broken) == (0, 0)
    assert ("reconcile_found_others", {"node": "n1", "count": 4}) in told
    assert len(network[1].present) == 10


@pytest.mark.proves("S3-Recon.breaker")
async def test_the_third_failure_in_a_row_opens_a_breaker_of_its_own_for_ten_minutes(
    shop: Database, network: Network, told: list[tuple[str, dict[str, Any]]]
) -> None:
    """And no other breaker: the node goes on taking grants, whatever becomes of its lists."""
    node = network[1]
    apply = node._apply

    async def slow_to_list() -> None:
        raise NodeError("TimeoutError", temporary=True)

    calls = []
    for number in range(4):
        node.before_answer, before = slow_to_list, node.calls
        run = await reconcile(shop)
        calls.append(node.calls - before)
        node.before_answer = None
        assert run.failed == (1 if number < 3 else 0)
    assert calls == [node_client.ATTEMPTS] * 3 + [0]
    assert [event for event, _ in told].count("reconcile_breaker_open") == 1
    assert apply is not None
    assert await shop.run(start_trials, 60, 1) == 1
    await activate(shop)
    assert len(node.present) == 7
    shut = "select count(*) from nodes where open_until is not null or failures > 0 or lost_since is not null"
    assert await shop.run(lambda tx: tx.value(shut)) == 0
    before = node.calls
    await reconcile(shop, after=timedelta(seconds=reconcile_nodes.OPEN_S) - _SECOND)
    assert node.calls == before
    node.before_answer = slow_to_list
    await reconcile(shop, after=_SECOND)  # one failure more, and it is open again at once
    node.before_answer, before = None, node.calls
    await reconcile(shop)
    assert node.calls == before
    run = await reconcile(shop, after=timedelta(seconds=reconcile_nodes.OPEN_S))
    assert (run.failed, node.calls > before) == (0, True)
    state = "select reconcile_failures, reconcile_open_until from nodes where id = 1"
    assert await shop.run(lambda tx: tx.values(state)) == [0]


@pytest.mark.proves("S3-HR-1")
async def test_a_removal_that_fails_is_tried_again_and_keeps_no_other_from_its_turn(
    shop: Database, network: Network
) -> None:
    plant(network[1], range(_NO_SUCH, _NO_SUCH + 150))
    await reconcile(shop)
    network[1].refusing = {str(client) for client in range(_NO_SUCH, _NO_SUCH + 100)}
    run = await reconcile(shop, after=_GRACE)
    assert (run.failed, len(network[1].present)) == (100, 156)
    run = await reconcile(shop, after=_SECOND)
    assert (run.failed, len(network[1].present)) == (0, 106)
    network[1].refusing = set()
    run = await reconcile(shop, after=timedelta(seconds=reconcile_nodes.RETRY_S))
    assert (run.failed, len(network[1].present)) == (0, 6)


@pytest.mark.proves("S3-HR-1")
@pytest.mark.proves("S3-7.removal-network-failure")
@pytest.mark.parametrize("lost", ["call", "answer"])
async def test_a_removal_whose_outcome_is_unknown_is_made_again_by_the_next_run(
    shop: Database, network: Network, lost: str
) -> None:
    plant(network[1], [_NO_SUCH])
    await reconcile(shop)
    send = network[1].send
    asked: list[bytes | None] = []

    async def breaks(url: str, body: bytes | None, headers: Any, _pins: Any) -> tuple[int, bytes]:
        asked.append(body)
        if body is not None:
            if lost == "answer":
                await send(url, body, headers, _pins)
            raise NodeError("ClientOSError", temporary=True)
        return await send(url, body, headers, _pins)

    network[1].send = breaks  # type: ignore[method-assign] # this node's alone
    run = await reconcile(shop, after=_GRACE)
    assert run.failed == 2  # the removal, and the call
    assert (str(_NO_SUCH) in network[1].present) == (lost == "call")
    network[1].send = send  # type: ignore[method-assign] # as before
    await reconcile(shop, after=timedelta(seconds=provisioning.LEASE_S))
    assert str(_NO_SUCH) not in network[1].present
    assert await known(shop, 1) == []


@pytest.mark.proves("S3-Recon")
@pytest.mark.parametrize(
    "body",
    [
        b'{"users": [{"client": "2", "version": 1, "uuid": "x"}], "next": null}',
        b'{"users": [{"client": "2"}], "next": null}',
        b'{"users": ["2"], "next": null}',
        b'{"users": [], "next": "5"}',
        b'{"users": {}, "next": null}',
        b'{"users": [{"client": "tg2"}, {"client": "tg1"}], "next": null}',
        b'{"users": [{"client": "tg2"}], "next": "tg1"}',
        b'{"users": [{"client": "A"}], "next": null}',
    ],
)
async def test_a_list_that_can_not_be_right_proves_nothing(shop: Database, network: Network, body: bytes) -> None:
    network[1].nonsense = 200, body
    run = await reconcile(shop, after=_SECOND)
    assert (run.failed, run.broken) == (1, 0)
    network[1].nonsense = None
    confirmed = "select count(*) from node_clients where applied_version = version"
    assert await shop.run(lambda tx: tx.value(confirmed)) == 12
    assert await known(shop, 1) == []


@pytest.mark.proves("S3-Recon.breaker")
async def test_a_node_that_is_lost_or_retired_or_whose_breaker_is_open_is_not_listed(
    shop: Database, network: Network
) -> None:
    for change in (
        "state = 'retired'",
        "lost_since = atlas.now()",
        "open_until = atlas.now() - interval '1 minute', open_since = atlas.now()",
    ):
        await shop.run(by_the_owner, f"update nodes set {change} where id = 2")  # noqa: S608 -- a literal of above
        calls = network[2].calls
        run = await reconcile(shop)
        assert (network[2].calls, run.failed, run.claimed) == (calls, 0, 6)
        await shop.run(
            by_the_owner,
            "update nodes set state = 'active', lost_since = null, open_until = null, open_since = null where id = 2",
        )


@pytest.mark.proves("S3-Recon.breaker")
async def test_a_bad_node_keeps_no_other_from_being_compared(shop: Database, network: Network) -> None:
    network[1].failing = ValueError("whatever")
    plant(network[2], [_NO_SUCH])
    await reconcile(shop)
    run = await reconcile(shop, after=_GRACE)
    assert (run.failed, run.broken) == (1, 0)
    assert len(network[2].present) == 6


@pytest.mark.proves("S3-Recon.flag")
async def test_its_flag_switches_it(
    shop: Database, network: Network, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setattr(bootstrap, "database", lambda: shop)
    await shop.run(lambda tx: tx.execute("insert into flags (name, enabled) values ('sweep.reconcile', false)"))
    assert not await shop.run(flags.enabled, "sweep.reconcile")
    calls = network[1].calls
    answer = await runner._exclusive("reconcile", runner.Tick("t"), sweep_reconcile._work, None)
    assert b"disabled" in answer.body
    assert network[1].calls == calls
    await shop.run(lambda tx: tx.execute("delete from flags"))
    await runner._exclusive("reconcile", runner.Tick("t"), sweep_reconcile._work, None)
    assert network[1].calls > calls


@pytest.mark.proves("S4-12.reconcile-expiry")
async def test_reconciliation_and_expiry_at_once_remove_each_client_once_and_lose_none(
    processes: Callable[[int], list[Database]], network: Network, tasks: Queue
) -> None:
    four = processes(4)
    await four[0].run(know_nodes, 2)
    assert await four[0].run(start_trials, 1, 30) == 30
    await activate(four[0])
    ids = await subscription_ids(four[0])
    plant(network[1], range(_NO_SUCH, _NO_SUCH + 20))
    for subscription_id in ids[:5]:  # held without a row, and about to end
        await four[0].run(forget_row, 2, subscription_id)
    await four[0].run(by_the_owner, "update nodes set state = 'draining' where id = 2")
    await reconcile(four[0])
    await four[0].run(travel, timedelta(hours=72))
    await asyncio.gather(
        *(reconcile(db) for db in four),
        *(sweep_expiry._work(sweep_run(db, "expiry")) for db in four),
    )
    assert max(count for (_, _, wanted), count in network[1].asked.items() if not wanted) == 1
    await four[0].run(travel, timedelta(seconds=400))
    await sweep_expiry._work(sweep_run(four[0], "expiry"))
    await reconcile(four[0])
    assert network[1].present == network[2].present == {}
    assert await four[0].run(lambda tx: tx.value("select count(*) from node_clients")) == 0
    assert len({task.name for task in tasks.tasks.values()}) == len(tasks.tasks)


@pytest.mark.proves("S4-8")
async def test_the_end_of_a_trial_removes_no_paid_access_from_any_node_and_forgets_nothing(
    shop: Database, network: Network
) -> None:
    """One renewed, one returned under a new UUID, the others ended: after both sweeps nodes hold those two, and no one else."""
    first, second, *_ = await subscription_ids(shop)

    await shop.run(give_days, 1)
    await shop.run(travel, timedelta(hours=72))
    await sweep_expiry._work(sweep_run(shop, "expiry"))
    await shop.run(give_days, 2)
    for _ in range(2):
        await reconcile(shop, after=_GRACE)
        await activate(shop)
    for node in (1, 2):
        assert set(network[node].present) == {str(first), str(second)}
    rows = "select node_id, count(*) from node_clients group by node_id having count(*) <> 2"
    assert await shop.run(lambda tx: tx.values(rows)) == []


@pytest.mark.proves("S3-7.orphan-clients")
@pytest.mark.parametrize("count", [300, pytest.param(5000, marks=pytest.mark.full)])
async def test_thousands_of_them_go_a_hundred_a_run(
    shop: Database, network: Network, told: list[tuple[str, dict[str, Any]]], count: int
) -> None:
    """The first run sees them; from then on each removes a hundred, and no customer's client is touched."""
    plant(network[1], range(_NO_SUCH, _NO_SUCH + count))
    asked = dict(network[1].asked)
    await reconcile(shop)
    runs = 0
    while await known(shop, 1):
        await reconcile(shop, after=timedelta(minutes=10))
        runs += 1
        assert len(network[1].present) == 6 + count - 100 * runs
    assert runs == count // 100
    assert [event for event, _ in told].count("reconcile_orphan_clients") == runs
    assert {key: times for key, times in network[1].asked.items() if int(key[0]) < _NO_SUCH} == asked


@pytest.mark.proves("S3-Recon")
async def test_memory_does_not_grow_with_what_a_node_holds(
    shop: Database, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciling, "PAGE", 100)

    async def peak(count: int) -> int:
        plant(network[1], range(_NO_SUCH, _NO_SUCH + count))
        tracemalloc.start()
        try:
            await reconcile(shop)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    await peak(200)
    few = await peak(400)
    assert await peak(4000) < 2 * few


@pytest.mark.proves("S3-Recon.re-check")
async def test_claimed_by_one_run_an_orphan_is_no_other_s_until_the_lease_ends(
    shop: Database, network: Network
) -> None:
    plant(network[1], [_NO_SUCH])
    await reconcile(shop)
    await shop.run(travel, _GRACE)
    (work,) = await shop.run(reconcile_nodes.claim, 1, [_NO_SUCH], uuid.uuid4())
    assert await shop.run(reconcile_nodes.claim, 1, [_NO_SUCH], uuid.uuid4()) == []
    assert await shop.run(reconcile_nodes.ripe, [1, 2]) == {}
    await shop.run(travel, timedelta(seconds=provisioning.LEASE_S))
    (again,) = await shop.run(reconcile_nodes.claim, 1, [_NO_SUCH], uuid.uuid4())
    assert (again.version, again.wanted) == (work.version, False)


class _AnEnvironment:
    """What `make node-compare` is given: a session in this database, and the nodes' key."""

    def __init__(self, url: str) -> None:
        self._url = url

    def connect(self, role: str) -> pg8000.native.Connection:
        assert role == "readonly"
        session = pg8000.native.Connection(**DatabaseAddress.parse(self._url).driver_arguments())
        session.run("set search_path = atlas, pg_catalog; set default_transaction_read_only = on")
        return session

    def secret(self, name: str) -> str:
        return f"of-{name}"


@pytest.mark.proves("S3-Recon.dry-run")
@pytest.mark.breaks_invariants
async def test_the_dry_run_tells_what_the_sweep_would_do_and_changes_nothing(
    shop: Database,
    network: Network,
    *,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(comparison, "PAGE", 2)
    monkeypatch.setattr(comparison, "AiohttpTransport", lambda: network)
    environment = cast("Environment", _AnEnvironment(database_url))

    async def compare(name: str | None = None) -> tuple[int, str, str]:
        node = Given(name) if name else None
        code = await asyncio.to_thread(comparison.compare, environment, Arguments("local", node, update=False))
        said = capsys.readouterr()
        return code, said.out, said.err

    assert await compare() == (
        0,
        "n1: holds 6 clients; all as Postgres has it\nn2: holds 6 clients; all as Postgres has it\n",
        "",
    )
    first, second, third, fourth, *_ = await subscription_ids(shop)
    await reconcile(shop)
    plant(network[1], [_NO_SUCH])
    network[1].held["tg7"] = (1, str(uuid.uuid4()))
    del network[1].held[str(first)]
    network[1].held[str(second)] = (1, str(uuid.uuid4()))
    await shop.run(forget_row, 1, third)
    await shop.run(want, 1, fourth, wanted=False)
    await shop.run(travel, _SECOND)
    before = await shop.run(lambda tx: tx.values("select cast(c as text) from node_clients c order by 1"))
    held = dict(network[1].held)
    code, out, err = await compare("n1")
    assert (code, err) == (1, "")
    for line in (
        f"n1: subscription {_NO_SUCH} (no such subscription; version 3 there, - here) has no row, not seen by the sweep yet: would be removed after 120 s",
        "n1: tg7 is no name of Atlas's: would be let alone",
        "is not there as it was confirmed: would be applied anew",
        "is there under another version or UUID: would be applied anew",
        f"n1: subscription {third} (account",
        "is to go, which sweep_expiry sees to",
        "n1: holds 7 clients; 1 absent, 1 leaving, 2 orphan, 1 other, 1 others",
    ):
        assert line in out
    assert not any(secret in out for secret in network[1].present.values())
    assert (network[1].held, await known(shop, 1)) == (held, [])
    assert await shop.run(lambda tx: tx.values("select cast(c as text) from node_clients c order by 1")) == before
    network[2].failing = NodeError("TimeoutError", temporary=True)
    code, out, err = await compare("n2")
    assert (code, out, err) == (1, "", "n2: could not be listed: TimeoutError\n")
    assert (await compare("n3"))[0] == 1
    await shop.run(want, 1, fourth, wanted=True)
    network[2].failing = None
    await reconcile(shop)
    await activate(shop)


# S4-13 ---------------------------------------------------------------------------------------------------------------

# Where the run dies, and whether the node holds the client still.
_PLACES = {
    "before-claim": ("reconcile.before-claim", True),
    "after-claim": ("reconcile.after-claim", True),
    "after-call": ("reconcile.after-call", False),
    "mid-transaction": ("reconcile.mid-transaction", False),
    "in-commit": ("record_removals.in-commit", False),
}


def test_the_cells_are_the_acceptance_list() -> None:
    listed = tomllib.loads(_LIST.read_text())
    assert {f"S4-13.reconcile.{point}" for point in _PLACES} == {
        one for one in listed["life"] if one.startswith("S4-13.reconcile.")
    }
    assert "S4-13.reconcile.after-commit" in listed["not_applicable"]


@pytest.mark.parametrize(
    ("place", "holds"),
    [
        pytest.param(place, holds, id=point, marks=pytest.mark.proves(f"S4-13.reconcile.{point}"))
        for point, (place, holds) in _PLACES.items()
    ],
)
async def test_a_run_that_is_killed_leaves_its_removal_to_the_next_and_touches_no_customer(
    shop: Database,
    network: Network,
    *,
    functions_url: str,
    database_url: str,
    tmp_path: Path,
    place: str,
    holds: bool,
) -> None:
    customers = dict(network[1].held)
    plant(network[1], [_NO_SUCH])
    await reconcile(shop)
    await shop.run(travel, _GRACE)
    await dies("reconcile", functions_url, network, tmp_path, place)
    assert (str(_NO_SUCH) in network[1].present) is holds
    assert violations(database_url) == []
    run = await reconcile(shop, after=timedelta(seconds=provisioning.LEASE_S))
    assert run.failed == 0
    # the next run removes what is there still, and asks for nothing that its list does not show
    assert sum(network[1].asked[str(_NO_SUCH), version, False] for version in range(10)) == holds
    for node in (1, 2):
        assert network[node].present == {client: held for client, (_, held) in customers.items()}
        assert await known(shop, node) == []
