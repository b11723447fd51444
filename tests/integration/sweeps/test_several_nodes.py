"""Two and three nodes: what each is to hold, and that none waits for, stops or rewrites another (G-2, G-4, G-13, G-17)."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.sweeps import sweep_activation, sweep_expiry
from functions.tasks import task_provision
from lib import bootstrap, log
from lib.domain import health_snapshot, outbox, provisioning, subscriptions
from lib.nodes.converge import Nodes
from lib.nodes.transport import NodeError
from tests.integration.by_the_owner import by_the_owner, travel
from tests.integration.sweeps.grants import TakingQueue, claim, converge, know_nodes, meet, start_trial, start_trials
from tests.integration.sweeps.nodes import Network, RememberingNode
from tests.integration.sweeps.runs import Queue, sweep_run
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Database, Transaction

# Every wanted client is its subscription's, and an active subscription is wanted on every node that takes clients.
_UNLIKE = """
select s.id from subscriptions s join node_clients c on c.subscription_id = s.id
where c.version > s.version or c.wanted and (c.uuid, c.expires_at) is distinct from (s.uuid, s.expires_at)
union all
select s.id from subscriptions s cross join nodes n where s.status = 'active' and n.state = 'active'
  and not exists (select from node_clients c where c.subscription_id = s.id and c.node_id = n.id and c.wanted)
