"""The chat page's API: what it shows, what it does, and whom it refuses."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.telegram.chat_page import PAGE
from tests.sandbox_telegram.conftest import png

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.sandbox_telegram.conftest import Bench

BUTTONS = {"inline_keyboard": [[{"text": "Go", "callback_data": "go"}]]}


async def act(bench: Bench, path: str, body: Any, status: int = 200) -> dict[str, Any]:
    response = await bench.client.post(f"{bench.url}/chat/api/{path}", json=body)
    assert response.status_code == status, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def states(bench: Bench, user_id: int) -> AsyncIterator[dict[str, Any]]:
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
        assert [message["text"] for message in first["chat"]["messages"]] == ["/start"]
        assert first["users"][0]["last"] == "/start"
        sent = (await bench.call("sendMessage", chat_id=777, text="one", reply_markup=BUTTONS))["result"]
        assert (await anext(stream))["chat"]["messages"][-1]["text"] == "one"
        await bench.call(
            "editMessageText", chat_id=777, message_id=sent["message_id"], text="two", reply_markup=BUTTONS
        )
        assert (await anext(stream))["chat"]["messages"][-1]["text"] == "two"
        query_id = await anna.click(sent["message_id"], "Go")
        await bench.call("answerCallbackQuery", callback_query_id=query_id, text="done")
        assert (await anext(stream))["chat"]["answers"][-1]["text"] == "done"
        await bench.call("sendChatAction", chat_id=777, action="typing")
        assert (await anext(stream))["chat"]["action"] == "typing"
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator, typed as what a reader needs


async def test_open_streams_end_with_the_stand_in(bench: Bench) -> None:
    stream = states(bench, 0)
    async with asyncio.timeout(5):
        assert (await anext(stream))["chat"] is None
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
    assert traffic["calls"][0]["method"] == "sendPhoto"
    assert traffic["deliveries"][0]["status"] == 200


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
        ("users/1/send", {"text": "nobody"}),
        ("users/777/send", {"text": " "}),
        ("users/777/click", {"message_id": "1", "data": "x"}),
        ("users/777/dance", {}),
    ],
)
async def test_nonsense_is_refused_with_a_reason(bench: Bench, path: str, body: Any) -> None:
    bench.telegram.user(777)
    assert (await act(bench, path, body, status=400))["error"]


async def test_the_page_is_served_without_anything_from_elsewhere(bench: Bench) -> None:
    redirect = await bench.client.get(f"{bench.url}/chat")
    assert (redirect.status_code, redirect.headers["location"]) == (307, "/chat/")
    for name in ("", "chat.js", "chat.css"):
        response = await bench.client.get(f"{bench.url}/chat/{name}")
        assert response.status_code == 200
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert not re.search(r"(?:src|href|url\()\s*=?\s*[\"'(]?(?:https?:)?//", response.text)
    assert (await bench.client.get(f"{bench.url}/chat/../stand_in.py")).status_code == 404
    assert (await bench.client.get(f"{bench.url}/chat/index.html")).status_code == 404


def test_the_page_never_writes_markup() -> None:
    script = (PAGE / "chat.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)


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
