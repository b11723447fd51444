"""What the stand-in keeps over a restart, and what two of them do not share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from sandbox.telegram import Telegram
from tests.sandbox.telegram.conftest import SECRET, TOKEN, open_bench, png

if TYPE_CHECKING:
    import pathlib

    from tests.endpoint import Endpoint
    from tests.sandbox.telegram.conftest import Bench


async def test_everything_survives_a_restart(endpoints: tuple[Endpoint, Endpoint], tmp_path: pathlib.Path) -> None:
    store = tmp_path / "telegram.sqlite"
    buttons = {"inline_keyboard": [[{"text": "a", "callback_data": "a"}]]}
    async with open_bench(endpoints, store) as bench:
        anna = bench.telegram.user(777, "Anna", language_code="ru")
        await bench.set_webhook()
        await anna.send("/start")
        await bench.telegram.idle()

        async def fail(_update: dict[str, Any]) -> Response:
            return JSONResponse({}, 500)

        bench.hook.answer = fail
        sent = (await bench.call("sendMessage", chat_id=777, text="key", reply_markup=buttons))["result"]
        waiting = [await anna.send("first"), await anna.send("second")]
        bench.telegram.user(5, "Gone").delete_account()
        before, last = anna.messages, sent["message_id"]
    async with open_bench(endpoints, store) as bench:
        anna = bench.telegram.user(777)
        assert anna.account.first_name == "Anna"
        assert anna.messages == before
        await bench.telegram.idle()
        assert [update["update_id"] for update in bench.hook.updates] == waiting
        assert bench.hook.headers[0]["x-telegram-bot-api-secret-token"] == SECRET
        assert bench.telegram.user(5).account.deleted
        edited = await bench.call("editMessageText", chat_id=777, message_id=last, text="new key")
        assert edited["ok"], edited
        assert await anna.send("third") > max(waiting)
        assert anna.messages[-1]["message_id"] > before[-1]["message_id"]


async def test_a_store_keeps_photos(endpoints: tuple[Endpoint, Endpoint], tmp_path: pathlib.Path) -> None:
    store = tmp_path / "telegram.sqlite"
    async with open_bench(endpoints, store) as bench:
        await bench.telegram.user(777).send("a")
        sent = (await bench.send_photo(png(), chat_id="777"))["result"]
    async with open_bench(endpoints, store) as bench:
        assert bench.telegram.user(777).messages[-1]["photo_bytes"] == png()
        assert (await bench.call("sendPhoto", chat_id=777, photo=sent["photo"][-1]["file_id"]))["ok"]


async def test_two_stand_ins_with_no_store_share_nothing(bench: Bench) -> None:
    await bench.telegram.user(777).send("a")
    other = Telegram(token=TOKEN, bot_username="other_bot", clock=bench.clock)
    assert other.users == []
    other.close()
