"""A call inside the webhook's answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.responses import JSONResponse, Response

if TYPE_CHECKING:
    from tests.sandbox.telegram.conftest import Bench


@pytest.mark.parametrize("way", ["json", "form", "multipart"])
async def test_a_call_in_the_response_is_executed(bench: Bench, way: str) -> None:
    text = "<b>hi</b> & you"

    async def reply(_update: dict[str, Any]) -> Response:
        given = {"method": "sendMessage", "chat_id": "777", "text": text, "parse_mode": "HTML"}
        if way == "json":
            return JSONResponse(given | {"chat_id": 777})
        if way == "form":
            form = "method=sendMessage&chat_id=777&parse_mode=HTML&text=%3Cb%3Ehi%3C%2Fb%3E+%26+you"
            return Response(form, media_type="application/x-www-form-urlencoded")
        parts = "".join(f'--x\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in given.items())
        return Response(parts + "--x--\r\n", media_type="multipart/form-data; boundary=x")

    bench.hook.answer = reply
    await bench.set_webhook()
    anna = bench.telegram.user(777)
    await anna.send("/start")
    await bench.telegram.idle()
    assert [message["text"] for message in anna.messages] == ["/start", "hi & you"]
    call = bench.telegram.calls[-1]
    assert (call.method, call.code, call.in_response) == ("sendMessage", 200, True)
    assert bench.telegram.deliveries[-1].method == "sendMessage"


@pytest.mark.parametrize("method", ["getMe", "setWebhook", "deleteWebhook", "getUpdates", "logOut"])
async def test_some_calls_in_a_response_are_ignored(bench: Bench, method: str) -> None:
    async def reply(_update: dict[str, Any]) -> Response:
        return JSONResponse({"method": method, "url": "", "drop_pending_updates": True})

    bench.hook.answer = reply
    await bench.set_webhook()
    await bench.telegram.user(777).send("a")
    await bench.telegram.idle()
    call = bench.telegram.calls[-1]
    assert (call.in_response, call.code, call.description) == (True, 0, "ignored in a webhook response")
    assert (await bench.call("getWebhookInfo"))["result"]["url"] == bench.hook_url


@pytest.mark.parametrize("body", [b"", b"ok", b"{", b"[]", b"{}", b"\xff\xfe"])
async def test_any_other_body_of_a_2xx_is_just_delivered(bench: Bench, body: bytes) -> None:
    async def reply(_update: dict[str, Any]) -> Response:
        return Response(body, 202, media_type="application/json")

    bench.hook.answer = reply
    await bench.set_webhook()
    await bench.telegram.user(777).send("a")
    await bench.telegram.idle()
    assert [attempt.status for attempt in bench.telegram.deliveries] == [202]
    assert [call.method for call in bench.telegram.calls] == ["setWebhook"]


async def test_a_refused_call_in_a_response_is_recorded_only(bench: Bench) -> None:
    async def reply(_update: dict[str, Any]) -> Response:
        return JSONResponse({"method": "sendMessage", "chat_id": 1, "text": "a"})

    bench.hook.answer = reply
    await bench.set_webhook()
    await bench.telegram.user(777).send("a")
    await bench.telegram.idle()
    assert bench.telegram.calls[-1].description == "Bad Request: chat not found"
    assert [attempt.status for attempt in bench.telegram.deliveries] == [200]
