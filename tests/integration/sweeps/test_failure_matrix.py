"""S3-7, row by row: a cause comes and goes, and everything is as if it had never been (tests/integration/sweeps/failure_matrix.py)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pg8000.native
import pytest

from functions.tasks import task_provision
from lib import bootstrap
from lib.db import StatementFailed
from lib.db.address import DatabaseAddress
from lib.domain import subscriptions
from lib.nodes.transport import NodeError
from tests.integration.by_the_owner import by_the_owner, travel
from tests.integration.sweeps.failure_matrix import BUYS, COMES, ENDS, RENEWS, STAYS, TASKS, Shop
from tests.integration.sweeps.grants import open_order, pay
from tests.integration.sweeps.nodes import Network
from tests.integration.sweeps.run_and_die import dies
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lib.db import Database, Transaction
    from tests.integration.sweeps.runs import Queue

_DEADLOCKS = "select deadlocks from pg_stat_database where datname = current_database()"
_REFUSE = """
create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$;
create trigger refuse before update of applied_version on node_clients for each row when (new.applied_version is not null)
    execute function refuse()
"""


def _of_the_newest(tx: Transaction) -> list[Any]:
    """Of the customer who came last: what their history tells, how many payments, how many keys they were sent."""
    subscription = tx.value("select max(id) from subscriptions")
    history = tx.values(
        "select event from subscription_history where subscription_id = :id order by id", id=subscription
    )
    account = tx.value("select account_id from subscriptions where id = :id", id=subscription)
    payments = tx.value("select count(*) from payments where account_id = :id", id=account)
    keys = tx.value("select count(*) from messages where account_id = :id and kind = 'key'", id=account)
    return [history, payments, keys]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """Two nodes, and no pause between the attempts of a call."""

    async def no_pause(_seconds: float) -> None:
        """At once."""

    monkeypatch.setenv("XRAY_API_KEY", "k")
    monkeypatch.setattr("lib.nodes.client.sleep", no_pause)
    return Network(2)


@pytest.fixture
async def shop(
    processes: Callable[[int], list[Database]],
    network: Network,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Shop:
    (db,) = processes(1)
    monkeypatch.setattr(bootstrap, "node_transport", lambda: network)
    monkeypatch.setattr(bootstrap, "database", lambda: db)
    assert queue.tasks == {}
    made = Shop(db, network, caplog)
    made.count_calls(monkeypatch)
    await made.open()
    return made


def _lost_answer(_answer: dict[str, Any]) -> tuple[int, bytes]:
    raise NodeError("TimeoutError", temporary=True)


@pytest.mark.proves("S3-7.deadlock")
async def test_a_deadlock_between_a_confirmation_and_another_transaction(shop: Shop, database_url: str) -> None:
    """Which takes the locks the other way round. Postgres ends the one that waited first, and that one begins anew."""
    other = pg8000.native.Connection(**DatabaseAddress.parse(database_url).driver_arguments())
    other.run("set search_path = atlas, pg_catalog; set deadlock_timeout = '60s'; begin")
    before = other.run(_DEADLOCKS)
    cross: list[asyncio.Task[None]] = []

    def locks_the_subscription() -> None:
        while not other.run("select true from pg_locks where not granted limit 1"):
            other.run("select pg_stat_clear_snapshot()")
        other.run("select id from subscriptions order by id desc limit 1 for update")
        other.run("rollback")

    async def takes_the_client_first() -> None:
        """Between the node's answer and its record."""
        if not cross:
            await asyncio.to_thread(
                other.run,
                "select node_id from node_clients where subscription_id = (select max(id) from subscriptions) for update",
            )
            cross.append(asyncio.ensure_future(asyncio.to_thread(locks_the_subscription)))

    shop.node(1).before_answer = takes_the_client_first
    await shop.buy(BUYS, "meanwhile")
    await cross[0]

    def was_one() -> bool:
        other.run("select pg_stat_clear_snapshot()")
        return bool(other.run(_DEADLOCKS) > before)

    await until(was_one, "Postgres counts a deadlock")
    other.close()
    assert await shop.let_in(BUYS) == [1, 2]
    await shop.healed()


