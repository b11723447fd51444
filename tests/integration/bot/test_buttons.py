"""Stale, forged and doubled taps; updates the bot has no use for; instances that come and go."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from lib import bootstrap, failpoints
from lib.bot import delivery, wiring
from lib.bot.handle import handle
from lib.db import Database, Unavailable
from lib.domain import updates
from lib.domain.updates import Incoming
from lib.payments.provider import Invoice
from tests.integration.bot.conftest import services_over
from tests.integration.bot.customer import Customer, FakeProvider
from tests.integration.bot.test_purchase import count, order_rows, sql
from tests.waiting import until

if TYPE_CHECKING:
    from lib.db import Transaction

EFFECTS = ("orders", "payments", "subscriptions", "messages", "outbox", "payment_events", "trial_days")


def effects(tx: Transaction) -> dict[str, int]:
    return {table: count(tx, table) for table in EFFECTS}


async def test_a_button_of_an_earlier_step_shows_where_the_dialogue_is(anna: Customer, provider: FakeProvider) -> None:
    await anna.say("/buy")
    basic, plus = anna.data("Basic"), anna.data("Plus")
    await anna.tap(basic)
    month = anna.data("30 дней")
    await anna.tap(plus)
    assert anna.toast.startswith("Эта кнопка устарела")
    assert "<b>Basic</b>" in anna.text
    await anna.tap(month)
    pay = anna.data("оплатить")
    await anna.tap(month)
    assert anna.toast.startswith("Эта кнопка устарела")
    assert anna.data("оплатить") == pay
    await anna.tap(pay)
    await anna.tap(pay)
    assert anna.toast == ""  # the second tap of two: nothing was wrong with the button
    assert "start=inv1" in anna.button("Оплатить")["url"]
    await anna.say("/buy")
    await anna.tap(pay)
    assert "Выберите тариф" in anna.text
    assert len(provider.created) == 1


async def test_a_pay_button_of_a_paid_order_charges_nothing(anna: Customer, provider: FakeProvider) -> None:
    await anna.go_to_confirm()
    pay = anna.data("оплатить")
    await anna.tap(pay)
    provider.pay(provider.created[0], "inv-1")
    await anna.press("Проверить")
    before = await anna.services.db.run(effects)
    await anna.tap(pay)
    assert "оплачен" in anna.text
    assert await anna.services.db.run(effects) == before
    assert len(provider.created) == 1


async def test_back_leads_back(anna: Customer) -> None:
    await anna.go_to_confirm()
    await anna.press("Назад")
    assert "какой срок" in anna.text
    await anna.press("Назад")
    assert "Выберите тариф" in anna.text
    await anna.press("меню")
    assert anna.button("Купить")


FORGED = [
    "",
    "x",
    "x" * 64,
    "go:",
    "go:nowhere",
    "go:menu:again",
    "lang:xx",
    "lang:",
    "how:amiga",
    "trial:7",
    "tariff:gold:1",
    "tariff:basic:-1",
    "tariff:basic:99999999999999999999",
    "tariff:plus:2",
    "period:30:1",
    "period:31:1",
    "period:0:1",
    "period:1e9:1",
    "pay:cryptobot:1",
    "pay:card:1",
    "pay:cryptobot:0",
    "order_id=1",
    "order_id=0",
    "order_id=-5",
    "order_id=9223372036854775807",
    "order_id=9223372036854775808",
    "order_id=1;drop table orders",
    "ключ",
    "\x00",
    "go:menu\ud800",
]


@pytest.mark.parametrize("data", FORGED)
async def test_forged_data_leads_somewhere_and_changes_nothing(
    anna: Customer, provider: FakeProvider, data: str
) -> None:
    await anna.say("/start")
    before = await anna.services.db.run(effects)
    tap = anna.tap_of(data)
    body = json.dumps(tap).replace("\\u0000", "")
    handled = await handle(anna.services, Incoming(tap["update_id"], body, "c"), tap)
    assert [call["method"] for call in handled.reply] == ["editMessageText", "answerCallbackQuery"]
    assert handled.reply[0]["reply_markup"]["inline_keyboard"]
    assert await anna.services.db.run(effects) == before
    assert provider.created == []


async def test_another_customers_order_is_refused(anna: Customer, provider: FakeProvider) -> None:
    await anna.go_to_confirm()
    await anna.press("оплатить")
    check = anna.data("Проверить")
    provider.pay(provider.created[0], "inv-1")
    boris = Customer(anna.services, 700_000_077, name="Boris", language="en")
    before = await anna.services.db.run(effects)
    await boris.tap(check)
    assert boris.toast == "You have no such order"
    assert "149" not in boris.text or "Choose a tariff" in boris.text
    assert provider.asked == []
    assert await anna.services.db.run(effects) == before


async def test_a_button_without_data_leads_to_the_menu(anna: Customer) -> None:
    tap = anna.tap_of("x")
    del tap["callback_query"]["data"]
    await anna.give(tap)
    assert anna.button("Купить")


@pytest.mark.parametrize(
    "part", [{"photo": [{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}]}, {"date": 0}]
)
async def test_a_button_whose_message_cant_be_edited_is_answered_anew(anna: Customer, part: dict[str, Any]) -> None:
    tap = anna.tap_of("go:menu")
    message = tap["callback_query"]["message"]
    del message["text"]
    message |= part
    handled = await anna.give(tap)
    assert [call["method"] for call in handled.reply] == ["sendMessage", "answerCallbackQuery"]


async def test_a_second_delivery_shows_the_screen_again_unless_the_person_has_moved_on(anna: Customer) -> None:
    """At least once on the wire; but the screen of a tap of before never comes back over what came after it."""
    await anna.say("/start")
    first = anna.tap_of("go:buy")
    shown = (await anna.give(first)).reply
    assert [call["method"] for call in shown] == ["editMessageText", "answerCallbackQuery"]
    assert (await anna.give(first)).reply == shown
    second = anna.tap_of("go:menu")
    later = (await anna.give(second)).reply
    assert [call["method"] for call in (await anna.give(first)).reply] == ["answerCallbackQuery"]
    assert (await anna.give(second)).reply == later
    written = anna.typed("/profile")
    told = (await anna.give(written)).reply
    assert (await anna.give(written)).reply == told
    assert [call["method"] for call in (await anna.give(second)).reply] == ["answerCallbackQuery"]
    # a message of before overwrites nothing, and may be the only copy of it
    await anna.say("/start")
    assert (await anna.give(written)).reply == told


async def test_a_second_delivery_changes_nothing_of_the_person(anna: Customer) -> None:
    """The account is found in the round trip that claims the update; of one that is done nothing must be taken."""

    def account(tx: Transaction) -> list[Any]:
        return tx.values("select cast(a as text) from accounts a")

    await anna.say("/start")
    first = anna.tap_of("go:buy")
    await anna.give(first)
    await anna.say("/profile")
    await anna.services.db.run(lambda tx: tx.execute("update accounts set unreachable_since = atlas.now()"))
    before = await anna.services.db.run(account)
    first["callback_query"]["from"]["first_name"] = "Another name"
    await anna.give(first)
    assert await anna.services.db.run(account) == before


# Double taps -----------------------------------------------------------------------------------------------------


async def both_at_once(customer: Customer, data: str, times: int = 2) -> list[list[dict[str, Any]]]:
    taps = [customer.tap_of(data) for _ in range(times)]
    handled = await asyncio.gather(*(customer.give(tap) for tap in taps))
    return [one.reply for one in handled]


@pytest.mark.proves("N-23")
async def test_two_taps_on_the_trial_begin_one(racer: Customer) -> None:
    await racer.say("/start")
    await racer.press("Попробовать")
    replies = await both_at_once(racer, racer.data("Начать"), 4)
    assert all(reply[0]["reply_markup"] for reply in replies)
    seen = await racer.services.db.run(effects)
    assert (seen["subscriptions"], seen["outbox"]) == (1, 1)
    assert await racer.services.db.run(lambda tx: tx.value("select used from trial_days")) == 1
    assert await racer.services.db.run(count, "subscription_history") == 1


@pytest.mark.proves("N-23")
async def test_two_taps_on_pay_make_one_order_and_one_invoice(racer: Customer, provider: FakeProvider) -> None:
    await racer.go_to_confirm()
    pay = racer.data("оплатить")
    # the first tap stays with the provider until the others have had their say
    provider.gate = asyncio.Event()
    taps = [asyncio.create_task(racer.tap(pay)) for _ in range(4)]
    async with asyncio.timeout(20):
        for finished in itertools.islice(asyncio.as_completed(taps), 3):
            assert "Счёт готовится" in (await finished).reply[0]["text"]
        provider.gate.set()
        await asyncio.gather(*taps)
    [order] = await racer.services.db.run(order_rows)
    assert order.status == "open"
    assert len(provider.created) == 1


@pytest.mark.proves("N-23")
async def test_two_taps_on_check_settle_once(racer: Customer, provider: FakeProvider) -> None:
    await racer.go_to_confirm()
    await racer.press("оплатить")
    provider.pay(provider.created[0], "inv-1")
    replies = await both_at_once(racer, racer.data("Проверить"), 4)
    assert all("оплачен" in reply[0]["text"] for reply in replies)
    seen = await racer.services.db.run(effects)
    assert (seen["payments"], seen["subscriptions"], seen["messages"], seen["outbox"]) == (1, 1, 1, 2)


@pytest.mark.proves("N-23")
@pytest.mark.parametrize("step", ["Basic", "30 дней"])
async def test_two_taps_in_the_dialogue_move_it_once(racer: Customer, step: str) -> None:
    await racer.say("/buy")
    if step != "Basic":
        await racer.press("Basic")
    version = await racer.services.db.run(lambda tx: tx.value("select version from fsm"))
    replies = await both_at_once(racer, racer.data(step))
    assert await racer.services.db.run(lambda tx: tx.value("select version from fsm")) == version + 1
    assert replies[0][0]["text"] == replies[1][0]["text"]
    assert replies[0][0]["reply_markup"] == replies[1][0]["reply_markup"]


@pytest.mark.proves("N-23")
async def test_two_taps_on_a_language_choose_it(racer: Customer) -> None:
    await racer.say("/language")
    replies = await both_at_once(racer, racer.data("English"))
    assert {reply[1]["text"] for reply in replies} == {"Language: English"}
    assert await racer.services.db.run(lambda tx: tx.values("select language from accounts")) == ["en"]


@pytest.mark.proves("N-23")
async def test_one_update_delivered_five_times_at_once_has_one_effect(racer: Customer, provider: FakeProvider) -> None:
    await racer.go_to_confirm()
    tap = racer.tap_of(racer.data("оплатить"))
    answers = await asyncio.gather(*(racer.give(tap) for _ in range(5)), return_exceptions=True)
    # who meets the one that is making the invoice is kept
    assert {type(answer) for answer in answers} <= {updates.Handled, updates.NotYet}
    again = await racer.give(tap)
    assert len(provider.created) == 1
    assert await racer.services.db.run(count, "orders") == 1
    assert again.reply[0]["method"] == "editMessageText"


@pytest.mark.proves("N-23")
async def test_a_second_delivery_while_the_invoice_is_made_loses_no_invoice(
    racer: Customer, provider: FakeProvider
) -> None:
    await racer.go_to_confirm()
    tap = racer.tap_of(racer.data("оплатить"))
    provider.gate = asyncio.Event()
    first = asyncio.create_task(racer.give(tap))
    async with asyncio.timeout(60):
        await until(lambda: provider.created)
        with pytest.raises(updates.NotYet):  # kept, and answered by what the first one finds
            await racer.give(tap)
        provider.gate.set()
        shown = await first
    assert (await racer.give(tap)).reply == shown.reply
    assert [order.invoice_id for order in await racer.services.db.run(order_rows)] == ["inv-1"]
    assert "start=inv1" in racer.button("Оплатить")["url"]
    assert len(provider.created) == 1


# Instances -------------------------------------------------------------------------------------------------------


@pytest.mark.proves("N-23")
@pytest.mark.parametrize("place", ["before the call", "after the call", "after the invoice is known"])
@pytest.mark.parametrize("taps_again", [False, True], ids=["does nothing", "taps again"])
async def test_a_death_between_the_two_steps_of_an_order_is_no_dead_end(
    racer: Customer, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, place: str, *, taps_again: bool
) -> None:
    """The process dies with the invoice's claim; Telegram brings the update again at once, and once more when it was kept."""
    db = racer.services.db
    await racer.go_to_confirm()
    pay = racer.data("оплатить")
    tap = racer.tap_of(pay)
    with monkeypatch.context() as dying:
        failing = {"before the call": "before-call", "after the call": "after-call"}.get(place, "after-commit")

        def die(name: str) -> None:
            if name == f"invoice.{failing}":
                raise ConnectionResetError

        dying.setattr(failpoints, "reach", die)
        with pytest.raises(ConnectionResetError):
            await racer.give(tap)
    if provider.created and place == "after the call":  # what the provider has and we never heard of
        provider.hidden[provider.created[0].purchase_id] = Invoice("inv-1", "https://t.me/CryptoBot?start=inv1")
    if place == "after the invoice is known":
        await racer.give(tap)
    else:
        with pytest.raises(updates.NotYet):
            await racer.give(tap)
        if taps_again:
            await racer.tap(pay)
            assert "Счёт готовится" in racer.text
        await db.run(lambda tx: tx.execute("update orders set invoice_claimed_until = atlas.now()"))
        if taps_again:
            await racer.press("Обновить")
            assert "start=inv1" in racer.button("Оплатить")["url"]
        await racer.give(tap)
    assert "start=inv1" in racer.button("Оплатить")["url"]
    assert len(provider.created) == 1
    assert [order.invoice_id for order in await db.run(order_rows)] == ["inv-1"]


