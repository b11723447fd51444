"""Two consents, each by itself: data before anything is kept, where the shop asks for it; terms before the first payment."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from lib.domain import consents
from lib.domain.consents import Kind
from tests.integration.bot.conftest import services_over
from tests.integration.bot.customer import Customer
from tests.integration.bot.test_balance import held, to_balance, with_balance
from tests.integration.bot.test_purchase import count

if TYPE_CHECKING:
    from lib.db import Database, Transaction
    from tests.integration.bot.customer import FakeProvider


def asking(customer: Customer) -> Customer:
    customer.services = replace(customer.services, asks_data=True)
    return customer


def written(tx: Transaction) -> list[Any]:
    return tx.values("select concat_ws(' ', kind, version, accepted) from consents order by id")


def bodies(tx: Transaction) -> list[Any]:
    return tx.values("select body from updates order by update_id")


def rows_of_people(tx: Transaction) -> dict[str, int]:
    return {table: count(tx, table) for table in ("accounts", "fsm", "orders", "messages", "outbox", "trial_days")}


NOTHING = dict.fromkeys(("accounts", "fsm", "orders", "messages", "outbox", "trial_days"), 0)


@pytest.fixture
def anna(racing_db: Database, provider: FakeProvider) -> Customer:
    """A customer whose screens name numbers of orders, which a second run counts on."""
    return Customer(services_over(racing_db, provider), telegram_id=700_000_001)


# Data ------------------------------------------------------------------------------------------------------------


async def test_at_the_first_start_one_is_told_and_not_asked(anna: Customer) -> None:
    await anna.say("/start")
    assert "/privacy" in anna.text
    assert anna.button("Купить")
    await anna.say("/start")
    assert "/privacy" not in anna.text
    assert await anna.services.db.run(written) == []


@pytest.mark.parametrize(
    ("first", "language"),
    [("/start r_abc", "ru"), ("/buy", "en"), ("hello", "ru"), ("go:buy", "ru"), ("pay:cryptobot:1", "ru")],
)
async def test_where_it_is_asked_for_nothing_is_kept_before_a_yes(anna: Customer, first: str, language: str) -> None:
    anna.user["language_code"] = language
    db = asking(anna).services.db
    await (anna.say(first) if first[0] in "/h" else anna.tap(first))
    assert [button["text"] for button in anna.buttons] == (
        ["✅ Согласен", "✖️ Не согласен"] if language == "ru" else ["✅ I agree", "✖️ I don't agree"]  # noqa: RUF001 -- Russian
    )
    assert await db.run(rows_of_people) == NOTHING
    assert await db.run(written) == []
    no = anna.data("Не согласен" if language == "ru" else "don't")  # noqa: RUF001 -- Russian
    for _ in range(2):
        await anna.tap(no)
        assert len(anna.buttons) == 1
    assert await db.run(rows_of_people) == NOTHING
    assert await db.run(written) == ["data 1 f"]
    assert set(await db.run(bodies)) == {"{}"}
    await anna.say("/profile")
    assert len(anna.buttons) == 2
    assert await db.run(rows_of_people) == NOTHING


async def test_a_yes_is_the_first_start_and_keeps_the_deep_link(anna: Customer) -> None:
    db = asking(anna).services.db
    await anna.say("/start r_abc-9")
    await anna.press("Не согласен")  # noqa: RUF001 -- Russian
    await anna.say("/start r_abc-9")
    tap = anna.tap_of(anna.data("✅ Согласен"))
    first = await anna.give(tap)
    assert anna.button("Купить")
    assert (await anna.give(tap)).reply == first.reply
    assert await db.run(written) == ["data 1 f", "data 1 t"]
    assert await db.run(lambda tx: tx.values("select start_payload from accounts")) == ["r_abc-9"]
    await anna.say("/buy")
    assert anna.button("Basic")


async def test_two_taps_on_yes_at_once_are_one_account(racer: Customer) -> None:
    asking(racer)
    await racer.say("/start")
    yes = racer.data("✅ Согласен")
    await asyncio.gather(*(racer.tap(yes) for _ in range(4)))
    assert await racer.services.db.run(count, "accounts") == 1


async def test_a_customer_of_before_is_asked_at_start_alone_and_refused_nothing(
    anna: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await anna.say("/start")
    db = asking(anna).services.db
    await anna.say("/profile")
    assert "700000001" in anna.text
    await anna.say("/start")
    await anna.press("Не согласен")  # noqa: RUF001 -- Russian
    await anna.press("меню")
    await anna.say("/start")
    assert anna.button("Купить")
    monkeypatch.setitem(consents.VERSIONS, Kind.DATA, 2)
    await anna.say("/profile")
    assert "700000001" in anna.text
    await anna.say("/start")
    assert "Редакция 2" in anna.text
    await anna.press("✅ Согласен")
    assert anna.button("Купить")
    assert await db.run(written) == ["data 1 f", "data 2 t"]


async def test_an_answer_to_a_shop_that_asks_no_more_leads_to_the_menu(anna: Customer) -> None:
    await anna.tap("data:0:r_abc")
    assert anna.button("Купить")
    assert await anna.services.db.run(written) == []


@pytest.mark.parametrize("forged", ["data:", "data:2:", "data:1", "data:1:a b", "data:x:y:z"])
async def test_a_forged_answer_is_no_answer(anna: Customer, forged: str) -> None:
    db = asking(anna).services.db
    await anna.tap(forged)
    assert len(anna.buttons) == 2
    assert await db.run(written) == []
    assert await db.run(count, "accounts") == 0


# Terms -----------------------------------------------------------------------------------------------------------


def pay_buttons(customer: Customer) -> list[str]:
    return [button["text"] for button in customer.buttons if "оплатить" in button["text"]]


async def accept(customer: Customer, what: str) -> None:
    if what == "purchase":
        await customer.go_to_confirm()
    else:
        await to_balance(customer)
        await customer.press("250 ₽")


@pytest.mark.parametrize("what", ["purchase", "top-up"])
async def test_terms_are_asked_for_until_they_are_accepted_and_again_when_they_change(
    anna: Customer, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = anna.services.db
    await accept(anna, what)
    assert all("Принимаю условия" in text for text in pay_buttons(anna))
    assert "/terms" in anna.text
    assert await db.run(written) == []
    await anna.press("оплатить")
    assert await db.run(written) == ["terms 1 t"]
    for again in ("purchase", "top-up"):
        await accept(anna, again)
        assert all("Подтвердить" in text for text in pay_buttons(anna))
        assert "/terms" not in anna.text
    monkeypatch.setitem(consents.VERSIONS, Kind.TERMS, 2)
    for again in ("purchase", "top-up"):
        await accept(anna, again)
        assert all("Принимаю условия" in text for text in pay_buttons(anna))
    assert await db.run(written) == ["terms 1 t"]


@pytest.mark.parametrize("what", ["purchase", "top-up", "balance"])
async def test_a_button_from_before_a_change_accepts_no_later_terms(
    anna: Customer, provider: FakeProvider, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = anna.services.db
    if what == "balance":
        await with_balance(anna, 100_000)
    await accept(anna, "purchase" if what == "balance" else what)
    pay = anna.data("с баланса" if what == "balance" else "оплатить") if what == "balance" else anna.data("оплатить")  # noqa: RUF001 -- Russian
    monkeypatch.setitem(consents.VERSIONS, Kind.TERMS, 2)
    await anna.tap(pay)
    assert anna.toast.startswith("Условия изменились")
    assert await db.run(written) == []
    assert await db.run(count, "orders") == 0
    assert provider.created == []
    if what == "balance":
        assert (await db.run(held)).total == 100_000
    await anna.tap(pay)
    assert await db.run(written) == []
    await anna.press("с баланса" if what == "balance" else "оплатить")  # noqa: RUF001 -- Russian
    assert await db.run(written) == ["terms 2 t"]
    assert await db.run(count, "orders") == 1
