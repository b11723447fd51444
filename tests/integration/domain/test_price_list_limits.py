"""G-19: with the largest numbers that a price list may hold, everything that uses them works; a retired tariff keeps its worth."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lib import migrate as command
from lib.domain import accounts, inbox, orders, subscriptions, trial
from lib.domain.accounts import Person
from lib.domain.settlement import Event, Money
from lib.settings import pricelist
from tests.quoting import at_list_price

if TYPE_CHECKING:
    from pathlib import Path

    from lib.db import Database, Transaction
    from lib.domain.pricelist import PriceList

BUILT_IN = pricelist.load()
MOST = 10**17 - 1
LARGEST = f"""
currency = "KZT"
order_minutes = 44640
[tariffs.dear]
devices = 10000
prices = {{ 3660 = {MOST} }}
[tariffs.cheap]
devices = 1
prices = {{ 3660 = {MOST // 100 + 1} }}
[trial]
tariff = "dear"
hours = 87840
daily_cap = 2147483647
devices = 10000
traffic_gb = 1000000000
"""


def meet(tx: Transaction) -> int:
    return accounts.meet(tx, Person(7, "Anna", None, "ru")).id


def buy(tx: Transaction, prices: PriceList, tariff: str, days: int, number: int) -> str:
    """Order, pay and settle; what became of the payment."""
    opened = orders.open_subscription(
        tx,
        meet(tx),
        tariff=tariff,
        period_days=days,
        quote=at_list_price(prices, tariff, days),
        provider="cryptobot",
        minutes=prices.order_minutes,
    ).order
    order = orders.attach_invoice(tx, opened.id, f"inv-{number}", "https://pay.example/1")
    money = Money(
        amount=order.price, currency=order.currency, invoice_id=order.invoice_id or "", purchase_id=order.purchase_id
    )
    event = Event("cryptobot", f"e{number}", f"{number}".encode(), "webhook", "c", money)
    return inbox.receive(tx, event, prices).outcome


def held(tx: Transaction) -> subscriptions.Subscription:
    found = subscriptions.current(tx, meet(tx))
    assert found is not None
    return found


@pytest.mark.proves("G-19")
async def test_the_largest_list_is_sold_paid_for_and_converted_to_and_fro(racing_db: Database, tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(LARGEST)
    prices = pricelist.read(path)
    account_id = await racing_db.run(meet)
    assert not isinstance(await racing_db.run(trial.start, account_id, prices.trial, "c"), trial.Refusal)
    for number, tariff in enumerate(["dear", "cheap", "dear", "cheap", "cheap", "dear"]):
        assert await racing_db.run(buy, prices, tariff, 3660, number) == "settled"
    assert (await racing_db.run(held)).expires_at.year < 9999


@pytest.mark.proves("G-19")
async def test_time_of_a_retired_tariff_is_converted_by_its_value(db: Database) -> None:
    plus = BUILT_IN.tariffs["plus"]
    retired = replace(BUILT_IN, tariffs=BUILT_IN.tariffs | {"plus": replace(plus, sold=False)})
    assert await db.run(buy, BUILT_IN, "plus", 365, 1) == "settled"
    before = await db.run(held)
    assert await db.run(buy, retired, "basic", 30, 2) == "settled"
    after = await db.run(held)
    now = await db.run(subscriptions.now)
    worth = (before.expires_at - now) * float(retired.conversion("plus", "basic"))
    assert abs((after.expires_at - now).total_seconds() - worth.total_seconds() - 30 * 86_400) < 120


@pytest.mark.proves("G-19")
async def test_money_for_time_of_unknown_worth_is_kept_until_the_list_says_it(db: Database) -> None:
    gone = replace(BUILT_IN, tariffs={"basic": BUILT_IN.tariffs["basic"]})
    assert await db.run(buy, BUILT_IN, "plus", 365, 1) == "settled"
    before = await db.run(held)
    assert await db.run(buy, gone, "basic", 30, 2) == "kept"
    assert await db.run(held) == before


async def test_migrate_refuses_a_list_that_lacks_what_customers_hold(
    db: Database,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert await db.run(buy, BUILT_IN, "plus", 365, 1) == "settled"
    assert await db.run(subscriptions.tariffs_held) == ["plus"]
    path = tmp_path / "prices.toml"
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("TARIFFS_PATH", str(path))
    built_in = pricelist._DEFAULT.read_text()
    plus = built_in[built_in.index("[tariffs.plus]") : built_in.index("[trial]")]
    for text, code in (
        (built_in.replace(plus, ""), 1),
        (built_in.replace(plus, f"{plus.rstrip()}\nsold = false\n\n"), 0),
    ):
        path.write_text(text)
        pricelist.load.cache_clear()
        assert await asyncio.to_thread(command.main, []) == code
    pricelist.load.cache_clear()
    assert "the price list lacks plus" in capsys.readouterr().err
