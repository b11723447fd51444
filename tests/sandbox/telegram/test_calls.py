"""What the server takes and what it refuses, with its own words, over plain HTTP."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.telegram.chats.editing import NOT_MODIFIED
from tests.sandbox.telegram.conftest import TOKEN, png
from tests.waiting import until

if TYPE_CHECKING:
    from tests.sandbox.telegram.conftest import Bench

TOO_OLD = "Bad Request: query is too old and response timeout expired or query ID is invalid"


def keyboard(*buttons: dict[str, Any]) -> dict[str, Any]:
    return {"inline_keyboard": [list(buttons)]}


async def started(bench: Bench, user_id: int = 777) -> int:
    await bench.telegram.user(user_id, "Anna").send("/start")
    return user_id


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"chat_id": 777}, "message text is empty"),
        ({"text": "a"}, "chat_id is empty"),
        ({"chat_id": 5, "text": "a"}, "chat not found"),
        ({"chat_id": "@nobody", "text": "a"}, "chat not found"),
        ({"chat_id": 777, "text": "   "}, "text must be non-empty"),
        ({"chat_id": 777, "text": "<b> </b>", "parse_mode": "HTML"}, "text must be non-empty"),
        ({"chat_id": 777, "text": "x" * 4097}, "message is too long"),
        ({"chat_id": 777, "text": "x" * 32769}, "text is too long"),
        ({"chat_id": 777, "text": "a", "parse_mode": "BBCode"}, "unsupported parse_mode"),
        (
            {"chat_id": 777, "text": "1 < 2", "parse_mode": "HTML"},
            'can\'t parse entities: Unsupported start tag "" at byte offset 2',
        ),
        ({"chat_id": 777, "text": "a", "reply_markup": "{"}, "can't parse reply keyboard markup JSON object"),
        ({"chat_id": 777, "text": "a", "reply_markup": []}, "object expected as reply markup"),
        ({"chat_id": 777, "text": "a", "reply_markup": None}, "object expected as reply markup"),
        ({"chat_id": 777, "text": "a", "reply_parameters": None}, "object expected as reply parameters"),
        ({"chat_id": 777, "text": "a", "reply_parameters": {"x": 1}}, 'can\'t find field "message_id"'),
        (
            {"chat_id": 777, "text": "a", "reply_parameters": {"message_id": 999}},
            "message to be replied not found",
        ),
        ({"chat_id": 777, "text": "a", "business_connection_id": "x"}, "business connection not found"),
    ],
)
async def test_send_message_refuses(bench: Bench, parameters: dict[str, Any], reason: str) -> None:
    await started(bench)
    assert await bench.refusal("sendMessage", **parameters) == f"Bad Request: {reason}"


@pytest.mark.parametrize(
    ("button", "reason"),
    [
        ({"text": "a"}, "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard"),
        (
            {"text": "a", "callback_data": ""},
            "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
        ),
        ({"callback_data": "a"}, "can't parse inline keyboard button: Can't find field \"text\""),
        ({"text": "a", "callback_data": "x" * 65}, "BUTTON_DATA_INVALID"),
        ({"text": "a", "callback_data": "я" * 33}, "BUTTON_DATA_INVALID"),
        (
            {"text": "a", "url": "vless://u@h.c"},
            "inline keyboard button URL 'vless://u@h.c' is invalid: Unsupported URL protocol",
        ),
        (
            {"text": "a", "url": "https://localhost"},
            "inline keyboard button URL 'https://localhost' is invalid: Wrong HTTP URL",
        ),
        (
            {"text": "a", "web_app": {"url": "http://a.com"}},
            "inline keyboard button Web App URL 'http://a.com' is invalid: Only HTTPS links are allowed",
        ),
        ({"text": "a", "copy_text": {"text": ""}}, "BUTTON_COPY_TEXT_INVALID"),
        ({"text": "a", "copy_text": {"text": "x" * 257}}, "BUTTON_COPY_TEXT_INVALID"),
        ({"text": "a", "pay": True}, "BUTTON_TYPE_INVALID"),
        ("a", "can't parse inline keyboard button: InlineKeyboardButton must be an Object"),
    ],
)
async def test_buttons_are_refused(bench: Bench, button: dict[str, Any], reason: str) -> None:
    await started(bench)
    refusal = await bench.refusal("sendMessage", chat_id=777, text="a", reply_markup=keyboard(button))
    assert refusal == f"Bad Request: {reason}"


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (1, 'field "inline_keyboard" must be of type Array'),
        ([1], 'field "inline_keyboard" of the InlineKeyboardMarkup must be an Array of Arrays'),
        ([[{"text": "a", "callback_data": "a"}] * 9], "reply markup is too long"),
        ([[{"text": "a", "callback_data": "a"}]] * 101, "reply markup is too long"),
        ([[{"text": "a" * 200, "callback_data": "a"}]] * 60, "reply markup is too long"),
    ],
)
async def test_keyboards_are_refused(bench: Bench, rows: Any, reason: str) -> None:
    await started(bench)
    refusal = await bench.refusal("sendMessage", chat_id=777, text="a", reply_markup={"inline_keyboard": rows})
    assert refusal == f"Bad Request: {reason}"


async def test_limits_are_reached_exactly(bench: Bench) -> None:
    await started(bench)
    buttons = keyboard(
        {"text": "a", "callback_data": "x" * 64},
        {"text": "b", "copy_text": {"text": "😀" * 256}},
        {"text": "c", "url": "http://127.0.0.1:8099/pay"},
        {"text": "d", "callback_data": "d", "style": "danger"},
        {"text": "e", "disabled": {}},
    )
    body = await bench.call("sendMessage", chat_id=777, text="😀" * 4096, reply_markup=buttons)
    assert body["ok"], body
    assert body["result"]["reply_markup"] == buttons
    assert len(body["result"]["text"]) == 4096


async def test_message_ids_ascend_and_the_chat_shows_what_was_sent(bench: Bench) -> None:
    await started(bench)
    anna = bench.telegram.user(777)
    first = await bench.call("sendMessage", chat_id=777, text="<b>one</b> & two", parse_mode="html")
    second = await bench.call("sendMessage", chat_id=777, text="two")
    assert anna.messages[0]["message_id"] < first["result"]["message_id"] < second["result"]["message_id"]
    assert [message["text"] for message in anna.messages] == ["/start", "one & two", "two"]
    assert first["result"]["entities"] == [{"type": "bold", "offset": 0, "length": 3}]
    assert first["result"]["from"]["is_bot"] is True


async def test_edits_replace_what_is_shown(bench: Bench) -> None:
    await started(bench)
    anna = bench.telegram.user(777)
    buttons = keyboard({"text": "a", "callback_data": "a"})
    sent = (await bench.call("sendMessage", chat_id=777, text="one", reply_markup=buttons))["result"]
    place = {"chat_id": 777, "message_id": sent["message_id"]}
    same = await bench.refusal("editMessageText", text="one", reply_markup=buttons, **place)
    assert same == f"Bad Request: {NOT_MODIFIED}"
    edited = (await bench.call("editMessageText", text="two", **place))["result"]
    assert edited["text"] == "two"
    assert "reply_markup" not in edited
    assert edited["edit_date"] >= edited["date"] == sent["date"]
    await bench.call("editMessageReplyMarkup", reply_markup=buttons, **place)
    assert (anna.messages[-1]["text"], anna.messages[-1]["reply_markup"]) == ("two", buttons)
    assert (
        await bench.refusal("editMessageReplyMarkup", reply_markup=buttons, **place) == f"Bad Request: {NOT_MODIFIED}"
    )


async def test_edits_of_what_is_not_there_are_refused(bench: Bench) -> None:
    await started(bench)
    anna = bench.telegram.user(777)
    theirs = anna.messages[0]["message_id"]
    refused = [
        ({"chat_id": 777, "message_id": 10**6, "text": "a"}, "message to edit not found"),
        ({"chat_id": 777, "message_id": theirs, "text": "a"}, "message can't be edited"),
        ({"chat_id": 777, "text": "a"}, "message to edit not found"),
        ({"message_id": theirs, "text": "a"}, "chat_id is empty"),
        ({"text": "a"}, "message identifier is not specified"),
    ]
    for parameters, reason in refused:
        assert await bench.refusal("editMessageText", **parameters) == f"Bad Request: {reason}"
    photo = (await bench.send_photo(png(), chat_id="777", caption="c"))["result"]
    text = (await bench.call("sendMessage", chat_id=777, text="t"))["result"]
    wrong = await bench.refusal("editMessageText", chat_id=777, message_id=photo["message_id"], text="a")
    assert wrong == "Bad Request: there is no text in the message to edit"
    wrong = await bench.refusal("editMessageCaption", chat_id=777, message_id=text["message_id"], caption="a")
    assert wrong == "Bad Request: there is no caption in the message to edit"
    edited = await bench.call("editMessageCaption", chat_id=777, message_id=photo["message_id"], caption="new")
    assert edited["result"]["caption"] == "new"


async def test_deleting_works_for_48_hours(bench: Bench) -> None:
    await started(bench)
    anna = bench.telegram.user(777)
    first, second = [(await bench.call("sendMessage", chat_id=777, text=text))["result"]["message_id"] for text in "ab"]
    assert (await bench.call("deleteMessage", chat_id=777, message_id=first))["result"] is True
    assert first not in [message["message_id"] for message in anna.messages]
    again = await bench.refusal("deleteMessage", chat_id=777, message_id=first)
    assert again == "Bad Request: message to delete not found"
    bench.clock.travel(timedelta(hours=49))
    late = await bench.refusal("deleteMessage", chat_id=777, message_id=second)
    assert late == "Bad Request: message can't be deleted for everyone"


async def test_photos_are_read_and_can_be_sent_again(bench: Bench) -> None:
    await started(bench)
    picture = png(2000, 500)
    sent = (await bench.send_photo(picture, chat_id="777", caption="<code>k</code>", parse_mode="HTML"))["result"]
    assert [(size["width"], size["height"]) for size in sent["photo"]] == [(90, 22), (320, 80), (800, 200), (1280, 320)]
    assert sent["caption_entities"] == [{"type": "code", "offset": 0, "length": 1}]
    assert bench.telegram.user(777).messages[-1]["photo_bytes"] == picture
    file_id = sent["photo"][-1]["file_id"]
    file = (await bench.call("getFile", file_id=file_id))["result"]
    body = await bench.client.get(f"{bench.url}/file/bot{TOKEN}/{file['file_path']}")
    assert body.content == picture
    again = (await bench.call("sendPhoto", chat_id=777, photo=file_id))["result"]
    assert again["photo"] == sent["photo"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"not a picture", "IMAGE_PROCESS_FAILED"),
        (png()[:40], "IMAGE_PROCESS_FAILED"),
        (b"\xff\xd8\xff\xe0\x00\x04xx", "IMAGE_PROCESS_FAILED"),
        (png(2100, 100), "PHOTO_INVALID_DIMENSIONS"),
        (
            b"x" * (10 * 1024 * 1024 + 1),
            "file of size 10485761 bytes is too big for a photo; the maximum size is 10485760 bytes",
        ),
        (b"", "file must be non-empty"),
    ],
)
async def test_what_is_no_photo_is_refused(bench: Bench, body: bytes, reason: str) -> None:
    await started(bench)
    assert (await bench.send_photo(body, chat_id="777"))["description"] == f"Bad Request: {reason}"


async def test_photo_by_reference_is_checked(bench: Bench) -> None:
    await started(bench)
    assert await bench.refusal("sendPhoto", chat_id=777) == "Bad Request: there is no photo in the request"
    wrong = await bench.refusal("sendPhoto", chat_id=777, photo="AgACxx")
    assert wrong == "Bad Request: wrong file identifier/HTTP URL specified"
    long = await bench.send_photo(png(), chat_id="777", caption="x" * 1025)
    assert long["description"] == "Bad Request: message caption is too long"
    assert await bench.refusal("getFile", file_id="AgACxx") == "Bad Request: invalid file_id"


async def test_a_jpeg_is_measured_by_its_frame_header(bench: Bench) -> None:
    await started(bench)
    header = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffc0000b0800c8012c01011100ffd9")
    photo = (await bench.send_photo(header, chat_id="777"))["result"]["photo"]
    assert (photo[-1]["width"], photo[-1]["height"]) == (300, 200)


async def test_people_who_cannot_be_reached_answer_403(bench: Bench) -> None:
    anna = bench.telegram.user(777)
    hello = {"chat_id": 777, "text": "hello"}
    assert await bench.refusal("sendMessage", **hello) == "Forbidden: bot can't initiate conversation with a user"
    await anna.send("hi")
    anna.block()
    assert await bench.refusal("sendMessage", **hello) == "Forbidden: bot was blocked by the user"
    anna.unblock()
    assert (await bench.call("sendMessage", **hello))["ok"]
    anna.block()
    await anna.send("back again")
    assert (await bench.call("sendMessage", **hello))["ok"]
    anna.block()
    last = anna.messages[-1]["message_id"]
    assert (await bench.call("deleteMessage", chat_id=777, message_id=last))["ok"]  # hers, and she blocked the bot
    anna.delete_account()
    assert await bench.refusal("sendMessage", **hello) == "Forbidden: user is deactivated"
    for refusal in (
        await bench.refusal("deleteMessage", chat_id=777, message_id=1),
        await bench.refusal("deleteMessages", chat_id=777, message_ids=[1]),
    ):
        assert refusal == "Forbidden: user is deactivated"
    assert (
        await bench.refusal("sendMessage", chat_id=42, text="a") == "Forbidden: the bot can't send messages to the bot"
    )
    with pytest.raises(ValueError, match="deleted"):
        await anna.send("from beyond")


async def test_people_edit_and_delete(bench: Bench) -> None:
    await bench.set_webhook()
    anna = bench.telegram.user(777)
    await anna.send("/start")
    mine = anna.messages[0]["message_id"]
    sent = (await bench.call("sendMessage", chat_id=777, text="a"))["result"]["message_id"]
    update_id = anna.edit(mine, "/help now")
    await bench.telegram.idle()
    last = bench.hook.updates[-1]
    assert last["update_id"] == update_id
    assert last["edited_message"]["text"] == "/help now"
    assert last["edited_message"]["entities"] == [{"type": "bot_command", "offset": 0, "length": 5}]
    assert last["edited_message"]["edit_date"] >= last["edited_message"]["date"]
    with pytest.raises(ValueError, match="no text of theirs"):
        anna.edit(sent, "forged")
    anna.delete_message(sent)
    gone = {"chat_id": 777, "message_id": sent}
    assert await bench.refusal("editMessageText", text="b", **gone) == "Bad Request: message to edit not found"
    assert await bench.refusal("deleteMessage", **gone) == "Bad Request: message to delete not found"
    assert await bench.refusal("deleteMessage", chat_id=777) == "Bad Request: message identifier is not specified"
    assert await bench.refusal("deleteMessage", message_id=sent) == "Bad Request: chat identifier is not specified"
    with pytest.raises(ValueError, match="no message"):
        anna.delete_message(sent)


async def test_a_click_opens_the_bots_own_link_only(bench: Bench) -> None:
    await started(bench)
    anna = bench.telegram.user(777)
    query_id = await anna.click_raw(1, "x")
    for url in ("https://example.com/", "vless://x", "https://t.me/other_bot?start=a"):
        refusal = await bench.refusal("answerCallbackQuery", callback_query_id=query_id, url=url)
        assert refusal == "Bad Request: URL_INVALID"
    own = "https://t.me/atlas_local_bot?start=a"
    assert (await bench.call("answerCallbackQuery", callback_query_id=query_id, url=own))["ok"]
    assert anna.answers[-1].url == own


async def test_a_click_is_answered_once_and_in_time(bench: Bench) -> None:
    await started(bench)
    anna = bench.telegram.user(777)
    sent = await bench.call(
        "sendMessage", chat_id=777, text="a", reply_markup=keyboard({"text": "Go", "callback_data": "g"})
    )
    message_id = sent["result"]["message_id"]
    query_id = await anna.click(message_id, "Go")
    long = await bench.refusal("answerCallbackQuery", callback_query_id=query_id, text="x" * 201)
    assert long == "Bad Request: MESSAGE_TOO_LONG"
    answered = await bench.call("answerCallbackQuery", callback_query_id=query_id, text="done", show_alert=True)
    assert answered["result"] is True
    assert [(answer.text, answer.show_alert) for answer in anna.answers] == [("done", True)]
    assert (await anna.wait_for_answer(query_id)).text == "done"
    assert await bench.refusal("answerCallbackQuery", callback_query_id=query_id) == TOO_OLD
    assert await bench.refusal("answerCallbackQuery", callback_query_id="123") == TOO_OLD
    late = await anna.click(message_id, "g")
    bench.clock.travel(timedelta(seconds=20))
    assert await bench.refusal("answerCallbackQuery", callback_query_id=late) == TOO_OLD


async def test_a_pre_checkout_is_answered_within_ten_seconds(bench: Bench) -> None:
    def ask(query_id: str) -> None:
        sender = {"id": 777, "is_bot": False, "first_name": "Anna"}
        amount = {"currency": "XTR", "total_amount": 1, "invoice_payload": "p"}
        bench.telegram.inject({"pre_checkout_query": {"id": query_id, "from": sender, **amount}})

    ask("1")
    assert (await bench.call("answerPreCheckoutQuery", pre_checkout_query_id="1", ok=True))["result"] is True
    assert bench.telegram.checkout_answers == {"1": ""}
    assert await bench.refusal("answerPreCheckoutQuery", pre_checkout_query_id="1", ok=True) == TOO_OLD
    ask("2")
    bench.clock.travel(timedelta(seconds=11))
    assert await bench.refusal("answerPreCheckoutQuery", pre_checkout_query_id="2", ok=True) == TOO_OLD


async def test_commands_are_kept_by_scope_and_language(bench: Bench) -> None:
    listed = [{"command": "start", "description": "Start"}]
    assert (await bench.call("setMyCommands", commands=listed, language_code="en"))["result"] is True
    assert (await bench.call("getMyCommands", language_code="en"))["result"] == listed
    assert (await bench.call("getMyCommands"))["result"] == []
    assert bench.telegram.user(5, language_code="en").commands == listed
    assert bench.telegram.user(6, language_code="ru").commands == []
    for command, reason in [
        ("Start", "BOT_COMMAND_INVALID"),
        ("", "command must be non-empty"),
        ("a" * 33, "command length must not exceed 32"),
    ]:
        given = [{"command": command, "description": "x"}]
        assert await bench.refusal("setMyCommands", commands=given) == f"Bad Request: {reason}"


@pytest.mark.parametrize(
    ("scope", "reason"),
    [
        ("{", "can't parse BotCommandScope JSON object"),
        ([], "can't parse BotCommandScope: BotCommandScope must be an Object"),
        ({}, "can't parse BotCommandScope: Can't find field \"type\""),
        ({"type": "everybody"}, "can't parse BotCommandScope: Unsupported type specified"),
        ({"type": "chat"}, "can't parse BotCommandScope: Can't find field \"chat_id\""),
        ({"type": "chat", "chat_id": ""}, "can't parse BotCommandScope: Empty chat_id specified"),
        ({"type": "chat_member", "chat_id": 1}, "can't parse BotCommandScope: Can't find field \"user_id\""),
        (
            {"type": "chat_member", "chat_id": 1, "user_id": 0},
            "can't parse BotCommandScope: Invalid user_id specified",
        ),
        ({"type": "chat", "chat_id": 5}, "chat not found"),
        ({"type": "chat", "chat_id": 6}, "chat not found"),
    ],
)
async def test_commands_of_a_chat_need_a_chat(bench: Bench, scope: Any, reason: str) -> None:
    """One the bot knows: 5 is no user, and 6 never started it."""
    bench.telegram.user(6)
    for method in ("setMyCommands", "getMyCommands", "deleteMyCommands"):
        assert await bench.refusal(method, scope=scope) == f"Bad Request: {reason}"


async def test_a_chat_has_one_list_of_commands_however_it_is_named(bench: Bench) -> None:
    await started(bench)
    listed = [{"command": "stats", "description": "For admins"}]
    assert (await bench.call("setMyCommands", commands=listed, scope={"type": "chat", "chat_id": "777"}))["ok"]
    assert bench.telegram.user(777).commands == listed
    assert (await bench.call("getMyCommands", scope={"chat_id": 777, "type": "chat"}))["result"] == listed
    assert (await bench.call("setMyCommands", scope={"type": "chat", "chat_id": 777}))["ok"]
    assert bench.telegram.user(777).commands == []
    assert (
        await bench.refusal("setMyCommands", commands=[1]) == "Bad Request: can't parse BotCommand: expected an Object"
    )


async def test_an_empty_reply_is_none(bench: Bench) -> None:
    await started(bench)
    sent = (await bench.call("sendMessage", chat_id=777, text="a", reply_parameters={}))["result"]
    assert "reply_to_message" not in sent


async def test_a_number_is_read_as_the_server_reads_it(bench: Bench) -> None:
    """Nothing is the default, and what is no number is nought."""
    for text in "abc":
        await bench.telegram.user(777).send(text)
    assert len((await bench.call("getUpdates", limit=""))["result"]) == 3
    assert len((await bench.call("getUpdates", limit="many"))["result"]) == 1
    assert len((await bench.call("getUpdates", limit="2 or so"))["result"]) == 2


async def test_chat_actions_are_checked_and_shown(bench: Bench) -> None:
    await started(bench)
    assert (
        await bench.refusal("sendChatAction", chat_id=777, action="dance")
        == "Bad Request: wrong parameter action in request"
    )
    await bench.call("sendChatAction", chat_id=777, action="typing")
    assert bench.telegram.activity[777][0] == "typing"
    await bench.call("sendMessage", chat_id=777, text="done")
    assert 777 not in bench.telegram.activity
    await bench.call("sendChatAction", chat_id=777, action="Typing")
    assert (await bench.call("sendChatAction", chat_id=777, action="cancel"))["ok"]
    assert 777 not in bench.telegram.activity


@pytest.mark.parametrize(
    ("path", "code", "description"),
    [
        ("/bot43:OTHER/getMe", 401, "Unauthorized"),
        ("/botnonsense/getMe", 401, "Unauthorized: invalid token specified"),
        (f"/bot{TOKEN}/getEverything", 404, "Not Found: method not found"),
        ("/getMe", 404, "Not Found"),
        (f"/file/bot{TOKEN}/photos/none.png", 404, "Not Found"),
    ],
)
async def test_wrong_addresses_are_refused(bench: Bench, path: str, code: int, description: str) -> None:
    response = await bench.client.get(bench.url + path)
    assert response.status_code == code
    assert response.json() == {"ok": False, "error_code": code, "description": description}


async def test_what_is_not_modelled_is_no_success(bench: Bench) -> None:
    body = await bench.call("sendPoll", chat_id=777, question="?", options=[])
    assert (body["ok"], body["error_code"]) == (False, 501)
    assert "sendPoll" in body["description"]


async def test_arguments_come_any_way_and_unknown_ones_are_told_to_the_test(bench: Bench) -> None:
    await started(bench)
    url = f"{bench.url}/bot{TOKEN}/SENDMESSAGE"
    markup = json.dumps(keyboard({"text": "a", "callback_data": "a"}))
    given = {"chat_id": "777", "text": "a & b", "reply_markup": markup}
    for request in (
        bench.client.get(url, params=given),
        bench.client.post(url, data=given),
        bench.client.post(url, json=given | {"chat_id": 777}),
        bench.client.post(url, files={name: (None, value) for name, value in given.items()}),
    ):
        body = (await request).json()
        assert body["ok"], body
        assert body["result"]["text"] == "a & b"
        assert bench.telegram.calls[-1].unknown_parameters == []
        assert bench.telegram.calls[-1].params["reply_markup"] == json.loads(markup)
    assert (await bench.call("sendMessage", chat_id=777, text="a", txet="b"))["ok"]
    assert bench.telegram.calls[-1].unknown_parameters == ["txet"]
    await bench.call("sendMessage", text="a")
    assert bench.telegram.calls[-1].missing_parameters == ["chat_id"]
    assert (bench.telegram.calls[-1].code, bench.telegram.calls[-1].method) == (400, "sendMessage")


async def test_too_many_bytes_are_refused(bench: Bench) -> None:
    body = await bench.call("sendMessage", chat_id=777, text="x", reply_markup="y" * 1024 * 1024)
    assert (body["error_code"], body["description"]) == (413, "Request Entity Too Large")
    broken = await bench.client.post(
        f"{bench.url}/bot{TOKEN}/getMe", content=b"{", headers={"Content-Type": "application/json"}
    )
    assert broken.json()["description"] == "Bad Request: can't parse JSON object"


async def test_faults_come_when_asked_for(bench: Bench) -> None:
    await started(bench)
    bench.telegram.fail_next("sendMessage", 429, retry_after=3)
    url = f"{bench.url}/bot{TOKEN}/sendMessage"
    limited = await bench.client.post(url, json={"chat_id": 777, "text": "a"})
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "3")
    assert limited.json()["parameters"] == {"retry_after": 3}
    assert limited.json()["description"] == "Too Many Requests: retry after 3"
    bench.telegram.fail_next("*", 500, "Internal Server Error", times=2)
    assert [(await bench.call("getMe"))["ok"] for _ in range(3)] == [False, False, True]
    bench.telegram.fail_next("sendMessage", 502, "Bad Gateway", executed=True)
    await bench.refusal("sendMessage", chat_id=777, text="went through")
    assert bench.telegram.user(777).messages[-1]["text"] == "went through"


async def test_a_hanging_call_hangs_until_the_stand_in_stops(bench: Bench) -> None:
    bench.telegram.fail_next("getMe", "hang")
    call = asyncio.create_task(bench.call("getMe"))
    await until(lambda: bench.telegram.calls)
    assert (await bench.call("getMe"))["ok"]
    assert not call.done()
    await bench.telegram.stop()
    assert (await call)["error_code"] == 502
