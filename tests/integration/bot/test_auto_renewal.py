"""The screen of auto-renewal: what is agreed to is what was shown, and forged or old buttons charge and change nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from lib.bot.callbacks import SetAutoRenewal
from lib.domain import renewals, subscriptions
from tests.integration.bot.conftest import services_over
from tests.integration.bot.customer import Customer, FakeProvider
from tests.integration.by_the_owner import travel
from tests.integration.domain.test_renewals import NEAR, PRICE, costing, subscribed

if TYPE_CHECKING:
    from lib.db import Database, Transaction

ANNA, OTHER = 700_000_031, 700_000_032


def is_on(tx: Transaction, account_id: int) -> bool:
    held = subscriptions.current(tx, account_id)
    return held is not None and held.auto_renew


def off(tx: Transaction, telegram_id: int) -> int:
    account_id = subscribed(tx, PRICE, telegram_id=telegram_id)
    renewals.turn_off(tx, account_id)
    return account_id


def at_the_bot(db: Database, telegram_id: int, language: str = "en") -> Customer:
    return Customer(services_over(db, FakeProvider()), telegram_id, language=language)


@pytest.mark.parametrize(
    ("language", "turn_on", "turn_off"), [("en", "Turn on", "Turn off"), ("ru", "Включить", "Выключить")]
)
async def test_it_is_turned_on_for_what_is_shown_and_off(
    racing_db: Database, language: str, turn_on: str, turn_off: str
) -> None:
    account = await racing_db.run(off, ANNA)
    anna = at_the_bot(racing_db, ANNA, language)
    await racing_db.run(lambda tx: tx.execute("update accounts set language = :language", language=language))
    await anna.tap("go:auto_renewal")
    assert "149" in anna.text
    on = anna.data(turn_on)
    await anna.tap(on)
    assert await racing_db.run(is_on, account)
    await anna.tap(on)  # the same button again
    assert await racing_db.run(is_on, account)
    await anna.press(turn_off)
    assert not await racing_db.run(is_on, account)


@pytest.mark.parametrize("forged", ["price", "order", "another's"])
async def test_a_forged_button_agrees_to_nothing(racing_db: Database, forged: str) -> None:
    account, other = await racing_db.run(off, ANNA), await racing_db.run(off, OTHER)
    ids = await racing_db.run(lambda tx: tx.values("select id from orders order by id"))
    wanted = {
        "price": SetAutoRenewal(on=True, order=ids[0], price=1),
        "order": SetAutoRenewal(on=True, order=ids[0] + 1_000, price=PRICE),
        "another's": SetAutoRenewal(on=True, order=ids[1], price=PRICE),
    }[forged]
    anna = at_the_bot(racing_db, ANNA)
    await anna.tap(wanted.pack())
    assert not await racing_db.run(is_on, account)
    assert not await racing_db.run(is_on, other)
    assert anna.toast
    assert "149" in anna.text, "it is shown again"


async def test_a_button_older_than_a_higher_price_is_shown_again(racing_db: Database) -> None:
    account = await racing_db.run(off, ANNA)
    anna = at_the_bot(racing_db, ANNA)
    await anna.tap("go:auto_renewal")
    on = anna.data("Включить")
    anna.services = replace(anna.services, prices=costing(PRICE + 10_000))
    await anna.tap(on)
    assert not await racing_db.run(is_on, account)
    assert "249" in anna.text
    await anna.press("Включить")
    assert await racing_db.run(is_on, account)


async def test_a_button_of_access_that_is_over_leads_to_a_purchase(racing_db: Database) -> None:
    account = await racing_db.run(off, ANNA)
    anna = at_the_bot(racing_db, ANNA)
    await anna.tap("go:auto_renewal")
    on = anna.data("Включить")
    await racing_db.run(travel, NEAR + timedelta(hours=6))
    await anna.tap(on)
    assert not await racing_db.run(is_on, account)
    assert "go:buy" in [button.get("callback_data") for button in anna.buttons]
