"""Chats and channels: what they are, who is in them, what is pinned; how the bot presents itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sandbox.telegram.protocol.method_table import methods
from tests.sandbox.telegram.conftest import open_bench
from tests.sandbox.telegram.test_payments import STARS, ready

if TYPE_CHECKING:
    import pathlib

    from tests.endpoint import Endpoint
    from tests.sandbox.telegram.conftest import Bench

NEWS = -1_001_234_567_890
ALL = ["message", "my_chat_member", "chat_member"]


async def statuses(bench: Bench, kind: str) -> list[tuple[int, str, str]]:
    """Whose membership changed, from what to what."""
    await bench.telegram.idle()
    changes = [update[kind] for update in bench.hook.updates if kind in update]
    return [
        (one["new_chat_member"]["user"]["id"], one["old_chat_member"]["status"], one["new_chat_member"]["status"])
        for one in changes
    ]


async def test_a_channel_tells_an_administrator_who_comes_and_goes(bench: Bench) -> None:
    await bench.set_webhook(allowed_updates=ALL)
    anna = bench.telegram.user(777, "Anna")
    news = bench.telegram.channel(NEWS, "News")
    assert anna.join(NEWS) == 0  # the bot is not there yet
    news.set_bot("administrator")
    anna.leave(NEWS)
    anna.join(NEWS)
    news.ban(anna.account)
    with pytest.raises(ValueError, match="kicked"):
        anna.join(NEWS)
    news.unban(anna.account)
    anna.join(NEWS)
    assert await statuses(bench, "my_chat_member") == [(42, "left", "administrator")]
    assert await statuses(bench, "chat_member") == [
        (777, "member", "left"),
        (777, "left", "member"),
        (777, "member", "kicked"),
        (777, "kicked", "left"),
        (777, "left", "member"),
    ]
    assert {attempt.queue for attempt in bench.telegram.deliveries} == {f"my_chat_member:{NEWS}", "member:777"}


async def test_membership_is_told_only_when_asked_for(bench: Bench) -> None:
    await bench.set_webhook()
    bench.telegram.channel(NEWS).set_bot("administrator")
    bench.telegram.user(777, "Anna").join(NEWS)
    assert await statuses(bench, "chat_member") == []
    assert await statuses(bench, "my_chat_member") == [(42, "left", "administrator")]


async def test_a_member_can_be_asked_for(bench: Bench) -> None:
    anna, boris = bench.telegram.user(777, "Anna"), bench.telegram.user(778, "Boris")
    news = bench.telegram.channel(NEWS, "News", username="atlas_news", owner=boris)
    news.set_bot("administrator")
    anna.join(NEWS)

    async def status(chat: int | str, user_id: int) -> Any:
        return (await bench.call("getChatMember", chat_id=chat, user_id=user_id))["result"]

    assert await status(NEWS, 777) == {"status": "member", "user": anna.account.user()}
    assert await status("@Atlas_News", 778) == {
        "status": "creator",
        "user": boris.account.user(),
        "is_anonymous": False,
    }
    assert (await status(NEWS, 42))["can_invite_users"] is True
    bench.telegram.user(779, "Vera")
    assert (await status(NEWS, 779))["status"] == "left"
    news.ban(anna.account)
    assert await status(NEWS, 777) == {"status": "kicked", "user": anna.account.user(), "until_date": 0}
    assert (await bench.call("getChatMemberCount", chat_id=NEWS))["result"] == 2
    listed = (await bench.call("getChatAdministrators", chat_id=NEWS))["result"]
    assert [(one["status"], one["user"]["id"]) for one in listed] == [("creator", 778), ("administrator", 42)]


async def test_a_channel_keeps_strangers_out(bench: Bench) -> None:
    bench.telegram.user(777, "Anna")
    news = bench.telegram.channel(NEWS, "News")
    ask = {"chat_id": NEWS, "user_id": 777}
    outside = "Forbidden: bot is not a member of the channel chat"
    assert await bench.refusal("getChatMember", **ask) == outside
    assert await bench.refusal("getChat", chat_id=NEWS) == outside
    news.set_bot("kicked")
    assert await bench.refusal("getChat", chat_id=NEWS) == "Forbidden: bot was kicked from the channel chat"
    public = bench.telegram.channel(NEWS - 1, "Open", username="open_news")
    assert (await bench.call("getChat", chat_id="@open_news"))["result"]["title"] == "Open"
    refusal = await bench.refusal("getChatMember", chat_id="@open_news", user_id=777)
    assert refusal == "Bad Request: member list is inaccessible"
    public.set_bot("administrator")
    for user_id, reason in [(0, "invalid user_id specified"), (999, "PARTICIPANT_ID_INVALID")]:
        refusal = await bench.refusal("getChatMember", chat_id="@open_news", user_id=user_id)
        assert refusal == f"Bad Request: {reason}"
    assert (await bench.call("leaveChat", chat_id="@open_news"))["result"] is True
    assert public.bot_status == "left"
    assert (await bench.call("sendMessage", chat_id="@open_news", text="a"))["error_code"] == 501
    assert await bench.refusal("getChat", chat_id="@nobody") == "Bad Request: chat not found"


async def test_private_chats_have_no_members_to_speak_of(bench: Bench) -> None:
    anna = bench.telegram.user(777, "Anna", username="anna")
    await anna.send("/start")
    chat = (await bench.call("getChat", chat_id=777))["result"]
    assert (chat["type"], chat["username"], chat["active_usernames"]) == ("private", "anna", ["anna"])
    assert (await bench.call("getChatMemberCount", chat_id=777))["result"] == 2
    assert (await bench.call("getChatMember", chat_id=777, user_id=777))["result"]["status"] == "member"
    for method, more, reason in [
        ("getChatMember", {"user_id": 778}, "user not found"),
        ("getChatAdministrators", {}, "there are no administrators in the private chat"),
        ("leaveChat", {}, "chat member status can't be changed in private chats"),
    ]:
        assert await bench.refusal(method, chat_id=777, **more) == f"Bad Request: {reason}"
    anna.block()
    assert (await bench.call("getChat", chat_id=777))["ok"]


async def test_pins_are_told_to_the_bot_itself(bench: Bench) -> None:
    await bench.set_webhook()
    anna = bench.telegram.user(777, "Anna")
    await anna.send("/start")
    first, second = [
        (await bench.call("sendMessage", chat_id=777, text=text))["result"]["message_id"] for text in ("one", "two")
    ]
    for message_id in (first, second, second):
        assert (await bench.call("pinChatMessage", chat_id=777, message_id=message_id))["result"] is True
    await bench.telegram.idle()
    told = [update["message"] for update in bench.hook.updates if "pinned_message" in update.get("message", {})]
    assert [(one["from"]["id"], one["pinned_message"]["text"]) for one in told] == [(42, "one"), (42, "two")]

    async def pinned() -> str | None:
        chat = (await bench.call("getChat", chat_id=777))["result"]
        return chat["pinned_message"]["text"] if "pinned_message" in chat else None

    assert await pinned() == "two"
    await bench.call("unpinChatMessage", chat_id=777)
    assert await pinned() == "one"
    await bench.call("deleteMessage", chat_id=777, message_id=first)
    assert await pinned() is None
    await bench.call("pinChatMessage", chat_id=777, message_id=second)
    assert await pinned() == "two"
    await bench.call("unpinAllChatMessages", chat_id=777)
    assert await pinned() is None
    for method in ("pin", "unpin"):
        refusal = await bench.refusal(f"{method}ChatMessage", chat_id=777, message_id=10**6)
        assert refusal == f"Bad Request: message to {method} not found"


async def test_the_bot_presents_itself_by_language(bench: Bench) -> None:
    assert (await bench.call("getMyName"))["result"] == {"name": "Atlas"}
    for method, name in [
        ("Name", "name"),
        ("Description", "description"),
        ("ShortDescription", "short_description"),
    ]:
        limit = {"name": 64, "description": 512, "short_description": 120}[name]
        assert (await bench.call(f"setMy{method}", **{name: "x" * limit, "language_code": "ru"}))["result"] is True
        assert (await bench.call(f"getMy{method}", language_code="ru"))["result"] == {name: "x" * limit}
        assert (await bench.call(f"getMy{method}", language_code="en"))["result"] == {name: ""}
        long = await bench.refusal(f"setMy{method}", **{name: "x" * (limit + 1)})
        assert long.endswith("is too long")
        wrong = await bench.refusal(f"getMy{method}", language_code="rus")
        assert wrong == "Bad Request: invalid language code specified"
    await bench.call("setMyName", name="Atlas VPN")
    assert (await bench.call("getMe"))["result"]["first_name"] == "Atlas VPN"


async def test_the_menu_button_is_checked(bench: Bench) -> None:
    await bench.telegram.user(777, "Anna").send("/start")
    app = {"type": "web_app", "text": "Open", "web_app": {"url": "https://atlas.example/app"}}
    assert (await bench.call("setChatMenuButton", chat_id=777, menu_button=app))["result"] is True
    assert (await bench.call("getChatMenuButton", chat_id=777))["result"] == app
    assert (await bench.call("getChatMenuButton"))["result"] == {"type": "commands"}
    await bench.call("setChatMenuButton", chat_id=777)
    assert (await bench.call("getChatMenuButton", chat_id=777))["result"] == {"type": "default"}
    for button, reason in [
        ({"type": "dance"}, "can't parse menu button: MenuButton has unsupported type"),
        (app | {"text": 5}, 'can\'t parse menu button: Can\'t find field "text" or "web_app"'),
        (
            app | {"web_app": {"url": "http://a.com"}},
            "menu button Web App URL 'http://a.com' is invalid: Only HTTPS links are allowed",
        ),
    ]:
        assert await bench.refusal("setChatMenuButton", menu_button=button) == f"Bad Request: {reason}"


async def test_commands_can_be_taken_back(bench: Bench) -> None:
    wide = [{"command": "start", "description": "Start"}]
    await bench.call("setMyCommands", commands=wide)
    await bench.call("setMyCommands", commands=wide * 2, language_code="ru")
    assert len(bench.telegram.user(777, language_code="ru").commands) == 2
    assert (await bench.call("deleteMyCommands", language_code="ru"))["result"] is True
    assert bench.telegram.user(777).commands == wide


async def test_a_forwarded_invoice_pays_unless_it_has_a_start_parameter(bench: Bench) -> None:
    await ready(bench)
    boris = bench.telegram.user(778, "Boris")
    await boris.send("/start")
    open_one = (await bench.call("sendInvoice", chat_id=777, **STARS))["result"]["message_id"]
    closed = (await bench.call("sendInvoice", chat_id=777, start_parameter="buy", **STARS))["result"]["message_id"]
    copies = [
        (await bench.call("forwardMessage", chat_id=778, from_chat_id=777, message_id=one))["result"]
        for one in (open_one, closed)
    ]
    assert (await boris.pay(copies[0]["message_id"])).status == "paid"
    assert copies[1]["reply_markup"]["inline_keyboard"] == [
        [{"text": "Pay ⭐️50", "url": "https://t.me/atlas_local_bot?start=buy"}]
    ]
    with pytest.raises(ValueError, match="no invoice"):
        await boris.pay(copies[1]["message_id"])


async def test_a_store_keeps_channels_pins_and_names(
    endpoints: tuple[Endpoint, Endpoint], tmp_path: pathlib.Path
) -> None:
    store = tmp_path / "telegram.sqlite"
    async with open_bench(endpoints, store) as bench:
        anna = bench.telegram.user(777, "Anna")
        await anna.send("/start")
        bench.telegram.channel(NEWS, "News").set_bot("administrator")
        anna.join(NEWS)
        sent = (await bench.call("sendMessage", chat_id=777, text="a"))["result"]
        await bench.call("pinChatMessage", chat_id=777, message_id=sent["message_id"])
        await bench.call("setMyName", name="Other")
    async with open_bench(endpoints, store) as bench:
        assert (await bench.call("getChatMember", chat_id=NEWS, user_id=777))["result"]["status"] == "member"
        assert (await bench.call("getChat", chat_id=777))["result"]["pinned_message"]["text"] == "a"
        assert (await bench.call("getMe"))["result"]["first_name"] == "Other"


async def test_no_modelled_method_takes_a_call_without_what_it_needs(bench: Bench) -> None:
    """Nothing given: every method that needs something refuses, and says which names are missing."""
    checked = 0
    for row in methods().values():
        required = sorted(name for name, kind in row["parameters"].items() if kind.endswith("!"))
        # Without a URL the webhook is deleted, without commands there are none.
        if not required or row["name"] in {"setWebhook", "setMyCommands"}:
            continue
        body = await bench.call(row["name"])
        assert not body["ok"], row["name"]
        assert bench.telegram.calls[-1].missing_parameters == required
        checked += body["error_code"] == 400
    assert checked >= 29
