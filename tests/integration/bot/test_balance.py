"""The balance in the chat: buying from it, topping it up, and everything that is not an amount."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from lib import texts
from lib.domain import adjustments, balance, updates
from lib.domain.adjustments import Adjustment
from lib.domain.ledger import Wallets
from lib.settings import pricelist
from tests.integration.bot.conftest import services_over
from tests.integration.bot.customer import Customer, FakeProvider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lib.db import Database, Transaction
    from lib.payments.provider import Invoice

PRICES = pricelist.load()
STALE = texts.of("ru").plain("toast-stale")


@pytest.fixture
def anna(racing_db: Database, provider: FakeProvider) -> Customer:
    """A customer whose transactions are run twice, without a look at whether both say the same: a screen names the order's number."""
    return Customer(services_over(racing_db, provider), telegram_id=700_000_001)


def give(tx: Transaction, amount: int) -> None:
    account_id = tx.value("select id from accounts")
    given = Adjustment(account_id, amount, 1, "for a test", f"test-{amount}")
    adjustments.credit(tx, given, {1}, currency="RUB", correlation_id="c")


def held(tx: Transaction) -> Wallets:
    return balance.of(tx, tx.value("select id from accounts"))


def sold(tx: Transaction) -> list[Any]:
    return tx.values("select kind || ' ' || provider || ' ' || status || ' ' || price from orders order by id")


async def with_balance(customer: Customer, amount: int) -> Customer:
    await customer.say("/start")
    await customer.services.db.run(give, amount)
    return customer


async def test_access_is_bought_from_the_balance_with_one_tap(anna: Customer, provider: FakeProvider) -> None:
    await with_balance(anna, 20_000)
    await anna.go_to_confirm()
    handled = await anna.press("с баланса")  # noqa: RUF001 -- Russian
    assert anna.toast == "Оплачено ✅"
    assert "оплачен" in anna.text
    assert {item.target for item in handled.follow_up} == {"task_provision", "task_notify"}
    db = anna.services.db
    assert await db.run(sold) == ["subscription balance paid 14900"]
    assert await db.run(held) == Wallets(5_100, 0)
    assert provider.created == []
    await anna.press("В меню")  # noqa: RUF001 -- Russian
    await anna.press("Профиль")
    assert "51 ₽" in anna.text


@pytest.mark.proves("S4-12.pay-from-balance")
async def test_two_taps_on_pay_from_balance_buy_once(racer: Customer) -> None:
    await with_balance(racer, 100_000)
    await racer.go_to_confirm()
    tap = racer.data("с баланса")  # noqa: RUF001 -- Russian
    await asyncio.gather(*(racer.tap(tap) for _ in range(5)))
    assert "оплачен" in racer.text
    db = racer.services.db
    assert await db.run(sold) == ["subscription balance paid 14900"]
    assert await db.run(held) == Wallets(85_100, 0)
    await racer.tap(tap)
    assert await db.run(sold) == ["subscription balance paid 14900"]


async def test_too_little_is_said_and_the_top_up_is_beside_it(anna: Customer) -> None:
    await with_balance(anna, 5_000)
    await anna.go_to_confirm()
    assert "На балансе 50 ₽, не хватает 99 ₽" in anna.text  # noqa: RUF001 -- Russian
    assert not [button for button in anna.buttons if "с баланса" in button["text"]]  # noqa: RUF001 -- Russian
    await anna.press("Пополнить")
    assert "50 ₽" in anna.text


async def test_money_that_went_meanwhile_buys_nothing(anna: Customer) -> None:
    await with_balance(anna, 14_900)
    await anna.go_to_confirm()

    def take(tx: Transaction) -> None:
        taken = Adjustment(tx.value("select id from accounts"), 1, 1, "for a test", "taken")
        adjustments.debit(tx, taken, {1}, currency="RUB", correlation_id="c")

    await anna.services.db.run(take)
    await anna.press("с баланса")  # noqa: RUF001 -- Russian
    assert anna.toast == "На балансе не хватает денег"  # noqa: RUF001 -- Russian
    assert "не хватает 0,01 ₽" in anna.text
    db = anna.services.db
    assert (await db.run(sold), await db.run(held)) == ([], Wallets(14_899, 0))