@pytest.mark.proves("S2-5.3")
async def test_the_dialogue_goes_on_in_another_instance(functions_url: str, provider: FakeProvider) -> None:
    async def one_tap(text: str, customer: Customer | None) -> Customer:
        """A process that lives for one update."""
        database = Database(functions_url, connections=1, application="short-lived", guards=True, compare=True)
        living = Customer(services_over(database, provider), 700_000_005)
        if customer is None:
            await living.say(text)
        else:
            living.screen = customer.screen
            await living.press(text)
        await database.close()
        return living

    anna = await one_tap("/buy", None)
    for text in ("Plus", "180 дней", "оплатить"):
        anna = await one_tap(text, anna)
    assert "1\u00a0199 ₽" in anna.text
    [order] = provider.created
    assert (order.tariff, order.period_days, order.price) == ("plus", 180, 119_900)


@pytest.mark.proves("S2-5.3")
async def test_without_postgres_nothing_is_answered_and_nothing_is_lost(
    anna: Customer, provider: FakeProvider, unused_tcp_address: str
) -> None:
    await anna.go_to_confirm()
    tap = anna.tap_of(anna.data("оплатить"))
    gone = Database(f"postgresql://u:p@{unused_tcp_address}/atlas", connections=1, application="gone", guards=False)
    with pytest.raises(Unavailable):
        await handle(services_over(gone, provider), Incoming(tap["update_id"], "{}", "c"), tap)
    await gone.close()
    assert provider.created == []
    await anna.give(tap)
    assert "start=inv1" in anna.button("Оплатить")["url"]


