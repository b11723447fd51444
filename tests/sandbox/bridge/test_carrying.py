"""Updates of the real Telegram reach the local webhook as Telegram would have sent them, each once, whatever breaks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from starlette.responses import JSONResponse, Response

from sandbox.bridge.inbox import Inbox
from sandbox.stand_in.clock import Clock
from sandbox.stand_in.faults import NONE, Faults
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.bridge.conftest import Near


async def test_a_message_arrives_with_the_secret_and_is_confirmed(near: Near) -> None:
    anna = near.far.telegram.user(1, "Anna")
    async with near.bridge() as bridge:
        await anna.send("/start")
        await until(lambda: near.function.updates)
        await bridge.idle(5)
        await until(lambda: not near.far.telegram.pending)
    assert near.function.texts() == ["/start"]
    assert near.function.secrets == ["webhook-secret"]
    assert next(iter(near.function.updates[0])) == "update_id"


async def test_one_queue_is_in_order_and_another_passes_by(near: Near) -> None:
    may_go_on = asyncio.Event()

    async def slow_for_anna(update: dict[str, Any]) -> Response:
        if update["message"]["text"] == "a1":
            await may_go_on.wait()
        return JSONResponse({})

    near.function.answer = slow_for_anna
    anna, boris = near.far.telegram.user(1, "Anna"), near.far.telegram.user(2, "Boris")
    async with near.bridge() as bridge:
        await boris.send("b0")
        await until(near.function.texts)
        await bridge.idle(5)  # the first success opens the other connections
        for sender, text in ((anna, "a1"), (anna, "a2"), (boris, "b1")):
            await sender.send(text)
        await until(lambda: "b1" in near.function.texts())
        assert near.function.texts() == ["b0", "a1", "b1"]
        may_go_on.set()
        await bridge.idle(5)
    assert near.function.texts() == ["b0", "a1", "b1", "a2"]


async def test_a_failed_delivery_is_repeated_with_the_same_body_before_the_next(near: Near) -> None:
    async def fails_twice(_update: dict[str, Any]) -> Response:
        return Response(status_code=503 if len(near.function.updates) < 3 else 200)

    near.function.answer = fails_twice
    anna = near.far.telegram.user(1, "Anna")
    async with near.bridge() as bridge:
        await anna.send("one")
        await anna.send("two")
        await until(lambda: "two" in near.function.texts())
        await bridge.idle(5)
    assert near.function.texts() == ["one", "one", "one", "two"]


async def test_a_call_in_the_answer_is_made_and_those_telegram_ignores_are_not(near: Near) -> None:
    answers: list[dict[str, Any]] = [
        {"method": "sendMessage", "chat_id": 1, "text": "hello"},
        {"method": "setWebhook", "url": "http://127.0.0.1:9/x"},
        {"method": "getMe"},
        {"method": "sendMessage", "chat_id": 1, "text": ""},
    ]

    async def next_answer(_update: dict[str, Any]) -> Response:
        return JSONResponse(answers[len(near.function.updates) - 1])

    near.function.answer = next_answer
    anna = near.far.telegram.user(1, "Anna")
    async with near.bridge() as bridge:
        for number in range(len(answers)):
            await anna.send(str(number))
        await until(lambda: len(near.function.updates) == len(answers))
        await bridge.idle(5)
    assert near.far.methods() == ["sendMessage", "sendMessage"]
    assert [message["text"] for message in anna.messages if message["from"]["is_bot"]] == ["hello"]
    kept = (near.folder / "logs" / "bridge.log").read_text()
    assert "setWebhook in a webhook response is ignored" in kept
    assert "message text is empty" in kept


async def test_a_call_in_the_answer_waits_out_flood_control(near: Near) -> None:
    async def hello(_update: dict[str, Any]) -> Response:
        return JSONResponse({"method": "sendMessage", "chat_id": 1, "text": "hello"})

    near.function.answer = hello
    anna = near.far.telegram.user(1, "Anna")
    near.far.telegram.fail_next("sendMessage", 429, retry_after=1)
    async with near.bridge() as bridge:
        await anna.send("x")
        await until(lambda: near.function.updates)
        await bridge.idle(5)
    assert [call.code for call in near.far.telegram.calls if call.method == "sendMessage"] == [429, 200]


async def test_what_was_fetched_is_delivered_by_the_next_run(near: Near) -> None:
    async def down(_update: dict[str, Any]) -> Response:
        return Response(status_code=503)

    near.function.answer = down
    anna = near.far.telegram.user(1, "Anna")
    async with near.bridge() as bridge:
        await anna.send("one")
        await anna.send("two")
        await until(lambda: bridge.undelivered == 2)
    assert near.far.telegram.pending == []  # the last thing it did was to confirm them
    near.function.answer = None
    near.function.updates.clear()
    async with near.bridge() as bridge:
        await bridge.idle(5)
    assert near.function.texts() == ["one", "two"]


async def test_the_real_one_takes_no_orders(near: Near) -> None:
    async with near.bridge() as bridge:
        bridge.spoil_calls(NONE)
        for faults in (Faults(flooded=0.05), Faults(refused=0.05), Faults(slow_s=1)):
            with pytest.raises(ValueError, match="can't be told"):
                bridge.spoil_calls(faults)


def test_a_batch_that_was_kept_and_not_confirmed_is_kept_once(tmp_path: Path) -> None:
    batch = [{"update_id": number, "message": {"chat": {"id": 1}, "text": str(number)}} for number in (7, 8)]
    first = Inbox(tmp_path / "inbox", Clock())
    assert first.take(batch) == 9
    first.close()
    second = Inbox(tmp_path / "inbox", Clock())
    second.take([*batch, {"update_id": 9, "message": {"chat": {"id": 1}, "text": "9"}}])
    assert [pending.update_id for pending in second.updates] == [7, 8, 9]
    second.close()


def test_half_a_batch_is_none(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox", Clock())
    with pytest.raises(KeyError):
        inbox.take([{"update_id": 1, "message": {}}, {"message": {}}])
    with pytest.raises(ZeroDivisionError), inbox._store.transaction():
        inbox.updates.put({"update_id": 1, "message": {}})
        raise ZeroDivisionError
    inbox.close()
    again = Inbox(tmp_path / "inbox", Clock())
    assert len(again.updates) == 0
    again.close()


async def test_what_cannot_be_kept_is_not_confirmed(near: Near, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    def full(_self: Inbox, _batch: object) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Inbox, "take", full)
    await near.far.telegram.user(1, "Anna").send("one")
    async with near.bridge() as bridge:
        assert "disk is full" in await asyncio.wait_for(bridge.ended(), 5)
    assert len(near.far.telegram.pending) == 1
    assert near.function.updates == []