@pytest.mark.parametrize("factor", [2, 0.5])
async def test_a_price_that_changed_is_shown_again_and_nothing_is_taken(anna: Customer, factor: float) -> None:
    await with_balance(anna, 100_000)
    await anna.go_to_confirm()
    basic = PRICES.tariffs["basic"]
    other = int(basic.prices[30] * factor)
    changed = replace(PRICES, tariffs=PRICES.tariffs | {"basic": replace(basic, prices=basic.prices | {30: other})})
    anna.services = replace(anna.services, prices=changed)
    await anna.press("с баланса")  # noqa: RUF001 -- Russian
    assert anna.toast == "Цена изменилась, проверьте заказ."
    assert await anna.services.db.run(sold) == []
    await anna.press("с баланса")  # noqa: RUF001 -- Russian
    assert await anna.services.db.run(sold) == [f"subscription balance paid {other}"]


async def test_an_invoice_that_made_way_is_taken_back(anna: Customer, provider: FakeProvider) -> None:
    await with_balance(anna, 14_900)
    await anna.go_to_confirm()
    await anna.press("CryptoBot")
    await anna.go_to_confirm()
    handled = await anna.press("с баланса")  # noqa: RUF001 -- Russian
    assert provider.deleted == ["inv-1"]
    assert {item.target for item in handled.follow_up} == {"task_provision", "task_notify"}
    assert await anna.services.db.run(sold) == [
        "subscription cryptobot replaced 14900",
        "subscription balance paid 14900",
    ]


async def test_methods_are_those_that_the_operator_wants_in_their_order(anna: Customer) -> None:
    await with_balance(anna, 100_000)
    await anna.go_to_confirm()
    tap = anna.data("с баланса")  # noqa: RUF001 -- Russian
    assert [button["text"].rsplit(" · ", 1)[-1] for button in anna.buttons][:2] == ["CryptoBot", "с баланса"]  # noqa: RUF001 -- Russian
    anna.services = replace(anna.services, wanted=("cryptobot",))
    await anna.tap(tap)
    assert await anna.services.db.run(sold) == []
    await anna.go_to_confirm()
    assert not [button for button in anna.buttons if "с баланса" in button["text"]]  # noqa: RUF001 -- Russian
    anna.services = replace(anna.services, wanted=("balance",))
    await anna.go_to_confirm()
    assert [button["text"] for button in anna.buttons if "оплатить" in button["text"]] == [
        "✅ Принимаю условия, оплатить 149 ₽"
    ]


async def test_without_a_provider_only_a_balance_opens_the_shop(anna: Customer) -> None:
    anna.services = services_over(anna.services.db, None)
    await anna.say("/buy")
    assert "заказы не принимаются" in anna.text
    await with_balance(anna, 14_900)
    await anna.go_to_confirm()
    await anna.press("оплатить 149 ₽")
    assert await anna.services.db.run(sold) == ["subscription balance paid 14900"]


async def test_a_method_below_its_minimum_is_named_and_not_offered(anna: Customer) -> None:
    await anna.say("/start")
    anna.services = replace(anna.services, prices=replace(PRICES, minimums={"cryptobot": 14_901}))
    await anna.go_to_confirm()
    assert "CryptoBot принимает от 149,01 ₽" in anna.text
    assert not [button for button in anna.buttons if "оплатить" in button["text"]]
    forged = f"pay:cryptobot:{anna.data('Назад').rsplit(':', 1)[1]}"
    await anna.tap(forged)
    assert await anna.services.db.run(sold) == []


# Top-up ----------------------------------------------------------------------------------------------------------


async def to_balance(anna: Customer) -> None:
    await anna.say("/profile")
    await anna.press("Баланс")


async def test_a_top_up_is_an_order_and_its_money_comes_to_the_balance(anna: Customer, provider: FakeProvider) -> None:
    await to_balance(anna)
    assert [button["text"] for button in anna.buttons][:4] == ["250 ₽", "750 ₽", "999 ₽", "✍️ Другая сумма"]
    await anna.press("750 ₽")
    assert "Пополнение баланса на 750 ₽" in anna.text
    await anna.press("оплатить 750 ₽")
    assert anna.button("Оплатить 750 ₽")["url"] == "https://t.me/CryptoBot?start=inv1"
    assert provider.descriptions == ["Atlas: Пополнение баланса на 750 ₽"]
    provider.pay(provider.created[0], "inv-1")
    await anna.press("Проверить")
    assert anna.toast == "Оплачено ✅"
    assert "На балансе: <b>750 ₽</b>" in anna.text  # noqa: RUF001 -- Russian
    db = anna.services.db
    assert await db.run(sold) == ["top_up cryptobot paid 75000"]
    assert await db.run(held) == Wallets(75_000, 0)
    await anna.go_to_confirm()
    await anna.press("с баланса")  # noqa: RUF001 -- Russian
    assert await db.run(held) == Wallets(60_100, 0)