@pytest.fixture
async def unused_tcp_address() -> str:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    server.close()
    await server.wait_closed()
    return f"{host}:{port}"


# Updates the bot has no use for ----------------------------------------------------------------------------------


GROUP = {"id": -100, "type": "group", "title": "G"}
USELESS: list[dict[str, Any]] = [
    {"edited_message": {"message_id": 1}},
    {"channel_post": {"message_id": 1, "date": 1, "chat": {"id": -1, "type": "channel", "title": "c"}, "text": "/start"}},
    {"poll": {"id": "1"}},
    {"from_the_future": {"x": 1}},
    {},
    {"message": None},
    {"message": []},
    {"message": {"message_id": "x"}},
    {"callback_query": {"id": 5}},
    {"my_chat_member": {"chat": GROUP}},
    {"message": {"message_id": 1, "date": 1, "chat": GROUP, "from": {"id": 5, "is_bot": False, "first_name": "B"}, "text": "/start"}},
    {"message": {"message_id": 1, "date": 1, "chat": {"id": 5, "type": "private"}, "from": {"id": 5, "is_bot": False, "first_name": "B"}, "pinned_message": {"message_id": 1, "date": 0, "chat": {"id": 5, "type": "private"}}}},
]  # fmt: skip


@pytest.mark.parametrize("useless", USELESS, ids=lambda update: next(iter(update), "empty"))
async def test_what_the_bot_has_no_use_for_is_consumed_in_silence(db: Database, useless: dict[str, Any]) -> None:
    services = services_over(db, None)
    update = {"update_id": 5} | useless
    handled = await handle(services, Incoming(5, json.dumps(update), "c"), update)
    assert (handled.reply, handled.follow_up) == ([], ())
    assert await db.run(lambda tx: tx.value("select done_at is not null from updates where update_id = 5"))
    assert await db.run(count, "accounts") == 0