@pytest.mark.proves("S3-7.transaction-fails-after-add")
async def test_a_record_that_fails_after_the_node_has_added(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Postgres refuses every confirmation; each node holds the one UUID that the grant made, and is told no other."""

    async def provision() -> None:
        for body in await shop.db.run(lambda tx: tx.values(TASKS)):
            with contextlib.suppress(StatementFailed):  # 500: its queue, and the sweep, try again
                await task_provision._provision(body)

    monkeypatch.setattr(shop, "provision", provision)
    await shop.db.run(by_the_owner, _REFUSE)
    await shop.live_on()
    assert await shop.let_in(BUYS) == [1, 2]
    pending = "select activation_status from subscriptions order by id desc limit 1"
    assert await shop.db.run(lambda tx: tx.value(pending)) == "pending"
    await shop.db.run(by_the_owner, "drop function refuse() cascade")
    await shop.healed()
    assert [len(told) for told in shop.node(1).uuids.values()] == [1, 1, 1, 1]


@pytest.mark.proves("S3-7.redeploy-mid-transaction")
async def test_a_release_that_ends_the_running_one_in_a_transaction(
    shop: Shop, functions_url: str, tmp_path: Path
) -> None:
    """Its process is gone between the node's answer and the COMMIT of its record; the next release goes on."""
    event = await shop.db.run(open_order, BUYS, "basic", 30, "before the release")
    await shop.db.run(pay, event)
    await dies("activation", functions_url, shop.network, tmp_path, "activation.mid-transaction")
    assert len(await shop.let_in(BUYS)) > 0
    pending = "select activation_status from subscriptions order by id desc limit 1"
    assert await shop.db.run(lambda tx: tx.value(pending)) == "pending"
    await shop.healed()
    assert await shop.let_in(BUYS) == [1, 2]


@pytest.mark.proves("S3-7.duplicate-webhook")
async def test_a_webhook_that_comes_again_and_again(shop: Shop) -> None:
    """One after the other, at once, before and after its access is applied: paid once, granted once, told once."""
    event = await shop.db.run(open_order, BUYS, "basic", 30, "told often")
    await asyncio.gather(*(shop.db.run(pay, event) for _ in range(4)))
    await shop.provision()
    for _ in range(3):
        received = await shop.db.run(pay, event)
        assert received.outcome == "repeated"
        await shop.minute()
    assert await shop.db.run(_of_the_newest) == [["granted", "activated"], 1, 1]
    await shop.healed()
    assert await shop.let_in(BUYS) == [1, 2]


@pytest.mark.proves("S3-7.replay-a-day-later")
async def test_news_and_tasks_that_come_again_a_day_later(shop: Shop) -> None:
    """Nothing is extended, nothing is sent to a node, and nothing is told again."""
    event = await shop.db.run(open_order, BUYS, "basic", 30, "replayed")
    await shop.db.run(pay, event)
    tasks = await shop.db.run(lambda tx: tx.values(TASKS))
    await shop.provision()
    await shop.minute()
    before = await shop.db.run(_of_the_newest)
    end = "select expires_at from subscriptions order by id desc limit 1"
    ends = await shop.db.run(lambda tx: tx.value(end))
    await shop.db.run(travel, timedelta(days=1))
    await shop.minute()
    asked = [dict(shop.node(number).asked) for number in (1, 2)]
    assert (await shop.db.run(pay, event)).outcome == "repeated"
    for body in tasks:
        assert await task_provision._provision(body) == {"applied": 0, "put_off": 0}
    assert await shop.db.run(_of_the_newest) == before == [["granted", "activated"], 1, 1]
    assert await shop.db.run(lambda tx: tx.value(end)) == ends
    assert [dict(shop.node(number).asked) for number in (1, 2)] == asked
    await shop.healed()


@pytest.mark.proves("S3-7.expiry-renewal")
@pytest.mark.parametrize("first", ["end", "payment", "at once"])
async def test_a_payment_at_the_very_moment_of_the_end(shop: Shop, first: str) -> None:
    """Whichever commits first, they are let in on both nodes under one UUID, and the old one opens nothing if there is a new one."""
    event = await shop.db.run(open_order, ENDS, "basic", 30, "at the end")
    await shop.db.run(travel, timedelta(seconds=120))

    async def end() -> None:
        await shop.db.run(subscriptions.expire, 10, "t")

    async def renew() -> None:
        await shop.db.run(pay, event)

    if first == "at once":
        await asyncio.gather(end(), renew(), end())
    else:
        for step in (end, renew) if first == "end" else (renew, end):
            await step()
    await shop.provision()
    assert await shop.let_in(ENDS) == [1, 2]
    await shop.healed()
    assert await shop.let_in(ENDS) == [1, 2]


@pytest.mark.proves("S3-7.node-timeout")
async def test_a_node_whose_answers_come_too_late(shop: Shop) -> None:
    """It does what it is told, and its answers are lost."""
    shop.node(2).on_its_way = _lost_answer
    await shop.live_on()
    assert 1 in await shop.let_in(BUYS)
    assert await shop.let_in(ENDS) == []
    assert "node_lost" in shop.events("ERROR")
    assert shop.requests[2][-1] == 1, "one probe"
    shop.node(2).on_its_way = None
    await shop.healed()
    assert await shop.let_in(RENEWS) == await shop.let_in(BUYS) == [1, 2]


@pytest.mark.proves("S3-7.removal-network-failure")
async def test_the_network_fails_while_a_removal_is_told(shop: Shop) -> None:
    """One node never hears of the end, the other's answer is lost: both are told again, under the same version, until they confirm."""
    lost: list[int] = []

    async def cut() -> None:
        lost.append(1)
        raise NodeError("ClientConnectorError", temporary=True)

    def cut_off(answer: dict[str, Any]) -> tuple[int, bytes]:
        lost.append(2)
        return _lost_answer(answer)

    ends = await shop.db.run(lambda tx: tx.value("select min(id) from subscriptions"))
    shop.node(1).before_answer, shop.node(2).on_its_way = cut, cut_off
    await shop.minute()
    await shop.minute()
    assert set(lost) == {1, 2}
    assert (await shop.to_leave(1), await shop.to_leave(2)) == ([ENDS], [ENDS]), "no answer is no confirmation"
    assert await shop.let_in(ENDS) == []
    shop.node(1).before_answer = shop.node(2).on_its_way = None
    await shop.healed()
    for number in (1, 2):
        told = {version for client, version, wanted in shop.node(number).asked if client == str(ends) and not wanted}
        assert len(told) == 1, "a removal that is told again is the same one"
        assert str(ends) not in shop.node(number).present


@pytest.mark.proves("S3-7.malformed-json")
@pytest.mark.parametrize("body", [b"<html>", b'{"items": null}', json.dumps([]).encode()])
async def test_a_node_whose_answers_can_not_be_read(shop: Shop, body: bytes) -> None:
    shop.node(2).nonsense = 200, body
    await shop.live_on()
    assert await shop.let_in(BUYS) == [1]
    assert "node_call_failed" in shop.events("ERROR")
    shop.node(2).nonsense = None
    await shop.healed()
    assert await shop.let_in(BUYS) == [1, 2]


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(500, marks=pytest.mark.proves("S3-7.node-500")),
        pytest.param(526, marks=pytest.mark.proves("S3-7.proxy-526")),
    ],
)
async def test_a_node_that_answers_5xx(shop: Shop, status: int) -> None:
    """Itself, or a proxy in front of it: its breaker opens, and it costs a pass one probe."""
    shop.node(2).nonsense = status, b"<html>"
    await shop.live_on()
    assert await shop.let_in(BUYS) == [1]
    assert "node_breaker_opened" in shop.events("WARNING")
    assert "node_call_failed" not in shop.events("ERROR")
    assert shop.requests[2][-1] == 1, "one probe"
    shop.node(2).nonsense = None
    await shop.healed()
    assert "node_lost" in shop.events("ERROR")
    assert "node_back" in shop.events("WARNING")
    assert await shop.let_in(BUYS) == await shop.let_in(RENEWS) == [1, 2]


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(401, marks=pytest.mark.proves("S3-7.refused-key")),
        pytest.param(403, marks=pytest.mark.proves("S3-7.refused-key")),
        pytest.param(400, marks=pytest.mark.proves("S3-7.other-4xx")),
        pytest.param(404, marks=pytest.mark.proves("S3-7.other-4xx")),
        pytest.param(413, marks=pytest.mark.proves("S3-7.other-4xx")),
    ],
)
async def test_a_node_that_refuses_atlas(shop: Shop, status: int) -> None:
    """A person has to look: an alert, no second attempt, no breaker; a call a sweep."""
    shop.node(2).nonsense = status, b"{}"
    await shop.live_on()
    assert await shop.let_in(BUYS) == [1]
    assert "node_call_failed" in shop.events("ERROR")
    assert "node_breaker_opened" not in shop.events("WARNING")
    assert max(shop.requests[2][-2:]) <= len(shop.sweeps), "no retry, and purchases pass it over"
    shop.node(2).nonsense = None
    await shop.healed()
    assert await shop.let_in(BUYS) == await shop.let_in(RENEWS) == [1, 2]