async def test_an_amount_is_typed(anna: Customer, provider: FakeProvider) -> None:
    await to_balance(anna)
    await anna.press("Другая сумма")
    assert "от 100 ₽ до 100\u00a0000 ₽" in anna.text
    await anna.say("1 234,50 ₽")
    await anna.press("оплатить 1\u00a0234,50 ₽")
    assert [(order.kind, order.price) for order in provider.created] == [("top_up", 123_450)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1e9", "одно число"),
        ("NaN", "одно число"),
        ("0.1+0.2", "одно число"),
        ("-250", "отрицательной"),
        ("0", "больше нуля"),
        ("100.12345678901234567", "двух цифр"),
        ("\u0662\u0665\u0660", "обычными цифрами"),
        ("$250", "только в рублях"),
        ("99", "меньше"),
        ("100001", "больше, чем"),
    ],
)
async def test_what_is_no_amount_is_refused_in_words_and_asked_again(anna: Customer, text: str, said: str) -> None:
    await to_balance(anna)
    await anna.press("Другая сумма")
    await anna.say(text)
    assert said in anna.text
    assert "от 100 ₽" in anna.text
    assert await anna.services.db.run(sold) == []
    await anna.say("250")
    assert "Пополнение баланса на 250 ₽" in anna.text


async def test_a_text_that_was_not_asked_for_is_no_amount(anna: Customer) -> None:
    await to_balance(anna)
    await anna.say("250")
    assert "Я понимаю кнопки и команды" in anna.text


async def test_two_taps_on_pay_make_one_top_up(racer: Customer, provider: FakeProvider) -> None:
    await to_balance(racer)
    await racer.press("250 ₽")
    tap = racer.data("оплатить")
    await asyncio.gather(*(racer.tap(tap) for _ in range(4)))
    assert len(provider.created) == 1
    assert await racer.services.db.run(sold) == ["top_up cryptobot open 25000"]


async def die(*_: object) -> Invoice:
    raise ConnectionResetError