@pytest.mark.parametrize(
    "part",
    [
        {"forward_origin": {"type": "from_the_future", "date": 1}},
        {"paid_media": {"star_count": 1, "paid_media": [{"type": "hologram"}]}},
        {"reply_to_message": {"message_id": "x"}},
        {"unknown": {"a": 1}},
    ],
)
async def test_a_message_with_parts_of_a_later_version_is_answered(anna: Customer, part: dict[str, Any]) -> None:
    update = anna.typed("/profile")
    update["message"] |= part
    await anna.give(update)
    assert "ID: <code>700000001</code>" in anna.text


async def test_a_tap_below_a_message_of_a_later_version_is_answered(
    anna: Customer, caplog: pytest.LogCaptureFixture
) -> None:
    tap = anna.tap_of("go:profile")
    tap["callback_query"]["message"]["forward_origin"] = {"type": "from_the_future"}
    handled = await anna.give(tap)
    assert [call["method"] for call in handled.reply] == ["sendMessage", "answerCallbackQuery"]
    assert caplog.text.count("update_not_understood") == 1


async def test_a_block_and_an_unblock_are_noted(anna: Customer) -> None:
    await anna.say("/start")
    db = anna.services.db

    def unreachable(tx: Transaction) -> bool:
        return bool(tx.value("select unreachable_since is not null from accounts"))

    def member(update_id: int, status: str) -> dict[str, Any]:
        new = {"status": status, "user": anna.user} | ({"until_date": 0} if status == "kicked" else {})
        old = {"status": "member", "user": anna.user}
        change = {"chat": anna.chat, "from": anna.user, "date": 1, "old_chat_member": old, "new_chat_member": new}
        return {"update_id": update_id, "my_chat_member": change}

    assert (await anna.give(member(1, "kicked"))).reply == []
    assert await db.run(unreachable)
    assert (await anna.give(member(2, "member"))).reply == []
    assert not await db.run(unreachable)
    await anna.give(member(3, "kicked"))
    await anna.say("hello")
    assert not await db.run(unreachable)


