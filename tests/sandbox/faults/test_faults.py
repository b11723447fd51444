"""Each fault does to webhooks what it is named for, to nothing else, and in the share that was asked for."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.cloud.gateway import Backend, Gateway
from sandbox.stand_in import pauses
from sandbox.stand_in.clock import Clock
from sandbox.stand_in.faults import BAD_DAY, NONE, FaultInjector, Faults
from sandbox.stand_in.server import Server
from sandbox.telegram import Telegram, Timing
from sandbox.telegram.calls.refusals import DOCUMENTED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import Message

_BODY = b'{"update_id": 1}\x00\xff'


class _Function:
    """Counts what reaches it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.update_ids: list[int] = []
        app = Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "POST"])])
        self.server = Server(app)

    async def _answer(self, request: Request) -> Response:
        body = await request.body()
        self.bodies.append(body)
        if body.startswith(b'{"update_id":'):
            self.update_ids.append(int(body.split(b":")[1].split(b",")[0].split(b"}")[0]))
        return JSONResponse({"seen": len(self.bodies)}, headers={"X-Kept": "yes"})


@asynccontextmanager
async def _way(*, webhook: bool = True) -> AsyncIterator[tuple[httpx.AsyncClient, Gateway, _Function]]:
    function = _Function()
    gateway = Gateway([Backend("the-function", (function.server.port,), 5.0, webhook=webhook)])
    server = Server(gateway.app)
    await function.server.start()
    await server.start()
    async with httpx.AsyncClient(trust_env=False, base_url=f"{server.url}/the-function", timeout=10) as client:
        yield client, gateway, function
    await server.stop()
    await gateway.close()
    await function.server.stop()


async def test_nothing_is_wrong_unless_asked_for() -> None:
    async with _way() as (client, gateway, function):
        for _ in range(50):
            assert (await client.post("/", content=_BODY)).status_code == 200
        assert function.bodies == [_BODY] * 50
        assert {passed.fault for passed in gateway.passed} == {""}


async def test_twice_is_the_same_body_a_second_time_and_one_answer() -> None:
    async with _way() as (client, gateway, function):
        gateway.injector.faults = Faults(twice=1.0)
        answer = await client.post("/", content=_BODY)
        await gateway.idle()
        assert (answer.status_code, answer.headers["X-Kept"]) == (200, "yes")
        assert function.bodies == [_BODY, _BODY]
        assert sorted(passed.fault for passed in gateway.passed) == ["", "copy"]


async def test_lost_never_arrives_and_the_sender_hears_of_a_failure() -> None:
    async with _way() as (client, gateway, function):
        gateway.injector.faults = Faults(lost=1.0, twice=1.0)
        assert (await client.post("/", content=_BODY)).status_code == 502
        await gateway.idle()
        assert function.bodies == []
        assert [passed.fault for passed in gateway.passed] == ["lost"]


async def test_unanswered_is_handled_and_the_sender_hears_of_a_failure() -> None:
    async with _way() as (client, gateway, function):
        gateway.injector.faults = Faults(unanswered=1.0)
        assert (await client.post("/", content=_BODY)).status_code == 502
        assert function.bodies == [_BODY]
        assert [passed.fault for passed in gateway.passed] == ["unanswered"]


async def test_shares_are_kept() -> None:
    injector = FaultInjector(seed=1)
    injector.faults = BAD_DAY
    all_drawn = [injector.draw() for _ in range(5_000)]
    drawn = [injected for injected in all_drawn if injected is not None]
    assert len(drawn) == len(all_drawn)
    assert 0.08 < sum(injected.lost for injected in drawn) / len(drawn) < 0.12
    assert all(injected.copy_after_s is not None for injected in drawn)
    assert max(injected.late_s for injected in drawn) <= BAD_DAY.late_s
    assert len({injected.late_s for injected in drawn}) > 4_000
    injector.faults = NONE
    assert injector.draw() is None


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_only_posts_are_webhooks(method: str) -> None:
    async with _way() as (client, gateway, _function):
        gateway.injector.faults = Faults(lost=1.0)
        assert (await client.request(method, "/")).status_code in {200, 405}


async def test_tasks_and_sweeps_are_left_alone() -> None:
    """Their senders have faults of their own."""
    async with _way(webhook=False) as (client, gateway, function):
        gateway.injector.faults = Faults(lost=1.0, twice=1.0)
        assert (await client.post("/", content=_BODY)).status_code == 200
        await gateway.idle()
        assert function.bodies == [_BODY]