@pytest.mark.parametrize("again", ["the update", "the button"])
async def test_a_top_up_whose_handler_dies_before_its_invoice_is_carried_on(
    anna: Customer, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    db = anna.services.db
    await to_balance(anna)
    await anna.press("250 ₽")
    data = anna.data("оплатить")
    tap = anna.tap_of(data)
    with monkeypatch.context() as patch:
        patch.setattr(provider, "make", die)
        with pytest.raises(ConnectionResetError):
            await anna.give(tap)
    if again == "the update":
        with pytest.raises(updates.NotYet):  # the one that died may be at the provider still
            await anna.give(tap)
    await db.run(lambda tx: tx.execute("update orders set invoice_claimed_until = atlas.now()"))
    await (anna.give(tap) if again == "the update" else anna.tap(data))
    assert anna.button("Оплатить 250 ₽")["url"]
    assert len(provider.created) == 1
    assert await db.run(sold) == ["top_up cryptobot open 25000"]


async def test_payments_off_makes_no_invoice_of_a_top_up_that_is_open(anna: Customer, provider: FakeProvider) -> None:
    await to_balance(anna)
    await anna.press("250 ₽")
    provider.down = True
    await anna.press("оплатить")
    provider.down = False
    retry = anna.buttons[0]["callback_data"]
    off = "insert into flags (name, enabled) values ('payments', false)"
    await anna.services.db.run(lambda tx: tx.execute(off))
    await anna.tap(retry)
    assert "Сейчас заказы не принимаются" in anna.text
    assert len(provider.created) == 1  # the one that failed


async def test_a_top_up_and_an_order_for_access_stand_side_by_side(anna: Customer) -> None:
    await anna.go_to_confirm()
    await anna.press("оплатить")
    await to_balance(anna)
    await anna.press("250 ₽")
    await anna.press("оплатить")
    assert await anna.services.db.run(sold) == ["subscription cryptobot open 14900", "top_up cryptobot open 25000"]
    await to_balance(anna)
    await anna.press("750 ₽")
    await anna.press("оплатить")
    assert (await anna.services.db.run(sold))[1:] == ["top_up cryptobot replaced 25000", "top_up cryptobot open 75000"]


async def old_top_up(anna: Customer) -> str:
    await to_balance(anna)
    await anna.press("250 ₽")
    return anna.data("оплатить")


async def old_access(anna: Customer) -> str:
    await anna.go_to_confirm()
    return anna.data("оплатить")


async def old_tariff(anna: Customer) -> str:
    await anna.say("/buy")
    return anna.data("Basic")


@pytest.mark.parametrize("old", [old_top_up, old_access, old_tariff])
async def test_an_older_button_leaves_the_confirmation_of_a_top_up_as_it_is(
    anna: Customer, old: Callable[[Customer], Awaitable[str]]
) -> None:
    await to_balance(anna)
    button = await old(anna)
    await to_balance(anna)
    await anna.press("750 ₽")
    newer = anna.data("оплатить")
    await anna.tap(button)
    assert anna.toast == STALE
    assert "Пополнение баланса на 750 ₽" in anna.text
    assert anna.data("оплатить") == newer
    await anna.tap(newer)
    assert await anna.services.db.run(sold) == ["top_up cryptobot open 75000"]


async def test_an_older_button_leaves_the_question_for_an_amount_as_it_is(anna: Customer) -> None:
    button = await old_top_up(anna)
    await to_balance(anna)
    await anna.press("Другая сумма")
    await anna.tap(button)
    assert anna.toast == STALE
    assert "от 100 ₽" in anna.text
    await anna.say("500")
    assert "Пополнение баланса на 500 ₽" in anna.text


async def test_an_older_button_shows_the_amounts_of_today_where_the_one_picked_is_sold_no_more(anna: Customer) -> None:
    button = await old_top_up(anna)
    await to_balance(anna)
    await anna.press("750 ₽")
    assert PRICES.top_up is not None
    lower = replace(PRICES, top_up=replace(PRICES.top_up, amounts=(30_000,), most=30_000))
    anna.services = replace(anna.services, prices=lower)
    await anna.tap(button)
    assert anna.toast == STALE
    assert anna.buttons[0]["text"] == "300 ₽"
    assert await anna.services.db.run(sold) == []


async def test_an_older_button_says_that_the_price_of_a_top_up_changed(anna: Customer) -> None:
    db = anna.services.db
    button = await old_top_up(anna)
    await to_balance(anna)
    await anna.press("750 ₽")
    await db.run(lambda tx: tx.execute("update fsm set data = jsonb_set(data, '{prices,cryptobot,0}', '74000')"))
    await anna.tap(button)
    assert anna.toast == "Цена изменилась, проверьте заказ."
    await anna.press("оплатить 750 ₽")
    assert await db.run(sold) == ["top_up cryptobot open 75000"]


async def test_an_old_top_up_button_shows_where_the_dialogue_is(anna: Customer) -> None:
    button = await old_top_up(anna)
    await anna.go_to_confirm()
    newer = anna.data("оплатить")
    await anna.tap(button)
    assert anna.toast == STALE
    assert anna.data("оплатить") == newer


@pytest.mark.parametrize(
    "data", ["top_up:1", "top_up:24999", f"top_up:{10**17}", "pay_top_up:cryptobot:0", "pay_top_up:stars:1"]
)
async def test_a_forged_button_tops_nothing_up(anna: Customer, data: str) -> None:
    await to_balance(anna)
    await anna.tap(data)
    assert anna.buttons[0]["text"] == "250 ₽"
    assert await anna.services.db.run(sold) == []


async def test_amounts_of_before_a_change_are_shown_anew(anna: Customer) -> None:
    await to_balance(anna)
    await anna.press("250 ₽")
    pay = anna.data("оплатить")
    assert PRICES.top_up is not None
    anna.services = replace(
        anna.services, prices=replace(PRICES, top_up=replace(PRICES.top_up, amounts=(30_000,), least=30_000))
    )
    await anna.tap(pay)
    assert await anna.services.db.run(sold) == []
    assert anna.buttons[0]["text"] == "300 ₽"