"""
_HELD = """
select coalesce(jsonb_object_agg(s.id, jsonb_build_array(s.uuid, cast(extract(epoch from s.expires_at) * 1000 as bigint))), '{}')
from subscriptions s join node_clients c on c.subscription_id = s.id and c.wanted where c.node_id = :node
"""


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """Three nodes, and no pause between the attempts of a call."""

    async def no_pause(_seconds: float) -> None:
        """At once."""

    monkeypatch.setenv("XRAY_API_KEY", "k")
    monkeypatch.setattr("lib.nodes.client.sleep", no_pause)
    made = Network(3)
    monkeypatch.setattr(bootstrap, "node_transport", lambda: made)
    return made


@pytest.fixture
def alerts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the log lines at level ERROR."""
    found: list[str] = []
    monkeypatch.setattr(log, "error", lambda event, **_: found.append(event))
    return found


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 4, pages of 6."""
    monkeypatch.setattr("lib.nodes.converge.BATCH", 4)
    monkeypatch.setattr(sweep_activation, "_PAGE", 6)
    monkeypatch.setattr(sweep_expiry, "_PAGE", 6)


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> Queue:
    made = Queue()
    monkeypatch.setattr(bootstrap, "task_queue", lambda: made)
    monkeypatch.setattr(bootstrap, "budgeted_queue", lambda: made)
    return made


def state(tx: Transaction, node: int, name: str) -> None:
    tx.execute("update nodes set state = :name where id = :node", node=node, name=name)


def extend(tx: Transaction, telegram_id: int) -> None:
    subscriptions.grant(tx, meet(tx, telegram_id), tariff="basic", seconds=86_400, source="admin", actor_id=1)


def wanted_on(tx: Transaction, node: int) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = tx.value(_HELD, node=node)
    return found


async def settle(db: Database, network: Network) -> None:
    """Sweeps until nothing is due, whatever backoff was left behind."""
    for _ in range(3):
        await db.run(travel, timedelta(seconds=400))
        await Nodes(db, network, TakingQueue(), "activation").look(sweep_run(db, "activation"))
        while (await db.run(provisioning.place, subscription_id=None, page=3)).subscriptions:
            pass
        for node in await db.run(provisioning.that_lost_state):
            while (await db.run(provisioning.forget, node, 3)).looked_at == 3:
                pass
        for wanted in (True, False):
            while claims := await db.run(claim, uuid.uuid4(), 3, wanted=wanted):
                await converge(db, network, claims)


def matches(held: dict[str, list[Any]], network: Network, node: int) -> bool:
    """Whether the node lets in exactly whom Postgres wants there, under the right UUID and until the right end."""
    there = {client: [secret, network[node].ends[client]] for client, secret in network[node].present.items()}
    return there.keys() == held.keys() and all(
        there[client][0] == want[0] and abs(there[client][1] - want[1]) <= 1 for client, want in held.items()
    )


@pytest.mark.proves("G-2")
@pytest.mark.parametrize("nodes", [2, 3])
@pytest.mark.parametrize("away", ["draining", "retired", "lost"])
async def test_a_node_that_comes_back_holds_who_renewed_meanwhile(
    processes: Callable[[int], list[Database]], network: Network, nodes: int, away: str
) -> None:
    (db,) = processes(1)
    await db.run(know_nodes, nodes)
    await db.run(start_trials, 1, 4)
    await settle(db, network)

    def go(tx: Transaction, *, gone: bool) -> None:
        if away == "lost":
            since = "atlas.now()" if gone else "null"
            tx.execute(f"update nodes set lost_since = {since} where id = 2")  # noqa: S608 -- one of two constants
        else:
            state(tx, 2, away if gone else "active")

    await db.run(go, gone=True)
    network[2].failing = NodeError("ClientConnectorError", temporary=True)
    for person in (2, 3):
        await db.run(extend, person)
    await db.run(start_trial, 9)
    await settle(db, network)
    assert len(network[2].present) == 4
    network[2].failing = None
    await db.run(go, gone=False)
    await settle(db, network)
    assert await db.run(lambda tx: tx.values(_UNLIKE)) == []
    for node in range(1, nodes + 1):
        held = await db.run(wanted_on, node)
        assert len(held) == 5
        assert matches(held, network, node)


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["renew", "end", "apply", "place"]), st.integers(1, 2)),
        st.tuples(
            st.sampled_from(["active", "draining", "retired", "fail", "heal", "drop", "forget"]), st.integers(1, 3)
        ),
    ),
    max_size=14,
)


@pytest.mark.proves("G-2")
@pytest.mark.proves("G-13")
async def test_nodes_follow_whatever_happens_to_them(
    processes: Callable[[int], list[Database]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XRAY_API_KEY", "k")
    (db,) = processes(1)
    loop = asyncio.get_running_loop()
    await db.run(know_nodes, 3)

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(_STEPS)
    def run(steps: list[tuple[str, int]]) -> None:
        # However long it takes: given up, it would go on beside the next example, on the same rows. What hangs ends by the suite's guard.
        asyncio.run_coroutine_threadsafe(_follow(db, steps), loop).result()

    await asyncio.to_thread(run)


async def _follow(db: Database, steps: list[tuple[str, int]]) -> None:
    network = Network(3)
    for each in network.nodes.values():
        each.said = {"state_id": "first"}

    def begin(tx: Transaction) -> None:
        for table in ("node_clients", "subscription_history", "subscriptions"):
            by_the_owner(tx, f"delete from {table}")  # noqa: S608 -- constants
        tx.execute("update nodes set state = 'active', state_id = null, trouble = null, trouble_since = null")
        for person in (1, 2):
            extend(tx, person)

    await db.run(begin)
    await settle(db, network)
    for number, (step, which) in enumerate(steps):
        await _take(db, network, step, which, number)
    for node in (1, 2, 3):
        network[node].failing = None
        await db.run(state, node, "active")
    await settle(db, network)
    assert await db.run(lambda tx: tx.values(_UNLIKE)) == [], steps
    for node in (1, 2, 3):
        held = await db.run(wanted_on, node)
        assert matches(held, network, node), (steps, node)


async def _take(db: Database, network: Network, step: str, which: int, number: int) -> None:
    node = network[which]
    match step:
        case "renew":
            await db.run(extend, which)
        case "end":
            await db.run(travel, timedelta(days=1, seconds=which))
            await db.run(subscriptions.expire, which, "t")
        case "apply":
            await converge(db, network, await db.run(claim, uuid.uuid4(), which, wanted=True))
        case "place":
            await db.run(provisioning.place, subscription_id=None, page=which)
        case "active" | "draining" | "retired":
            await db.run(state, which, step)
        case _:
            _happen(node, step, number)


def _happen(node: RememberingNode, step: str, number: int) -> None:
    match step:
        case "fail":
            node.failing = NodeError("ReadTimeout", temporary=False)
        case "heal":
            node.failing = None
        case "drop":
            for client in list(node.present)[:1]:
                node.drop(client)
        case "forget":
            node.forget(f"s{number}")


async def test_only_what_was_granted_before_a_node_joined_is_placed(
    processes: Callable[[int], list[Database]], network: Network
) -> None:
    """A minute in which no node joined looks at no subscription; a client that the node was to give back is wanted again."""
    (db,) = processes(1)

    def place(tx: Transaction) -> tuple[int, int]:
        placed = provisioning.place(tx, subscription_id=None, page=100)
        return placed.subscriptions, placed.clients

    await db.run(know_nodes, 2)
    await db.run(start_trials, 1, 3)
    await settle(db, network)
    assert await db.run(place) == (0, 0)
    await db.run(state, 2, "draining")
    assert await db.run(place) == (0, 0)
    await db.run(travel, timedelta(hours=73))
    await db.run(subscriptions.expire, 100, "t")
    network[2].failing = NodeError("ClientConnectorError", temporary=True)
    await db.run(extend, 1)  # its client of before is still to be removed from the second node
    await db.run(start_trial, 9)
    await db.run(state, 2, "active")
    await db.run(extend, 2)  # knows of the node by itself
    assert await db.run(place) == (2, 2)
    assert await db.run(place) == (0, 0)
    network[2].failing = None
    await settle(db, network)
    assert await db.run(lambda tx: tx.values(_UNLIKE)) == []
    assert matches(await db.run(wanted_on, 2), network, 2)


async def test_a_node_that_knows_better_changes_its_own_row_only(
    processes: Callable[[int], list[Database]], network: Network
) -> None:
    (db,) = processes(1)
    await db.run(know_nodes, 2)
    await db.run(start_trials, 1, 1)
    (client,) = await db.run(lambda tx: tx.values("select cast(id as text) from subscriptions"))
    network[2].held[client] = (9, None)
    await settle(db, network)
    rows = "select cast(version as text) || '/' || cast(applied_version as text) from node_clients order by node_id"
    assert await db.run(lambda tx: tx.values(rows)) == ["1/1", "10/10"]
    assert sum(network[1].asked.values()) == 1


def _fails(node: Any) -> None:
    node.failing = NodeError("ClientConnectorError", temporary=False)


def _raises(node: Any) -> None:
    node.failing = UnicodeEncodeError("ascii", "k", 0, 1, "not a header")


def _deep(node: Any) -> None:
    node.nonsense = 200, b'{"items": ' + b"[" * 40_000 + b"]" * 40_000 + b"}"


def _not_json(node: Any) -> None:
    node.nonsense = 200, b"<html>"


def _stranger(node: Any) -> None:
    node.nonsense = 401, b""


@pytest.mark.proves("G-4")
@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("make_bad", [_fails, _raises, _deep, _not_json, _stranger])
async def test_a_bad_node_stops_no_other_s_adding_and_costs_one_call_a_pass(
    processes: Callable[[int], list[Database]],
    network: Network,
    tasks: Queue,
    alerts: list[str],
    make_bad: Callable[[Any], None],
) -> None:
    """The bad node has more rows due than several pages, and all of them are older than the other's."""
    (db,) = processes(1)
    await db.run(know_nodes, 2)
    make_bad(network[1])
    await db.run(state, 2, "draining")
    await db.run(start_trials, 1, 14)
    await db.run(travel, timedelta(seconds=90))
    await sweep_activation._work(sweep_run(db, "activation"))
    assert alerts.count("paid_not_applied") == 1
    await db.run(state, 2, "active")
    calls = network[1].calls
    for _ in range(2):
        run = sweep_run(db, "activation")
        await sweep_activation._work(run)
        assert run.failed > 0
    assert network[1].calls - calls == 2
    assert len(network[2].present) == len(tasks.tasks) == 14