def _without_links(answer: dict[str, Any]) -> None:
    for item in answer.get("items", ()):
        item.pop("vless_link", None)


def _other_uuids(answer: dict[str, Any]) -> None:
    for item in answer.get("items", ()):
        if "uuid" in item:
            item["uuid"] = "99999999-2222-4333-8444-555555555555"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_without_links, marks=pytest.mark.proves("S3-7.no-link")),
        pytest.param(_other_uuids, marks=pytest.mark.proves("S3-7.wrong-uuid")),
    ],
)
async def test_a_node_that_confirms_other_things_than_it_was_asked(
    shop: Shop, change: Callable[[dict[str, Any]], None]
) -> None:
    """No link of another's making and no UUID that Atlas did not send gets anywhere; the row waits, and is asked again."""

    def altered(answer: dict[str, Any]) -> tuple[int, bytes]:
        change(answer)
        return 200, json.dumps(answer).encode()

    shop.node(2).on_its_way = altered
    await shop.live_on()
    assert await shop.confirmed_by(2) == [STAYS], "it counts for nothing"
    assert 1 in await shop.let_in(BUYS)
    assert await shop.let_in(ENDS) == []
    assert "node_call_failed" in shop.events("ERROR")
    shop.node(2).on_its_way = None
    await shop.healed()
    assert await shop.let_in(BUYS) == await shop.let_in(RENEWS) == [1, 2]