@pytest.mark.parametrize(
    "wrong", [{"twice": 1.1}, {"lost": -0.1}, {"late_s": -1.0}, {"flooded": 2.0}, {"refused": 1.1}, {"slow_s": -1.0}]
)
def test_shares_are_shares(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Faults(**wrong)


async def test_under_a_bad_day_telegram_still_delivers_all_each_queue_in_order_and_queues_reorder() -> None:
    """10 % lost, 10 % unanswered, all late: at least once, in order within a person, out of order between people."""
    telegram = Telegram("42:TEST", "atlas_local_bot", Clock(), timing=Timing(backoff=0.001))
    api = Server(telegram.app)
    await api.start()
    await telegram.start()
    async with _way() as (client, gateway, function):
        gateway.injector.faults = Faults(twice=0.0, lost=0.1, unanswered=0.1, late_s=0.05)
        arguments = {"url": str(client.base_url), "secret_token": "s", "max_connections": 40}
        set_up = await client.post(f"{api.url}/bot42:TEST/setWebhook", json=arguments)
        assert set_up.json()["ok"], set_up.text
        sent: dict[int, list[int]] = {}
        for _ in range(5):
            for number in range(10):
                sent.setdefault(number, []).append(await telegram.user(1001 + number).send("hello"))
        await telegram.idle(30)
        arrived = list(dict.fromkeys(function.update_ids))
        assert sorted(arrived) == sorted(update_id for ids in sent.values() for update_id in ids)
        for ids in sent.values():
            assert [update_id for update_id in arrived if update_id in ids] == ids
        assert arrived != sorted(arrived), "no queue overtook another"
        assert len(function.update_ids) > len(arrived), "nothing was sent again"
    await telegram.stop()
    await api.stop()
    telegram.close()


async def test_flooded_calls_are_answered_as_flood_control_does() -> None:
    telegram = Telegram("42:TEST", "atlas_local_bot", Clock())
    api = Server(telegram.app)
    await api.start()
    await telegram.user(1001).send("hello")
    telegram.faults.flooded = 0.5
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        call = {"chat_id": 1001, "text": "hi"}
        answers = await asyncio.gather(
            *(client.post(f"{api.url}/bot42:TEST/sendMessage", json=call) for _ in range(200))
        )
    refused = [answer for answer in answers if answer.status_code == 429]
    assert 60 < len(refused) < 140
    assert all(answer.headers["Retry-After"] == "1" for answer in refused)
    assert refused[0].json() == {
        "ok": False,
        "error_code": 429,
        "description": "Too Many Requests: retry after 1",
        "parameters": {"retry_after": 1},
    }
    written = [message for message in telegram.user(1001).messages if message["from"]["is_bot"]]
    assert len(written) == 200 - len(refused)
    await api.stop()
    telegram.close()


async def _talk(faults: dict[str, float], seed: int, calls: int) -> tuple[Telegram, list[httpx.Response]]:
    """So many messages to one chat, one after the other, with these faults on."""
    telegram = Telegram("42:TEST", "atlas_local_bot", Clock())
    await telegram.user(1001).send("hello")
    telegram.faults.dice.seed(seed)
    for name, value in faults.items():
        setattr(telegram.faults, name, value)
    transport = httpx.ASGITransport(telegram.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        call = {"chat_id": 1001, "text": "hi"}
        answers = [await client.post("/bot42:TEST/sendMessage", json=call) for _ in range(calls)]
        assert (await client.post("/bot42:TEST/getMe")).status_code == 200, (
            "what says nothing to a customer is left alone"
        )
    return telegram, answers


async def test_refusals_are_of_the_documented_and_of_unknown_texts_and_nothing_of_them_is_done() -> None:
    telegram, answers = await _talk({"refused": 0.5}, 1, 400)
    refused = [answer for answer in answers if answer.status_code != 200]
    assert 120 < len(refused) < 280
    texts = {refusal.description for refusal in DOCUMENTED}
    said = {answer.json()["description"] for answer in refused}
    assert len(said & texts) > 20
    assert len(said - texts) > 20
    assert all(answer.json()["error_code"] == answer.status_code for answer in refused)
    assert any("migrate_to_chat_id" in answer.json().get("parameters", {}) for answer in refused)
    written = [message for message in telegram.user(1001).messages if message["from"]["is_bot"]]
    assert len(written) == 400 - len(refused)
    telegram.close()


async def test_the_same_seed_refuses_the_same_again() -> None:
    first, again = [(await _talk({"refused": 0.5, "flooded": 0.2}, 3, 50))[1] for _ in range(2)]
    assert [answer.status_code for answer in first] == [answer.status_code for answer in again]


async def test_an_answer_pauses_before_it_begins_and_in_its_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[Any] = []
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        happened.append("pause")
        slept.append(seconds)

    async def send(message: Message) -> None:
        happened.append(message.get("body", message.get("status")))

    monkeypatch.setattr(pauses, "asyncio", SimpleNamespace(sleep=sleep))
    longest_s = 3.0
    slow = pauses.Pauses(Response(b"abcd"), longest_s=lambda: longest_s, dice=lambda: random.Random(1))  # noqa: S311 -- the same each time
    await slow({"type": "http"}, cast("Any", None), send)
    assert happened == ["pause", 200, b"ab", "pause", b"cd"]
    assert all(0 < seconds < 3 for seconds in slept)
    longest_s, happened[:] = 0, []
    await slow({"type": "http"}, cast("Any", None), send)
    assert happened == [200, b"abcd"]