async def test_a_block_found_out_while_answering_is_noted(anna: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    handled = await anna.say("/start")
    monkeypatch.setattr(bootstrap, "database", lambda: anna.services.db)
    monkeypatch.setattr(wiring, "bot", lambda: None)

    async def blocked(_bot: None, reply: list[dict[str, Any]], *, in_response: bool) -> delivery.Delivered:
        assert not in_response
        return delivery.Delivered(unreachable=(reply[0]["chat_id"],))

    monkeypatch.setattr(delivery, "deliver", blocked)
    assert await wiring.deliver(handled.reply, closed_until=None, in_response=False) is None
    assert await anna.services.db.run(lambda tx: tx.value("select unreachable_since is not null from accounts"))


async def test_the_menu_answers_whatever_is_typed(anna: Customer) -> None:
    for text in ("hello", "/unknown", "/", "1e9", "٣", "x" * 4096, "/START", "/start@atlas_bot x"):
        await anna.say(text)
        assert anna.screen["method"] == "sendMessage"
        assert anna.button("Купить")


async def test_a_button_pressed_after_the_flags_are_gone_is_no_error(anna: Customer) -> None:
    await anna.say("/buy")
    await anna.services.db.run(sql, "update fsm set state = 'of another version', data = '{\"days\": \"x\"}'")
    await anna.press("Basic")
    assert "Выберите тариф" in anna.text
