"""What the bot shows of what is true: trial, profile, key, languages, references. Reading changes nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from lib.bot import notifications
from lib.domain import inbox, orders, provisioning, subscriptions, trial
from lib.domain.provisioning import Answer
from lib.domain.settlement import Event, Money
from lib.settings import pricelist
from sandbox.telegram.text.html_markup import parse_html
from tests.integration.bot.test_buttons import effects
from tests.integration.bot.test_purchase import count, sql
from tests.integration.by_the_owner import by_the_owner, travel
from tests.quoting import at_list_price

if TYPE_CHECKING:
    from lib.db import Transaction
    from tests.integration.bot.customer import Customer, FakeProvider

LINK = "vless://8f6e@node.example.org:443?security=reality&sni=example.org&fp=chrome#Atlas"


def apply_everywhere(tx: Transaction, link: str) -> None:
    """The node takes every client that it is to hold."""
    (claimed,) = provisioning.claim_subscription(tx, tx.value("select id from subscriptions"), uuid4())
    answers = [
        Answer(one.subscription_id, one.node_id, one.version, str(one.claimed_by), applied=True, link=link)
        for one in claimed.works
    ]
    assert provisioning.record(tx, claimed.node, answers, None, correlation_id="c").activated == 1


async def with_access(customer: Customer, link: str | None = LINK, tariff: str = "basic") -> None:
    """A paying customer, whose key a node holds when `link` is given."""

    def grant(tx: Transaction) -> None:
        provisioning.ensure_first_node(tx, "http://127.0.0.1:9", "XRAY_API_KEY")
        account_id = tx.value("select id from accounts")
        subscriptions.grant(tx, account_id, tariff=tariff, seconds=86_400 * 30, source="admin", actor_id=1)
        if link is not None:
            apply_everywhere(tx, link)

    await customer.say("/start")
    await customer.services.db.run(grant)


@pytest.mark.proves("N-6")
async def test_the_trial_is_offered_given_and_not_offered_again(anna: Customer) -> None:
    await anna.say("/start")
    await anna.press("Попробовать")
    for part in ("72 часа", "1 устройство", "10 ГБ"):
        assert part in anna.text
    assert (await anna.services.db.run(effects))["subscriptions"] == 0
    start = anna.data("Начать")
    handled = await anna.tap(start)
    assert [item.target for item in handled.follow_up] == ["task_provision"]
    assert "Ключ готовится: он сам придёт сюда" in anna.text
    await anna.press("меню")
    assert not [button for button in anna.buttons if "Попробовать" in button["text"]]
    handled = await anna.tap(start)
    assert handled.follow_up == ()
    assert "Ключ готовится" in anna.text
    await anna.say("/profile")
    assert "Бесплатный период: 1 устройство, 10 ГБ" in anna.text


def pay(tx: Transaction, account_id: int) -> None:
    prices = pricelist.load()
    opened = orders.open_subscription(
        tx,
        account_id,
        tariff="basic",
        period_days=30,
        quote=at_list_price(prices, "basic", 30),
        provider="cryptobot",
        minutes=30,
    )
    order = opened.order
    money = Money(order.price, order.currency, "", order.purchase_id)
    assert inbox.receive(tx, Event("cryptobot", "1", b"", "sweep", "c", money), prices).outcome == "settled"


def prepare(tx: Transaction, history: str) -> None:
    account_id = tx.value("select id from accounts")
    if history == "paid and ended":
        pay(tx, account_id)
    if history == "used and ended":
        assert isinstance(trial.start(tx, account_id, pricelist.load().trial, "c"), trial.Started)
    if history.startswith("granted"):
        subscriptions.grant(tx, account_id, tariff="basic", seconds=86_400, source="admin", actor_id=1)
    if history.endswith("ended"):
        travel(tx, timedelta(days=31))
        assert subscriptions.expire(tx, 10, "c").count == 1


def trial_grants(tx: Transaction) -> int:
    return int(tx.value("select count(*) from subscription_history where source = 'trial' and event = 'granted'"))


@pytest.mark.proves("N-6")
@pytest.mark.parametrize(
    ("history", "eligible"),
    [
        ("new", True),
        ("used and ended", False),
        ("paid and ended", False),
        ("granted", False),
        ("granted and ended", True),
    ],
)
async def test_the_menu_the_offer_and_the_action_go_by_one_rule(
    anna: Customer,
    history: str,
    eligible: bool,  # noqa: FBT001 -- a parameter
) -> None:
    db = anna.services.db
    await anna.say("/start")
    await db.run(prepare, history)
    await anna.say("/start")
    assert any("Попробовать" in button["text"] for button in anna.buttons) is eligible
    await anna.tap("go:trial")
    assert any("Начать" in button["text"] for button in anna.buttons) is eligible
    before = await db.run(trial_grants)
    await anna.tap("trial")
    assert await db.run(trial_grants) - before == eligible
    marked = await db.run(lambda tx: tx.value("select trial_used_at is not null from accounts"))
    assert marked == (before + eligible == 1)


@pytest.mark.proves("N-6")
async def test_a_trial_refused_by_the_cap_leaves_no_mark(anna: Customer) -> None:
    db = anna.services.db
    cap = anna.services.prices.trial.daily_cap
    fill = "insert into trial_days (day, used) values (cast(atlas.now() as date), :cap)"
    await db.run(lambda tx: tx.execute(fill, cap=cap))
    await anna.tap("trial")
    assert "разобраны" in anna.text
    assert await db.run(count, "subscriptions") == 0
    assert await db.run(lambda tx: tx.value("select trial_used_at is null from accounts"))


async def test_a_trial_that_is_switched_off_is_not_given(anna: Customer) -> None:
    await anna.services.db.run(sql, "insert into flags (name, enabled) values ('trial', false)")
    for data in ("go:trial", "trial"):
        await anna.tap(data)
        assert "сейчас не выдаётся" in anna.text
    assert await anna.services.db.run(count, "subscriptions") == 0


@pytest.mark.parametrize(("length", "copies"), [(256, True), (257, False)])
async def test_the_key_is_monospaced_with_copy_and_qr(
    anna: Customer,
    length: int,
    copies: bool,  # noqa: FBT001 -- a parameter
) -> None:
    link = LINK + "x" * (length - len(LINK))
    await with_access(anna, link)
    await anna.press("Мой ключ")
    text, entities = parse_html(anna.text)
    assert link in text
    assert [entity["type"] for entity in entities].count("code") == 1
    assert [b["copy_text"]["text"] for b in anna.buttons if "copy_text" in b] == ([link] if copies else [])
    handled = await anna.press("QR")
    assert [call["method"] for call in handled.reply] == ["sendPhoto", "answerCallbackQuery"]
    assert anna.screen["photo"] == {"qr": link}


async def test_without_a_key_the_qr_button_says_why(anna: Customer) -> None:
    await anna.tap("go:qr")
    assert "Ключа нет" in anna.text
    await with_access(anna, None)
    await anna.tap("go:qr")
    assert "Ключ готовится" in anna.text


MANNER = notifications.Manner(ZoneInfo("Europe/Moscow"), pricelist.load())


async def test_the_key_message_says_the_link_as_it_is_when_sent(anna: Customer) -> None:
    db = anna.services.db
    await with_access(anna)
    key = await db.run(lambda tx: tx.value("select id from messages where kind = 'key'"))
    await db.run(sql, "update accounts set chat_sent_at = null")
    taken = await db.run(notifications.take_up, key, 1, MANNER)
    assert taken.outcome == "ready"
    assert LINK.replace("&", "&amp;") in taken.calls[0]["text"]
    await db.run(sql, "update messages set claimed_by = null, claimed_until = null, unknown_attempts = 0")
    await db.run(sql, "update accounts set chat_sent_at = null")
    await db.run(sql, "update subscriptions set expires_at = atlas.now(), started_at = atlas.now() - interval '1 day'")
    assert (await db.run(notifications.take_up, key, 1, MANNER)).outcome == "cancelled"


def everything_of_access(tx: Transaction) -> list[Any]:
    return [
        tx.value(f"select jsonb_agg(t order by t) from {table} t")  # noqa: S608 -- constants of the test
        for table in ("subscriptions", "node_clients", "subscription_history", "outbox", "messages", "orders")
    ]


@pytest.mark.proves("S1-6")
async def test_reading_access_that_has_ended_triggers_no_expiry_work(anna: Customer) -> None:
    db = anna.services.db
    await with_access(anna)
    await db.run(by_the_owner, "update deployment set clock_offset = interval '40 days'")
    before = await db.run(everything_of_access)
    for data in ("go:menu", "go:profile", "go:key", "go:qr", "go:trial", "go:instruction", "go:buy", "order_id=1"):
        handled = await anna.tap(data)
        assert handled.follow_up == ()
    for command in ("/start", "/profile", "/buy", "/help"):
        assert (await anna.say(command)).follow_up == ()
    assert await db.run(everything_of_access) == before
    await anna.say("/profile")
    assert "Доступ закончился" in anna.text
    await anna.tap("go:key")
    assert "Ключа нет" in anna.text


@pytest.mark.proves("S1-6")
async def test_reading_in_parallel_triggers_no_expiry_work(racer: Customer) -> None:
    db = racer.services.db
    await with_access(racer)
    await db.run(by_the_owner, "update deployment set clock_offset = interval '40 days'")
    before = await db.run(everything_of_access)
    await asyncio.gather(*(racer.tap(data) for data in ("go:profile", "go:key", "go:qr") * 3))
    assert await db.run(everything_of_access) == before


COMMANDS = ("start", "profile", "buy", "help", "instruction", "language", "terms", "paysupport", "privacy")


@pytest.mark.parametrize("language", ["ru", "en"])
async def test_every_command_and_every_button_of_every_screen_leads_on(
    anna: Customer, provider: FakeProvider, language: str
) -> None:
    """Walks all screens by their buttons, in each language; every screen is what Telegram takes."""
    anna.user["language_code"] = language
    anna.user["first_name"] = anna.chat["first_name"] = "<b>Anna</b> & Co"
    seen: set[str] = set()
    waiting: list[str] = []
    cyrillic = 0
    for command in COMMANDS:
        await anna.say(f"/{command}")
        waiting += [button["callback_data"] for button in anna.buttons if "callback_data" in button]
    while waiting:
        data = waiting.pop()
        kind = data.split(":")[0] if data.startswith(("tariff", "period", "pay")) else data
        if kind in seen or data.startswith("lang:"):
            continue
        seen.add(kind)
        await anna.tap(data)
        shown, _ = parse_html(anna.text)
        assert shown.strip()
        assert "Anna" not in shown or "<b>Anna</b> & Co" in shown
        cyrillic += sum("\u0430" <= letter <= "\u044f" for letter in shown)
        waiting += [button["callback_data"] for button in anna.buttons if "callback_data" in button]
    assert {"go:menu", "go:key", "tariff", "period", "pay", "trial", "how:linux", "go:terms"} <= seen
    assert {"go:balance", "go:top_up_other", "top_up:25000", "pay_top_up"} <= seen
    assert (cyrillic > 500) is (language == "ru")
    assert sorted(order.kind for order in provider.created) == ["subscription", "top_up"]


async def test_the_language_is_taken_from_telegram_and_can_be_chosen(anna: Customer) -> None:
    anna.user["language_code"] = "de"
    await anna.say("/start")
    assert anna.button("Buy access")
    await anna.press("Language")
    await anna.press("Русский")
    assert anna.toast == "Язык: русский"
    await anna.say("/start")
    assert anna.button("Купить")


async def test_hostile_names_are_shown_and_do_no_harm(anna: Customer) -> None:
    for name in ("<b>", "&lt;", "\x00", "\ud800", "", "a" * 300, "{ $price }", "</code>"):
        update = anna.typed("/profile")
        update["message"]["from"] = anna.user | {"first_name": name}
        await anna.give(update)
        shown, entities = parse_html(anna.text)
        assert "700000001" in shown
        assert [entity["type"] for entity in entities] == ["bold", "code", "bold"]


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("/start r_abc-9", "r_abc-9"), ("/start", None), ("/start два слова", None), (f"/start {'a' * 99}", "a" * 64)],
)
async def test_a_deep_link_is_kept_on_first_sight(anna: Customer, typed: str, kept: str | None) -> None:
    await anna.say(typed)
    await anna.say("/start another")
    assert await anna.services.db.run(lambda tx: tx.value("select start_payload from accounts")) == kept
    assert anna.button("Купить")


async def test_support_is_where_the_operator_says(anna: Customer) -> None:
    await anna.tap("go:support")
    assert anna.button("Написать")["url"] == "https://t.me/atlas_support"