@pytest.mark.proves("G-4")
@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("make_bad", [_fails, _raises, _deep, _not_json, _stranger])
async def test_a_bad_node_stops_no_other_s_removing_and_costs_one_call_a_pass(
    processes: Callable[[int], list[Database]], network: Network, tasks: Queue, make_bad: Callable[[Any], None]
) -> None:
    (db,) = processes(1)
    await db.run(know_nodes, 2)
    await db.run(start_trials, 1, 14)
    await settle(db, network)
    await db.run(travel, timedelta(hours=72))
    make_bad(network[1])
    calls = network[1].calls
    for _ in range(2):
        run = sweep_run(db, "expiry")
        await sweep_expiry._work(run)
        assert run.failed > 0
    assert network[1].calls - calls == 2
    assert network[2].present == {}
    assert await db.run(lambda tx: tx.value("select count(*) from node_clients where node_id = 2")) == 0
    assert len(tasks.tasks) == 14


@pytest.mark.proves("G-4")
@pytest.mark.parametrize("step", ["claim", "place"])
@pytest.mark.usefixtures("tasks")
async def test_the_first_alert_is_given_whatever_the_pass_ran_into(
    processes: Callable[[int], list[Database]],
    network: Network,
    alerts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    (db,) = processes(1)
    await db.run(know_nodes, 1)
    await db.run(start_trials, 1, 1)
    await db.run(travel, timedelta(seconds=90))

    def fail(*_: Any, **__: Any) -> None:
        raise ValueError(step)

    monkeypatch.setattr(provisioning, step, fail)
    with contextlib.suppress(ValueError):  # of one node it is that node's alone
        await sweep_activation._work(sweep_run(db, "activation"))
    assert (alerts, network[1].present) == (["paid_not_applied"], {})


@pytest.mark.proves("N-24")
@pytest.mark.proves("G-17")
@pytest.mark.parametrize("slow", [1, 2])
@pytest.mark.parametrize("by", ["task", "sweep"])
async def test_the_key_follows_the_first_node_that_confirms(
    processes: Callable[[int], list[Database]],
    network: Network,
    tasks: Queue,
    slow: int,
    by: str,
) -> None:
    (db,) = processes(1)
    await db.run(know_nodes, 2)
    await db.run(start_trial, 1)
    item = await db.run(lambda tx: tx.value("select id from outbox where target = 'task_provision'"))
    thaw = asyncio.Event()
    network[slow].before_answer = _waiting(thaw)
    if by == "task":
        (subscription,) = await db.run(lambda tx: tx.values("select id from subscriptions"))
        claims = await db.run(task_provision.claim, item, subscription, uuid.uuid4(), None)
        work: asyncio.Task[Any] = asyncio.create_task(
            Nodes(db, network, tasks, "activation").converge_each(claims, finishes=item)
        )
    else:
        work = asyncio.create_task(sweep_activation._work(sweep_run(db, "activation")))
    async with asyncio.timeout(60):
        await until(lambda: work.done() or any(task.queue == "messages" for task in tasks.tasks.values()))
        assert not work.done()
        assert network[slow].present == {}
        if by == "task":
            assert not await db.run(outbox.is_open, item)
        thaw.set()
        await work
    assert len(network[slow].present) == 1
    assert len(tasks.tasks) == 1


def _waiting(event: asyncio.Event) -> Callable[[], Any]:
    async def wait() -> None:
        await event.wait()

    return wait


@pytest.mark.proves("G-13")
async def test_what_a_node_dropped_or_lost_is_sent_again_and_told(
    processes: Callable[[int], list[Database]], network: Network, alerts: list[str]
) -> None:
    (db,) = processes(1)
    network[2].said = {"state_id": "a", "clock": {"off_ms": 0}}
    await db.run(know_nodes, 2)
    await db.run(start_trials, 1, 3)
    await settle(db, network)
    everyone = network[1].present
    assert (await db.run(health_snapshot.take)).nodes == ()
    # its clock jumped 40 days ahead and it dropped everybody: the next call, for whatever reason, brings them back
    for client in list(network[2].present):
        network[2].drop(client)
    network[2].dropped["77"] = 5  # one that it is not to hold at all is acknowledged
    network[2].said["clock"] = {"off_ms": 40 * 86_400_000}
    await db.run(start_trial, 9)
    await settle(db, network)
    assert network[2].present == network[1].present
    assert everyone.items() < network[1].present.items()
    assert network[2].dropped == {}
    assert set(alerts) == {"node_lost_clients", "node_clock_off"}
    (told,) = (await db.run(health_snapshot.take)).nodes
    assert (told.name, told.clock_off_s, told.state_lost, told.trouble) == ("n2", 40 * 86_400, False, None)
    network[2].said["clock"] = {"off_ms": 10}
    network[2].forget("b")
    await db.run(extend, 1)
    await settle(db, network)
    assert network[2].present == network[1].present
    assert sum(network[1].asked.values()) == 5  # the other node heard of four grants and one extension
    (told,) = (await db.run(health_snapshot.take)).nodes
    assert (told.name, told.clock_off_s, told.state_lost, told.trouble) == ("n2", 0, True, None)
    network[2].nonsense = 401, b""
    await db.run(extend, 1)
    await settle(db, network)
    (told,) = (await db.run(health_snapshot.take)).nodes
    assert told.trouble == "authentication"
    network[2].failing = NodeError("the peer shows another certificate", temporary=False, trouble="certificate")
    await db.run(extend, 1)
    await settle(db, network)
    (told,) = (await db.run(health_snapshot.take)).nodes
    assert told.trouble == "certificate"


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("https://node.example.com:8443", True),
        ("http://127.0.0.1:9", True),
        ("https://[2001:db8::1]:8443/api", True),
        ("https://node.example.com:8443x/apply", False),
        ("https://node.example.com:0", False),
        ("https://node.example.com:65536", False),
        ("https://", False),
        ("https://-node.example", False),
        ("https://a b.example", False),
        ("https://k@node.example", False),
        ("https://node.example/?a=1", False),
        ("ftp://node.example", False),
        ("http://node.example", False),
        ("http://127.0.0.1.example", False),
        ("http://localhost:9", False),
        ("http://[::1]:9", True),
    ],
)
async def test_an_address_that_can_not_be_called_is_no_node(
    processes: Callable[[int], list[Database]], url: str, *, taken: bool
) -> None:
    (db,) = processes(1)
    pins = [f"{1:064x}"] if url.startswith("https:") else []
    await db.run(provisioning.ensure_first_node, url, "XRAY_API_KEY", pins)
    assert await db.run(lambda tx: tx.values("select api_url from nodes")) == ([url] if taken else [])