@pytest.mark.proves("S3-7.state-lost")
@pytest.mark.parametrize("while_away", [False, True])
async def test_a_node_that_lost_its_state(shop: Shop, *, while_away: bool) -> None:
    for number in (1, 2):
        shop.node(number).said["state_id"] = "a"
    await shop.minute()
    if while_away:
        shop.node(2).failing = NodeError("ClientConnectorError", temporary=True)
    else:
        shop.node(2).forget("b")
    await shop.live_on()
    if while_away:
        shop.node(2).forget("b")
        shop.node(2).failing = None
    await shop.healed()
    assert "node_lost_clients" in shop.events("ERROR")
    assert await shop.let_in(BUYS) == await shop.let_in(RENEWS) == [1, 2]


@pytest.mark.proves("S3-7.late-add")
async def test_an_add_that_arrives_after_the_removal(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hung on its way for three days; the customer's access ended, and the node was told so."""
    hung: list[tuple[str, bytes, Any, Any]] = []
    send = shop.node(2).send

    async def hang(url: str, body: bytes | None, headers: Any, pins: Any) -> tuple[int, bytes]:
        if body is not None:
            hung.append((url, body, headers, pins))
        raise NodeError("TimeoutError", temporary=True)

    monkeypatch.setattr(shop.node(2), "send", hang)
    await shop.try_out(COMES)
    monkeypatch.setattr(shop.node(2), "send", send)
    assert await shop.let_in(COMES) == [1]
    await shop.minute()
    assert await shop.let_in(COMES) == [1, 2]
    await shop.pass_by(timedelta(hours=72))
    for _ in range(2):
        await shop.minute()
    ended = dict(shop.node(2).present)
    for request in hung:
        _, answer = await send(*request)
        assert {item["code"] for item in json.loads(answer)["items"]} == {409}
    assert shop.node(2).present == ended
    await shop.healed()
    assert await shop.let_in(COMES) == []


@pytest.mark.proves("S3-7.back-after-three-days")
async def test_a_node_that_is_back_after_three_days(shop: Shop) -> None:
    """It holds what it held: of one whose access ended, of one who renewed, and not of one who came."""
    shop.node(2).failing = NodeError("ClientConnectorError", temporary=True)
    await shop.live_on()
    await shop.try_out(COMES)
    for _ in range(3):
        await shop.pass_by(timedelta(hours=24))
        await shop.minute()
        await shop.minute()
    assert "node_lost" in shop.events("ERROR")
    assert await shop.let_in(ENDS) == []  # its UUID is no one's now; the node still holds it
    assert len(shop.node(2).present) == 3
    shop.node(2).failing = None
    await shop.healed()
    assert "node_back" in shop.events("WARNING")
    assert await shop.let_in(BUYS) == await shop.let_in(RENEWS) == [1, 2]
