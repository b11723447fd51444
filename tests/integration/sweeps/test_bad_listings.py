"""The payments sweep against the stand-in, whose listings have holes, end early and hold rows of another shop."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from lib import bootstrap
from lib.domain import orders
from lib.payments.cryptopay import CryptoPay
from lib.settings.plain import CryptoPaySettings
from sandbox import cryptopay as stand_in
from sandbox.stand_in.clock import Clock
from tests.integration.by_the_owner import travel
from tests.integration.sweeps.grants import PRICES, meet
from tests.integration.sweeps.test_payments import swept
from tests.quoting import at_list_price

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from lib.db import Database, Transaction
    from lib.domain.orders import Order

_ORDERS = 16
_BAD = stand_in.Standing(missing=0.3, short=0.4, foreign=0.6, refused=0.1)


@pytest.fixture
def db(processes: Callable[[int], list[Database]]) -> Database:
    return processes(1)[0]


@pytest.fixture
async def pay() -> AsyncIterator[stand_in.CryptoPay]:
    made = stand_in.CryptoPay(["1:new"], clock=Clock())
    made.public_url = "http://127.0.0.1"
    yield made
    await made.stop()


@pytest.fixture
async def provider(pay: stand_in.CryptoPay, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CryptoPay]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(pay.app)) as http:
        made = CryptoPay(
            lambda: http, CryptoPaySettings(("1:new",), "http://127.0.0.1", ("USDT",)), invoice_seconds=1800
        )
        monkeypatch.setattr(bootstrap, "invoices", lambda: {made.name: made})
        yield made


def _open(tx: Transaction, telegram_id: int) -> Order:
    return orders.open_subscription(
        tx,
        meet(tx, telegram_id),
        tariff="basic",
        period_days=30,
        quote=at_list_price(PRICES, "basic", 30),
        provider="cryptobot",
        minutes=30,
    ).order


def _statuses(tx: Transaction) -> list[str]:
    return tx.values("select status from orders order by id")


@pytest.mark.usefixtures("queue")
@pytest.mark.proves("G-3")
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.full), pytest.param(3, marks=pytest.mark.full)])
async def test_all_that_was_paid_is_found_and_nothing_else_is_taken_for_it(
    db: Database, pay: stand_in.CryptoPay, provider: CryptoPay, seed: int
) -> None:
    """No webhook comes. Every third order's invoice was made and its address never heard; that one can't be shown, nor paid."""
    paid = set[int]()
    for number in range(_ORDERS):
        order = await db.run(_open, number + 1)
        invoice = await provider.make(order, "Basic")
        if number % 3:
            await db.run(orders.attach_invoice, order.id, invoice.invoice_id, invoice.url)
        if number % 3 == 1:
            await pay.pay(int(invoice.invoice_id), webhook=False)
            paid.add(number)
    pay.faults.dice.seed(seed)
    pay.faults.standing = _BAD
    for _ in range(60):
        await swept(db)
        await db.run(travel, timedelta(minutes=1))
        pay.clock.travel(timedelta(minutes=1))
    pay.faults.standing = stand_in.Standing()
    await swept(db)
    found = await db.run(_statuses)
    assert {number for number, status in enumerate(found) if status == "paid"} == paid
    assert set(found) <= {"paid", "expired"}
    foreign = "select count(*) from payment_events where status = 'settled' and external_id like '90000000_'"
    assert await db.run(lambda tx: tx.value(foreign)) == 0
