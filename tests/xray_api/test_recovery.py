"""What is recorded survives: a slow, killed or restarted Xray, a killed service, an expiry that was not told of."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import ssl
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from sandbox.node.caller import NodeCaller, now_ms, unwanted, wanted
from sandbox.node.lab import Origin, TunnelClient, TunnelRefusedError, XrayNode
from tests.waiting import until
from xray_api.xray import Xray

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@pytest.fixture
async def own(new_node: Callable[..., XrayNode]) -> AsyncIterator[tuple[XrayNode, NodeCaller]]:
    """A node that this test alone may break."""
    node = await new_node().start()
    async with NodeCaller(node.url, node.key) as caller:
        yield node, caller


def running(node: XrayNode) -> set[str]:
    """Names that Xray itself says it runs."""
    xray = Xray(f"127.0.0.1:{node.api_port}", "vless-in")
    try:
        return {user.name for user in xray.users()}
    finally:
        xray.close()


async def test_a_connection_to_a_slow_xray_gets_as_long_as_a_call(own: tuple[XrayNode, NodeCaller]) -> None:
    """A node under load: the kernel takes the connection at once, Xray speaks half a second later."""
    node, _ = own
    node.core.suspend()
    asking = asyncio.create_task(asyncio.to_thread(running, node))
    await asyncio.sleep(0.5)  # five times the first pause between two connections, a quarter of what a call gets
    node.core.resume()
    assert await asking == set()


@pytest.mark.proves("S3-MR-2")
async def test_a_slow_xray_turns_no_recorded_change_into_a_forgotten_error(own: tuple[XrayNode, NodeCaller]) -> None:
    node, caller = own
    await caller.apply(wanted("1", 1), wanted("2", 1))
    node.core.suspend()
    try:
        began = time.monotonic()
        answers = await caller.apply(wanted("3", 1), unwanted("1", 2))
        assert time.monotonic() - began < 6, "told well before a caller's 10 s are over"
        assert [(a["code"], a["error"]) for a in answers] == [(503, "recorded, not yet applied")] * 2
        later = await caller.apply(wanted("2", 2), wanted("4", 1))
        assert {answer["code"] for answer in later} == {503}
        assert (await caller.http.get("/")).status_code == 200, "the service itself answers"
        await until(lambda: _is_down(caller), "health says that Xray is down")
    finally:
        node.core.resume()
    await until(caller.settled, "applied without being asked again")
    assert running(node) == {"2.2", "3.1", "4.1"}
    # What timed out may have reached Xray late: it is compared once more, and stays as recorded.
    await until(
        lambda: '"xray_synced"' in node.service_log.read_text().rpartition("xray_unavailable")[2], "compared again"
    )
    assert running(node) == {"2.2", "3.1", "4.1"}


async def _is_down(caller: NodeCaller) -> bool:
    health = await caller.health()
    return health["xray"]["up"] is False and health["ok"] is False


@pytest.mark.proves("S3-MR-2")
async def test_changes_while_xray_is_dead_are_applied_when_it_is_back(own: tuple[XrayNode, NodeCaller]) -> None:
    node, caller = own
    await caller.apply(wanted("1", 1))
    await node.core.kill()
    item = wanted("2", 1)
    (answer,) = await caller.apply(item)
    assert answer == {"client": "2", "version": 1, "code": 503, "error": "recorded, not yet applied"}
    person = {"uuid": wanted("x", 1)["uuid"], "telegram_id": 5, "expiry_timestamp_ms": now_ms() + 60_000}
    response = await caller.http.post("/add-user", json=person)
    assert (response.status_code, response.json()) == (503, {"error": "recorded, not yet applied"})
    assert response.headers["retry-after"]
    assert (await caller.http.post(f"/remove-user/{item['uuid']}")).status_code == 503
    assert (await caller.http.post(f"/remove-user/{item['uuid']}")).status_code == 503, "still not seen to be gone"
    listed = await caller.users()
    assert {key: user["applied"] for key, user in listed.items()} == {"1": False, "tg5": False}
    await node.core.start()
    await until(caller.settled, "applied")
    assert running(node) == {"1.1", "tg5.1"}
    assert (await caller.http.post(f"/remove-user/{item['uuid']}")).status_code == 200


async def test_users_are_back_after_a_restart_of_xray(own: tuple[XrayNode, NodeCaller], origin: Origin) -> None:
    node, caller = own
    answers = await caller.apply(*[wanted(f"{number}", 1) for number in range(1, 301)])
    await caller.apply(unwanted("300", 2))
    await node.core.kill()
    await node.core.start()
    await until(lambda: len(running(node)) == 299, "all users are back")
    async with TunnelClient(answers[0]["vless_link"]) as tunnel:
        assert (await tunnel.get(origin.bytes_url(1000)))[0] == 200
    async with TunnelClient(answers[-1]["vless_link"]) as tunnel:
        with pytest.raises(TunnelRefusedError):
            await tunnel.get(origin.bytes_url(1))


async def test_a_repeated_add_just_after_a_restart_of_xray_is_true(own: tuple[XrayNode, NodeCaller]) -> None:
    """200 says what Xray runs now, not what it ran when last looked at."""
    node, caller = own
    item = wanted("1", 1)
    await caller.apply(item)
    for _ in range(5):
        await node.core.restart()
        (answer,) = await caller.apply(item)
        if answer["code"] == 200:
            assert running(node) == {"1.1"}


async def test_a_user_taken_out_behind_our_back_comes_back(own: tuple[XrayNode, NodeCaller]) -> None:
    node, caller = own
    await caller.apply(wanted("1", 1), wanted("2", 1))
    xray = Xray(f"127.0.0.1:{node.api_port}", "vless-in")
    xray.remove(["1.1"])
    xray.add([("9.1", wanted("9", 1)["uuid"]), ("operator@example.com", wanted("9", 1)["uuid"])])
    try:
        await until(lambda: running(node) == {"1.1", "2.1", "operator@example.com"}, "ours as recorded, others left")
    finally:
        xray.close()
    await until(lambda: _names_foreign(caller), "and told")


async def _names_foreign(caller: NodeCaller) -> bool:
    return any("1 users that are not Atlas's" in problem for problem in (await caller.health())["problems"])


async def test_the_whole_node_comes_back_as_it_was(own: tuple[XrayNode, NodeCaller], origin: Origin) -> None:
    node, caller = own
    kept, gone = wanted("1", 4), wanted("2", 1)
    link, _ = [answer["vless_link"] for answer in await caller.apply(kept, gone)]
    await caller.apply(unwanted("2", 2))
    before = await caller.health()
    await node.kill()
    again = await XrayNode(node.folder).start()
    try:
        async with NodeCaller(again.url, again.key) as other:
            await until(other.settled, "settled")
            after = await other.health()
            assert (after["inbound"], after["state_id"]) == (before["inbound"], before["state_id"])
            assert after["boot_id"] != before["boot_id"]
            assert (await other.apply(kept))[0]["vless_link"] == link
            assert (await other.apply(gone))[0]["code"] == 409, "the tombstone survived"
        async with TunnelClient(link) as tunnel:
            assert (await tunnel.get(origin.bytes_url(10)))[0] == 200
    finally:
        await again.kill()


async def test_the_service_starts_before_xray(new_node: Callable[..., XrayNode]) -> None:
    node = new_node()
    node.folder.joinpath("xray.json").write_text(json.dumps(node.core.config))
    await node.start_service()
    async with NodeCaller(node.url, node.key) as caller:
        assert (await caller.apply(wanted("1", 1)))[0]["code"] == 503
        await node.start()
        await until(caller.settled, "applied once Xray is up")
    assert running(node) == {"1.1"}


@pytest.mark.proves("S3-LR-2")
async def test_kill_9_during_a_thousand_changes_loses_none_that_was_acknowledged(
    own: tuple[XrayNode, NodeCaller],
) -> None:
    node, _ = own
    acknowledged: dict[str, dict[str, Any]] = {}
    done = 0

    async def change(client: str, changes: int) -> None:
        """Change one client again and again, each until it is acknowledged."""
        nonlocal done
        choose = random.Random(client)  # noqa: S311 - a repeatable order, no secret
        async with NodeCaller(node.url, node.key) as caller:
            for version in range(1, changes + 1):
                item = wanted(client, version) if choose.random() < 0.7 else unwanted(client, version)

                async def answers(item: dict[str, Any] = item) -> list[dict[str, Any]] | None:
                    try:
                        return await caller.apply(item)
                    except httpx.HTTPError:
                        return None  # the service is dead: try again, as Atlas does

                (answer,) = await until(answers, "an answer of the service")
                assert answer["code"] in {200, 503}
                acknowledged[client] = item
                done += 1

    async def kill() -> int:
        kills = 0
        for share in (150, 350, 550, 750, 900):
            await until(lambda share=share: done >= share, f"{share} changes", 30)  # type: ignore[misc] # a lambda's default has no type
            known = dict(acknowledged)
            await node.service.kill()
            kills += 1
            recorded = read(node)
            for client, item in known.items():
                assert recorded[client][0] >= item["version"], "older than what was acknowledged"
            await node.start_service()
        return kills

    results = await asyncio.gather(kill(), *(change(f"{number}", 125) for number in range(8)))
    assert (results[0], done) == (5, 1000)
    recorded = read(node)
    assert {client: row[0] for client, row in recorded.items()} == {f"{number}": 125 for number in range(8)}
    for client, item in acknowledged.items():
        assert recorded[client][1:] == (
            ("wanted", item["uuid"]) if item["wanted"] else ("removed", recorded[client][2])
        )
    async with NodeCaller(node.url, node.key) as caller:
        await until(caller.settled, "settled")
    assert {name.partition(".")[0] for name in running(node)} == {c for c, i in acknowledged.items() if i["wanted"]}


def read(node: XrayNode) -> dict[str, tuple[int, str, str]]:
    """The state as any program can read it from the file; it must be whole."""
    db = sqlite3.connect(node.environment["XRAY_STATE_PATH"])
    try:
        assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
        rows = db.execute("select client, version, state, uuid from clients").fetchall()
        return {client: (version, state, uuid) for client, version, state, uuid in rows}
    finally:
        db.close()


async def test_a_client_past_expiry_and_grace_is_dropped_without_a_word(new_node: Callable[..., XrayNode]) -> None:
    node = await new_node(environment={"XRAY_EXPIRY_GRACE_SECONDS": "1"}).start()
    async with NodeCaller(node.url, node.key) as caller:
        ends, stays = wanted("1", 3, expiry_ms=now_ms() + 200), wanted("2", 1)
        assert [answer["code"] for answer in await caller.apply(ends, stays)] == [200, 200]
        await until(lambda: running(node) == {"2.1"}, "dropped by the node itself")
        assert set(await caller.users()) == {"2"}
        (same,) = await caller.apply(ends)
        assert (same["code"], same["error"], same["held_version"]) == (409, "expired on this node", 3)
        assert (await caller.apply(unwanted("1", 3)))[0]["error"] == "same version, other content"
        assert (await caller.apply(wanted("1", 2)))[0]["error"] == "older version"
        # A newer version revives, one that is over already does not, and its version still counts.
        over = ends | {"version": 4, "expiry_timestamp_ms": now_ms() - 5000}
        assert (await caller.apply(over))[0]["error"] == "expired on this node"
        assert (await caller.apply(wanted("1", 3)))[0]["error"] == "older version"
        revived = ends | {"version": 5, "expiry_timestamp_ms": now_ms() + 60_000}
        assert (await caller.apply(revived))[0]["code"] == 200
        assert running(node) == {"1.5", "2.1"}


async def test_an_expiry_within_the_grace_keeps_running(caller: NodeCaller, node: XrayNode, client: str) -> None:
    assert (await caller.apply(wanted(client, 1, expiry_ms=now_ms() - 1000)))[0]["code"] == 200
    assert f"{client}.1" in running(node)


async def test_more_than_it_can_wait_for_is_429_and_not_recorded(own: tuple[XrayNode, NodeCaller]) -> None:
    node, caller = own
    caller.http._transport = httpx.AsyncHTTPTransport(
        limits=httpx.Limits(max_connections=400, max_keepalive_connections=0)
    )
    await until(caller.settled, "up")
    responses: list[httpx.Response] = []
    node.core.suspend()
    try:
        # A wave that a busy machine takes in so slowly that its first are answered before its last arrive is followed by another.
        while len(responses) < 3000 and not any(response.status_code == 429 for response in responses):
            bodies = [{"items": [wanted(f"{number}", 1)]} for number in range(len(responses), len(responses) + 300)]
            responses += await asyncio.gather(*(caller.http.post("/apply", json=body) for body in bodies))
    finally:
        node.core.resume()
    refused = [str(number) for number, response in enumerate(responses) if response.status_code == 429]
    assert refused
    assert all(response.headers["retry-after"] for response in responses if response.status_code == 429)
    assert set(read(node)) == {str(number) for number in range(len(responses))} - set(refused)
    await until(caller.settled, "the others are applied")


async def test_a_state_that_cannot_be_written_is_503_and_changes_nothing(own: tuple[XrayNode, NodeCaller]) -> None:
    node, caller = own
    db = sqlite3.connect(node.environment["XRAY_STATE_PATH"], isolation_level=None)
    try:
        db.execute("begin immediate")
        response = await caller.http.post("/apply", json={"items": [wanted("1", 1)]})
        assert (response.status_code, response.json()) == (503, {"error": "the state can't be written"})
        db.execute("rollback")
    finally:
        db.close()
    assert await caller.users() == {}
    assert running(node) == set()
    assert (await caller.apply(wanted("1", 1)))[0]["code"] == 200


async def test_with_a_certificate_it_speaks_https_only(new_node: Callable[..., XrayNode]) -> None:
    pem = str(new_node().folder / "target.pem")
    node = new_node(environment={"XRAY_API_TLS_CERT": pem, "XRAY_API_TLS_KEY": pem})
    await node.start()
    context = ssl.create_default_context(cafile=pem)
    context.check_hostname = False
    url = node.url.replace("http:", "https:")
    async with httpx.AsyncClient(verify=context, headers={"X-API-Key": node.key}, trust_env=False) as http:
        assert (await http.get(f"{url}/health")).json()["xray"]["up"] is True
        with pytest.raises(httpx.TransportError):
            await http.get(f"{node.url}/health")


async def test_a_hanging_node_takes_the_connection_and_answers_after(own: tuple[XrayNode, NodeCaller]) -> None:
    node, _ = own
    node.hang()
    async with NodeCaller(node.url, node.key, timeout_seconds=0.3) as impatient:
        with pytest.raises(httpx.ReadTimeout):
            await impatient.health()
    node.unhang()
    async with NodeCaller(node.url, node.key) as caller:
        assert (await caller.health())["ok"] is True


async def test_no_key_link_or_uuid_in_any_log(own: tuple[XrayNode, NodeCaller], origin: Origin) -> None:
    node, caller = own
    item = wanted("1", 1)
    (answer,) = await caller.apply(item)
    await caller.http.post("/apply", content=json.dumps({"items": [item]})[:-2])
    await caller.http.get("/health", headers={"X-API-Key": "a-wrong-key-of-a-caller"})
    await caller.http.post(f"/remove-user/{item['uuid']}")
    async with TunnelClient(answer["vless_link"]) as tunnel:
        with pytest.raises(TunnelRefusedError):
            await tunnel.get(origin.bytes_url(1))
    body = {"items": [wanted("2", 1)]}
    await caller.http.post("/apply", json=body, headers={"X-Correlation-Id": "order-17"})
    await caller.http.post("/apply", json=body, headers={"X-Correlation-Id": 'forged", "x": "'})
    await node.stop()
    private_key = json.loads((node.folder / "node.json").read_text())["private_key"]
    written = node.service_log.read_text() + (node.folder / "xray.log").read_text()
    assert '"correlation_id": "order-17"' in written
    assert "forged" not in written
    for secret in (node.key, private_key, item["uuid"], "vless://", "a-wrong-key-of-a-caller", node.short_id):
        assert secret not in written
    for line in node.service_log.read_text().splitlines():
        assert {"severity", "event", "time"} <= json.loads(line).keys()
