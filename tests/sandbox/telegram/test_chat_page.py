"""The chat page's API: what it shows, what it does, and whom it refuses."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.responses import JSONResponse

from sandbox.stand_in.clock import Clock
from sandbox.state.home import Home
from sandbox.system.messenger import StandIn
from sandbox.telegram.chat_page import MODULES, PAGE, STYLES
from sandbox.telegram.inspection import trace
from tests.sandbox.telegram.conftest import TOKEN, png

if TYPE_CHECKING:
    import pathlib
    from collections.abc import AsyncIterator

    from starlette.responses import Response

    from tests.sandbox.telegram.conftest import Bench

BUTTONS = {"inline_keyboard": [[{"text": "Go", "callback_data": "go"}]]}


async def act(bench: Bench, path: str, body: Any, status: int = 200) -> dict[str, Any]:
    response = await bench.client.post(f"{bench.url}/chat/api/{path}", json=body)
    assert response.status_code == status, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def states(bench: Bench, user_id: int | str) -> AsyncIterator[dict[str, Any]]:
    async with bench.client.stream("GET", f"{bench.url}/chat/api/events?user={user_id}") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                yield json.loads(line[6:])


async def test_a_whole_chat_through_the_page(bench: Bench) -> None:
    await bench.set_webhook()
    user_id = (await act(bench, "users", {"first_name": "<b>Eve</b>", "language_code": "en"}))["id"]
    await act(bench, f"users/{user_id}/send", {"text": "/start r_abc"})
    await bench.telegram.idle()
    message = bench.hook.updates[-1]["message"]
    assert (message["text"], message["from"]["language_code"]) == ("/start r_abc", "en")
    sent = (await bench.call("sendMessage", chat_id=user_id, text="hi", reply_markup=BUTTONS))["result"]
    clicked = await act(bench, f"users/{user_id}/click", {"message_id": sent["message_id"], "data": "go"})
    await bench.telegram.idle()
    assert bench.hook.updates[-1]["callback_query"]["id"] == clicked["query_id"]
    await act(bench, f"users/{user_id}/block", {})
    assert bench.telegram.user(user_id).account.blocked
    await act(bench, f"users/{user_id}/block", {}, status=400)
    await act(bench, f"users/{user_id}/unblock", {})
    await act(bench, f"users/{user_id}/delete", {})
    assert bench.telegram.user(user_id).account.deleted


async def test_changes_are_pushed(bench: Bench) -> None:
    anna = bench.telegram.user(777, "Anna")
    await anna.send("/start")
    stream = states(bench, 777)
    async with asyncio.timeout(5):
        first = await anext(stream)
        assert [message["text"] for message in first["chats"]["777"]["messages"]] == ["/start"]
        assert first["users"][0]["last"] == "/start"
        sent = (await bench.call("sendMessage", chat_id=777, text="one", reply_markup=BUTTONS))["result"]
        assert (await anext(stream))["chats"]["777"]["messages"][-1]["text"] == "one"
        await bench.call(
            "editMessageText", chat_id=777, message_id=sent["message_id"], text="two", reply_markup=BUTTONS
        )
        assert (await anext(stream))["chats"]["777"]["messages"][-1]["text"] == "two"
        query_id = await anna.click(sent["message_id"], "Go")
        await bench.call("answerCallbackQuery", callback_query_id=query_id, text="done")
        assert (await anext(stream))["chats"]["777"]["answers"][-1]["text"] == "done"
        await bench.call("sendChatAction", chat_id=777, action="typing")
        assert (await anext(stream))["chats"]["777"]["action"] == "typing"
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator, typed as what a reader needs


async def test_open_streams_end_with_the_stand_in(bench: Bench) -> None:
    stream = states(bench, 0)
    async with asyncio.timeout(5):
        assert (await anext(stream))["chats"] == {}
        await bench.telegram.stop()
        assert [state async for state in stream] == []


async def test_photos_and_traffic_are_shown(bench: Bench) -> None:
    await bench.set_webhook()
    await bench.telegram.user(777).send("a")
    await bench.telegram.idle()
    file_id = (await bench.send_photo(png(), chat_id="777"))["result"]["photo"][-1]["file_id"]
    photo = await bench.client.get(f"{bench.url}/chat/api/photo/{file_id}")
    assert (photo.content, photo.headers["content-type"]) == (png(), "image/png")
    traffic = (await bench.client.get(f"{bench.url}/chat/api/traffic")).json()
    update = traffic["entries"][0]
    assert (update["kind"], update["title"], update["user"], update["state"]) == ("message", "a", 777, "delivered")
    assert [attempt["status"] for attempt in update["attempts"]] == [200]
    assert [call["method"] for call in update["calls"]] == ["sendPhoto"]


async def test_a_sent_file_is_saved_and_never_opened_as_a_page(bench: Bench) -> None:
    await bench.telegram.user(777).send("a")
    url = f"{bench.url}/bot{TOKEN}/sendDocument"
    attack = b"<script>alert(1)</script>"
    upload = {"document": ("a.html", attack, "text/html")}
    sent = (await bench.client.post(url, data={"chat_id": "777"}, files=upload)).json()["result"]["document"]
    saved = await bench.client.get(f"{bench.url}/chat/api/file/{sent['file_id']}")
    assert saved.content == attack
    assert saved.headers["content-type"] == "application/octet-stream"
    assert saved.headers["content-disposition"] == "attachment"
    assert "sandbox" in saved.headers["content-security-policy"]
    assert (await bench.client.get(f"{bench.url}/chat/api/file/none")).status_code == 404


async def test_calls_are_shown_near_the_update_they_answer(bench: Bench) -> None:
    async def answer(update: dict[str, Any]) -> Response:
        if "callback_query" in update:
            await bench.call("answerCallbackQuery", callback_query_id=update["callback_query"]["id"])
        return JSONResponse({"method": "sendMessage", "chat_id": 777, "text": "of the response"})

    bench.hook.answer = answer
    await bench.set_webhook()
    anna = bench.telegram.user(777, "Anna")
    await anna.send("one")
    await bench.telegram.idle()
    sent = (await bench.call("sendMessage", chat_id=777, text="two", reply_markup=BUTTONS))["result"]
    await anna.click(sent["message_id"], "Go")
    await bench.telegram.idle()
    bench.clock.travel(timedelta(minutes=5))
    await bench.call("sendMessage", chat_id=777, text="much later")
    await bench.call("sendMessage", chat_id=1, text="to no user")
    alone, late, click, message, *_ = trace(bench.telegram)["entries"]
    assert [(call["method"], call["in_response"]) for call in message["calls"]] == [
        ("sendMessage", True),
        ("sendMessage", False),
    ]
    assert [(call["method"], call["in_response"]) for call in click["calls"]] == [
        ("answerCallbackQuery", False),
        ("sendMessage", True),
    ]
    assert (late["kind"], late["calls"][0]["params"]["text"], late["failed"]) == ("", "much later", False)
    assert (alone["user"], alone["failed"], alone["calls"][0]["code"]) == (1, True, 400)


async def test_the_local_system_tells_the_page_what_to_frame_and_who_is_an_admin(tmp_path: pathlib.Path) -> None:
    home = Home(tmp_path)
    home.take()
    stand_in = StandIn(home, Clock())
    await stand_in.open(framed=("http://127.0.0.1:8082",), admins=frozenset({1002}))
    try:
        stand_in.telegram.user(1002, "Boris")
        async with httpx.AsyncClient(trust_env=False) as client:
            page = await client.get(f"{stand_in.api_base}/chat/")
            assert "frame-src http://127.0.0.1:8082;" in page.headers["content-security-policy"]
            async with client.stream("GET", f"{stand_in.api_base}/chat/api/events") as events:
                line = await anext(line async for line in events.aiter_lines() if line.startswith("data: "))
        state = json.loads(line[6:])
        assert (state["framed"], state["users"][0]["admin"]) == (["http://127.0.0.1:8082"], True)
    finally:
        await stand_in.stop()
        home.let_go()


async def test_an_open_inspector_is_told_of_what_moves_no_chat(bench: Bench) -> None:
    url = f"{bench.url}/chat/api/events?user=&traffic=1"
    async with asyncio.timeout(5), bench.client.stream("GET", url) as response:
        lines = response.aiter_lines()
        async for line in lines:
            if line == "event: traffic":
                break
        await bench.call("getMe")
        async for line in lines:
            if line.startswith("data: ") and "getMe" in line:
                assert json.loads(line[6:])["entries"][0]["calls"][0]["method"] == "getMe"
                break


async def test_an_invoice_is_paid_and_a_person_starts_again(bench: Bench) -> None:
    async def answer(update: dict[str, Any]) -> Response:
        query = update.get("pre_checkout_query", {})
        return JSONResponse(
            {"method": "answerPreCheckoutQuery", "pre_checkout_query_id": query["id"], "ok": True} if query else {}
        )

    bench.hook.answer = answer
    await bench.set_webhook()
    bench.telegram.admins = frozenset({777})
    user = bench.telegram.user(777, "Anna")
    await act(bench, "users/777/start", {"payload": "r_abc"})
    assert user.messages[-1]["text"] == "/start r_abc"
    await act(bench, "users/777/block", {})
    await act(bench, "users/777/start", {})
    assert (user.messages[-1]["text"], user.account.blocked) == ("/start", False)
    offer = {
        "title": "t",
        "description": "d",
        "payload": "p",
        "currency": "XTR",
        "prices": [{"label": "l", "amount": 7}],
    }
    sent = (await bench.call("sendInvoice", chat_id=777, **offer))["result"]
    paid = await act(bench, "users/777/pay", {"message_id": sent["message_id"], "charges": 2})
    assert (paid["status"], len(set(paid["charge_ids"]))) == ("paid", 2)
    link = (await bench.call("createInvoiceLink", **offer))["result"]
    shown = await bench.client.get(f"{bench.url}/chat/api/invoice", params={"link": link})
    assert (shown.json()["title"], shown.json()["total_amount"]) == ("t", 7)
    assert (await act(bench, "users/777/pay", {"link": link}))["status"] == "paid"
    assert (await bench.client.get(f"{bench.url}/chat/api/invoice?link=x")).status_code == 404
    stream = states(bench, 777)
    (person,) = (await anext(stream))["users"]
    assert (person["stars"], person["admin"], person["last"]) == (10_000 - 21, True, "Payment")
    await stream.aclose()  # type: ignore[attr-defined]  # as above


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
    ],
)
async def test_only_this_machine_may_use_the_page(bench: Bench, headers: dict[str, str], status: int) -> None:
    response = await bench.client.get(f"{bench.url}/chat/api/traffic", headers=headers)
    assert response.status_code == status
    posted = await bench.client.post(f"{bench.url}/chat/api/users", json={"first_name": "A"}, headers=headers)
    assert posted.status_code == status
    assert len(bench.telegram.users) == (status == 200)


async def test_its_own_origin_is_welcome_and_only_json_is(bench: Bench) -> None:
    url = f"{bench.url}/chat/api/users"
    own = await bench.client.post(url, json={"first_name": "A"}, headers={"Origin": bench.url})
    assert own.status_code == 200
    simple = await bench.client.post(url, content=b'{"first_name": "A"}', headers={"Content-Type": "text/plain"})
    assert simple.status_code == 415


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("users", {"first_name": " "}),
        ("users", {"first_name": 5}),
        ("users", []),
        ("users/1/send", {"text": "no one there"}),
        ("users/777/send", {"text": " "}),
        ("users/777/click", {"message_id": "1", "data": "x"}),
        ("users/777/dance", {}),
        ("users/777/edit", {"text": "no message"}),
        ("users/777/erase", {"message_id": 1}),
        ("users/777/pay", {}),
        ("users/777/pay", {"message_id": 1}),
        ("users/777/pay", {"message_id": 1, "charges": 3}),
        ("users/777/pay", {"link": "https://t.me/$nothing"}),
    ],
)
async def test_nonsense_is_refused_with_a_reason(bench: Bench, path: str, body: Any) -> None:
    bench.telegram.user(777)
    assert (await act(bench, path, body, status=400))["error"]


@pytest.mark.parametrize(
    ("action", "raw"),
    [
        ("pay", '{"message_id": 1, "charges": []}'),
        ("pay", '{"message_id": 1, "charges": 1.0}'),
        ("pay", '{"message_id": 1, "method": []}'),
        ("pay", '{"message_id": 1, "method": {}}'),
        ("pay", '{"link": "https://t.me/$\\ud800"}'),
        ("send", '{"text": "\\ud800"}'),
        ("start", '{"payload": "\\ud800"}'),
        ("edit", '{"message_id": 1, "text": "\\ud800"}'),
        ("send", "[" * 100_000),
    ],
)
async def test_what_no_page_of_ours_sends_is_refused_too(bench: Bench, action: str, raw: str) -> None:
    await bench.telegram.user(777, "Anna").send("hello")
    url, headers = f"{bench.url}/chat/api/users/777/{action}", {"Content-Type": "application/json"}
    response = await bench.client.post(url, content=raw, headers=headers)
    assert (response.status_code, bool(response.json()["error"])) == (400, True)


async def test_the_page_is_served_without_anything_from_elsewhere(bench: Bench) -> None:
    redirect = await bench.client.get(f"{bench.url}/chat")
    assert (redirect.status_code, redirect.headers["location"]) == (307, "/chat/")
    for name in ("", *MODULES, *STYLES):
        response = await bench.client.get(f"{bench.url}/chat/{name}")
        assert response.status_code == 200
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert not re.search(r"(?:src|href|url\()\s*=?\s*[\"'(]?(?:https?:)?//", response.text)
    assert (await bench.client.get(f"{bench.url}/chat/../stand_in.py")).status_code == 404
    assert (await bench.client.get(f"{bench.url}/chat/index.html")).status_code == 404


async def test_only_the_pages_that_are_named_may_be_framed(bench: Bench) -> None:
    async def policy() -> str:
        return (await bench.client.get(f"{bench.url}/chat/")).headers["content-security-policy"]

    assert "frame-src 'none';" in await policy()
    bench.telegram.framed = ("http://127.0.0.1:8082",)
    assert "frame-src http://127.0.0.1:8082;" in await policy()


def test_every_module_of_the_page_is_served_and_writes_no_markup() -> None:
    assert {path.name for path in PAGE.glob("*.js")} == set(MODULES)
    assert {path.name for path in PAGE.glob("*.css")} == set(STYLES)
    for name in MODULES:
        script = (PAGE / name).read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script), name


async def test_what_was_waited_for_is_returned_or_the_chat_is_shown(bench: Bench) -> None:
    anna = bench.telegram.user(777, "Anna")
    await anna.send("/start")
    waiting = asyncio.create_task(anna.wait_for(lambda messages: [one for one in messages if one["text"] == "key"]))
    await bench.call("sendMessage", chat_id=777, text="wait", reply_markup=BUTTONS)
    await bench.call("sendMessage", chat_id=777, text="key")
    assert [message["text"] for message in await waiting] == ["key"]
    assert len(await anna.wait_for(lambda messages: len(messages) == 3)) == 3
    with pytest.raises(AssertionError, match=r"Atlas: wait \[Go\]"):
        await anna.wait_for(lambda messages: len(messages) == 4, timeout=0.05)


@pytest.mark.parametrize("asked", ["9" * 5000, "-", "%D9%A1", "1e3", ",,1,"])
async def test_a_stream_for_an_unknown_user_is_a_stream(bench: Bench, asked: str) -> None:
    assert (await anext(states(bench, asked)))["chats"] == {}
