"""/paysupport and the history of the balance: what became of each charge, in words, to its own customer alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lib.domain import adjustments, customer_money, inbox, suspense_by_hand
from lib.domain.adjustments import Adjustment
from lib.domain.settlement import Event, Money
from lib.domain.suspense_by_hand import By
from lib.settings import pricelist
from sandbox.telegram.text.html_markup import parse_html
from tests.integration.bot.conftest import services_over
from tests.integration.bot.customer import Customer

if TYPE_CHECKING:
    from lib.db import Database, Transaction
    from tests.integration.bot.customer import FakeProvider

PRICES = pricelist.load()
OWNER = 11


@pytest.fixture
def anna(racing_db: Database, provider: FakeProvider) -> Customer:
    """A customer whose screens name numbers of orders, which a second run counts on."""
    return Customer(services_over(racing_db, provider), telegram_id=700_000_001)


def comes(tx: Transaction, order: Any, invoice: str, amount: int | None = None, currency: str = "RUB") -> int:
    """A charge of that order; the id of its event."""
    money = Money(order.price if amount is None else amount, currency, invoice, order.purchase_id)
    inbox.receive(tx, Event("cryptobot", invoice, b"{}", "webhook", "c", money), PRICES)
    return int(tx.value("select id from payment_events where external_id = :id", id=invoice))


def by() -> By:
    return By(OWNER, {OWNER}, "a reason of an operator", "c")


async def opened(customer: Customer, provider: FakeProvider) -> Any:
    await customer.go_to_confirm()
    await customer.press("оплатить")
    return provider.created[-1]


async def test_each_charge_is_told_with_what_became_of_it(anna: Customer, provider: FakeProvider) -> None:
    db = anna.services.db
    await anna.say("/paysupport")
    assert "Последние платежи" not in anna.text
    order = await opened(anna, provider)
    await db.run(comes, order, "less", 100)
    await anna.say("/paysupport")
    assert f"1 ₽</b> · заказ {order.id}: Basic, 30 дней — ⏳ деньги у нас" in anna.text  # noqa: RUF001 -- Russian
    await db.run(comes, order, "paid")
    further = await db.run(comes, order, "further")
    await anna.say("/paysupport")
    assert anna.text.count("149 ₽</b>") == 2
    assert f"заказ {order.id}: Basic, 30 дней — оплачен ✅" in anna.text
    assert f"заказ {order.id}: Basic, 30 дней — зачислен на баланс" in anna.text
    assert further
    less = await db.run(lambda tx: tx.value("select id from payment_events where external_id = 'less'"))
    await db.run(suspense_by_hand.given_back, less, by())
    await anna.say("/paysupport")
    assert "— возвращён" in anna.text
    assert "⏳" not in anna.text
    assert parse_html(anna.text)[0]


async def test_another_customer_sees_none_of_it(anna: Customer, provider: FakeProvider) -> None:
    order = await opened(anna, provider)
    await anna.services.db.run(comes, order, "paid")
    boris = Customer(anna.services, 700_000_077, name="Boris", language="en")
    await boris.say("/paysupport")
    assert "Last payments" not in boris.text
    await boris.tap(f"moves:{2**63 - 1}")
    assert "Nothing has happened" in boris.text


async def test_the_history_says_in_words_what_moved_the_balance(anna: Customer, provider: FakeProvider) -> None:
    db = anna.services.db
    await anna.tap("moves:0")
    assert "ничего не происходило" in anna.text
    order = await opened(anna, provider)
    await db.run(comes, order, "paid", order.price + 5_000)
    await db.run(comes, order, "further")
    gift = Adjustment(order.account_id, 30_000, OWNER, "outage", "ticket-7")
    await db.run(lambda tx: adjustments.credit(tx, gift, {OWNER}, currency="RUB", correlation_id="c"))
    await anna.go_to_confirm()
    await anna.press("с баланса")  # noqa: RUF001 -- Russian
    await anna.say("/profile")
    await anna.press("Баланс")
    await anna.press("История")
    lines = [line.split(" · ", 1)[1] for line in anna.text.split("\n")[1:]]
    bought = await db.run(lambda tx: tx.value("select max(id) from orders"))
    assert lines == [
        f"<b>−149 ₽</b> · покупка доступа, заказ {bought}",  # noqa: RUF001 -- a minus
        "<b>+300 ₽</b> · зачислено сотрудником",
        f"<b>+149 ₽</b> · ещё один платёж за уже оплаченное, заказ {order.id}",
        f"<b>+50 ₽</b> · пришло больше цены, заказ {order.id}",
    ]
    assert "outage" not in anna.text  # an operator's own words are not the customer's


async def test_the_history_goes_back_by_pages_and_never_into_anothers(anna: Customer) -> None:
    await anna.say("/start")
    db = anna.services.db

    def many(tx: Transaction) -> None:
        account_id = tx.value("select id from accounts")
        for number in range(17):
            one = Adjustment(account_id, 100 + number, OWNER, "a reason", f"t-{number}")
            adjustments.credit(tx, one, {OWNER}, currency="RUB", correlation_id="c")

    await db.run(many)
    await anna.tap("moves:0")
    pages = [anna.text]
    while any("Раньше" in button["text"] for button in anna.buttons):
        await anna.press("Раньше")
        pages.append(anna.text)
    assert [page.count("<b>+") for page in pages] == [8, 8, 1]
    assert "1,16 ₽" in pages[0]
    assert "1 ₽" in pages[2]


@pytest.mark.parametrize("forged", ["moves:-1", "moves:x", "moves:99999999999999999999", "moves:", "moves:1:2"])
async def test_a_forged_page_leads_to_the_menu(anna: Customer, forged: str) -> None:
    await anna.tap(forged)
    assert anna.button("Купить")


async def test_reading_changes_nothing(anna: Customer) -> None:
    await anna.say("/start")
    assert await anna.services.db.run(customer_money.charges, 2**62, 5) == []
    assert await anna.services.db.run(customer_money.moves, 2**62, most=5) == []
