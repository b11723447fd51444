"""A new key, a freeze and its end, by the customer's own buttons: asked first, done once; what the banned see."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from lib import bootstrap
from lib.bot import notifications
from lib.domain import accounts, freezing, messages, revoking, subscriptions
from lib.domain.accounts import Person
from tests.integration.bot.conftest import services_over
from tests.integration.bot.customer import Customer, FakeProvider
from tests.integration.by_the_owner import travel
from tests.integration.sweeps.grants import PRICES, claim, converge, know_nodes, open_order, pay
from tests.integration.sweeps.nodes import Network

if TYPE_CHECKING:
    from lib.db import Database, Transaction
    from lib.domain.subscriptions import Subscription

ANNA = 700_000_021


class Shop:
    """Anna at the bot, with a month on two nodes."""

    def __init__(self, db: Database, network: Network) -> None:
        self.db, self.network = db, network
        self.anna = Customer(services_over(db, FakeProvider()), ANNA, language="en")

    async def settle(self) -> None:

        for wanted in (True, False):
            await converge(self.db, self.network, await self.db.run(claim, uuid4(), 100, wanted=wanted))

    async def held(self) -> Subscription:
        account = await self.db.run(lambda tx: accounts.meet(tx, Person(ANNA, "Anna", None, "en")).id)
        found = await self.db.run(subscriptions.current, account)
        assert found is not None
        return found

    async def count(self, event: str) -> int:
        found = await self.db.run(
            lambda tx: tx.value("select count(*) from subscription_history where event = :event", event=event)
        )
        return int(found)


@pytest.fixture
async def shop(racing_db: Database, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv("XRAY_API_KEY", "k")
    network = Network(2)
    monkeypatch.setattr(bootstrap, "node_transport", lambda: network)
    await racing_db.run(know_nodes, 2)
    event = await racing_db.run(open_order, ANNA, "basic", 30, "1")
    await racing_db.run(pay, event)
    made = Shop(racing_db, network)
    await made.settle()
    return made


@pytest.mark.proves("N-37")
async def test_a_new_key_is_asked_for_confirmed_once_and_the_old_one_shown_until_it_works(shop: Shop) -> None:
    anna = shop.anna
    await anna.say("/profile")
    await anna.press("My key")
    old = str((await shop.held()).uuid)
    assert old in anna.text
    await anna.press("New key")
    assert "3 more today" in anna.text
    button = anna.data("Yes, a new key")
    # two taps at the same moment, and one later: one effect
    taps = [anna.tap_of(button), anna.tap_of(button)]
    await asyncio.gather(*(anna.give(update) for update in taps))
    assert await shop.count("reissued") == 1
    await anna.tap(button)
    assert await shop.count("reissued") == 1
    assert "being prepared" in anna.text
    assert old in anna.text  # what still works is said, and which it is
    await shop.settle()
    await anna.press("Refresh")
    new = str((await shop.held()).uuid)
    assert new != old
    assert new in anna.text
    assert old not in anna.text
    for left in (2, 1):
        await anna.press("New key")
        assert f"{left} more today" in anna.text
        await anna.press("Yes, a new key")
        await shop.settle()
        await anna.press("Refresh")
    await anna.press("New key")
    assert "3 times" in anna.text
    await anna.tap(button)
    assert await shop.count("reissued") == 3


@pytest.mark.proves("N-37")
async def test_a_freeze_is_chosen_confirmed_once_and_thawed_by_its_button(shop: Shop) -> None:
    anna, before = shop.anna, await shop.held()
    await anna.say("/profile")
    await anna.press("Freeze")
    assert [row["text"] for row in anna.buttons][:4] == ["3 days", "7 days", "14 days", "30 days"]
    await anna.press("7 days")
    assert await shop.count("frozen") == 0
    freeze = anna.data("Yes, freeze")
    await asyncio.gather(*(anna.give(update) for update in [anna.tap_of(freeze), anna.tap_of(freeze)]))
    assert await shop.count("frozen") == 1
    held = await shop.held()
    assert held.expires_at == before.expires_at + timedelta(days=7)
    await anna.say("/profile")
    assert "frozen until" in anna.text
    await anna.tap("go:key")
    assert "does not work now" in anna.text
    # buying says that the time waits
    await anna.go_to_confirm(period="30 days")
    assert "frozen until" in anna.text
    await anna.say("/profile")
    await anna.press("Bring access back")
    thaw = anna.data("Yes, bring it back")
    await anna.tap(thaw)
    await anna.tap(thaw)
    assert await shop.count("thawed") == 1
    await anna.tap(freeze)  # an old button: nothing is frozen, and the screen says where things stand
    assert await shop.count("frozen") == 1
    await anna.say("/profile")
    await anna.press("Freeze")
    assert "again from" in anna.text


@pytest.mark.proves("N-37")
@pytest.mark.parametrize(
    "data", ["reissue:0", "reissue:x", "freeze:31:1", "freeze:0:1", "freeze:7:99", "thaw:1", "freeze_days:400:1", "reissue:999"]
)  # fmt: skip
async def test_a_forged_button_changes_nothing(shop: Shop, data: str) -> None:
    before = await shop.held()
    await shop.anna.tap(data)
    assert shop.anna.text
    assert await shop.held() == before


@pytest.mark.proves("N-37")
async def test_the_banned_see_why_wherever_they_look_and_order_nothing(shop: Shop) -> None:
    anna = shop.anna
    await anna.say("/buy")
    await anna.press("Basic")
    await anna.press("30 days")
    pay_button = anna.data("pay 149")

    def ban(tx: Transaction) -> None:
        account = accounts.meet(tx, Person(ANNA, "Anna", None, "en")).id
        revoking.ban(tx, account, actor_id=1, reason="resold <keys>", correlation_id="c")

    await shop.db.run(ban)
    orders_before = await shop.db.run(lambda tx: tx.value("select count(*) from orders"))
    for action in ("/start", "/profile", "/buy", "/nonsense"):
        await anna.say(action)
        if action != "/nonsense":
            assert "banned" in anna.text, action
            assert "resold &lt;keys&gt;" in anna.text
    for button in (pay_button, "trial", "go:trial", "top_up:25000", "go:buy"):
        await anna.tap(button)
    assert await shop.db.run(lambda tx: tx.value("select count(*) from orders")) == orders_before
    await anna.tap("go:key")
    assert "no key" in anna.text


@pytest.mark.proves("N-37")
@pytest.mark.parametrize("sent", [False, True])
async def test_a_key_that_was_not_sent_before_a_freeze_is_sent_after_it_and_no_other_twice(
    shop: Shop, *, sent: bool
) -> None:
    db = shop.db
    manner = notifications.Manner(shop.anna.services.zone, PRICES)
    account = await db.run(lambda tx: tx.value("select account_id from subscriptions"))
    key = await db.run(lambda tx: tx.value("select id from messages where kind = 'key'"))

    async def work() -> int:
        open_work = "select max(id) from outbox where payload ->> 'message_id' = cast(cast(:id as bigint) as text) and done_at is null"
        return int(await db.run(lambda tx: tx.value(open_work, id=key)) or 0)

    async def taken() -> notifications.Taken:
        outbox_id = await work()
        await db.run(travel, timedelta(seconds=5))
        return await db.run(notifications.take_up, key, outbox_id, manner)

    if sent:
        outbox_id, ready = await work(), await taken()
        due = ready.due
        assert due is not None
        await db.run(lambda tx: messages.finish(tx, due, outbox_id, "sent", telegram_message_id=1))
    await db.run(lambda tx: freezing.freeze(tx, account, 5, PRICES.access, correlation_id="c"))
    await shop.settle()
    if not sent:
        assert (await taken()).outcome == "cancelled"
    await db.run(lambda tx: freezing.thaw_now(tx, account, correlation_id="c"))
    await shop.settle()
    if sent:
        assert await work() == 0
    else:
        assert str((await shop.held()).uuid) in (await taken()).calls[0]["text"]


@pytest.mark.proves("N-37")
@pytest.mark.parametrize("language", ["ru", "en"])
async def test_what_is_told_is_told_while_it_is_so(shop: Shop, language: str) -> None:
    zone = shop.anna.services.zone
    held = await shop.held()
    account = await shop.db.run(lambda tx: tx.value("select account_id from subscriptions"))

    async def said(kind: str) -> bool:
        current = await shop.db.run(notifications.facts, account)
        return bool(notifications.compose(kind, {}, language, chat_id=ANNA, zone=zone, current=current))

    assert [await said(kind) for kind in ("thawed", "revoked", "banned", "unbanned")] == [True, False, False, True]
    await shop.db.run(lambda tx: freezing.freeze(tx, account, 5, shop.anna.services.prices.access, correlation_id="c"))
    assert [await said(kind) for kind in ("thawed", "expired")] == [False, False]
    await shop.db.run(lambda tx: revoking.ban(tx, account, actor_id=1, reason="because", correlation_id="c"))
    assert [await said(kind) for kind in ("thawed", "revoked", "banned", "unbanned")] == [False, False, True, False]
    await shop.db.run(travel, timedelta(days=40))
    await shop.db.run(
        lambda tx: revoking.unban(tx, account, actor_id=1, conversion=PRICES.conversion, correlation_id="c")
    )
    assert [await said(kind) for kind in ("revoked", "banned", "unbanned")] == [True, False, True]
    await shop.settle()
    assert held.status == "active"
