"""S2-1.5: an outage of ours that is longer than Telegram keeps updates. What people wrote meanwhile is gone; their money is not."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from functions.sweeps import sweep_expiry, sweep_payments
from lib import bootstrap
from lib.payments.provider import PaidPage
from tests.integration.bot.customer import Customer, FakeProvider
from tests.integration.by_the_owner import travel
from tests.integration.sweeps.runs import Queue, sweep_run

if TYPE_CHECKING:
    from lib.db import Database, Transaction

_OUTAGE = timedelta(hours=30)
"""Telegram keeps an update for 24 h."""


class Listing(FakeProvider):
    """Lists what was paid, as a provider does that kept its books while Atlas was away."""

    async def listed(self, _start: int) -> PaidPage:
        return PaidPage({key: {"invoice_id": key} for key in self.paid}, following=len(self.paid))


@pytest.fixture
def provider() -> Listing:
    return Listing()


def _paid(tx: Transaction) -> list[tuple[str, int]]:
    rows = tx._run(
        "select status, (select count(*) from payments p where p.order_id = o.id) from orders o order by id", {}
    )
    return [(status, payments) for status, payments in rows[1]]


async def _back(db: Database, provider: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Atlas runs again, and its sweeps with it; not one update of the outage comes any more."""
    monkeypatch.setattr(bootstrap, "invoices", lambda: {provider.name: provider})
    monkeypatch.setattr(bootstrap, "giving_back", dict)
    monkeypatch.setattr(bootstrap, "task_queue", Queue)
    run = sweep_run(db, "payments")
    await sweep_payments._work(run)
    assert not run.broken


@pytest.mark.proves("S2-1.5")
async def test_money_paid_in_an_outage_is_found_and_old_buttons_show_where_people_stand(
    anna: Customer, provider: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = anna.services.db
    boris = Customer(anna.services, telegram_id=700_000_003, name="Boris")
    for customer in (anna, boris):
        await customer.say("/start")
        await customer.go_to_confirm()
        await customer.press("оплатить")
    old = {customer: customer.data("Проверить") for customer in (anna, boris)}
    provider.pay(provider.created[0], "inv-1")  # while Atlas is away: no webhook, and her taps are lost
    await db.run(travel, _OUTAGE)
    await _back(db, provider, monkeypatch)
    assert await db.run(_paid) == [("paid", 1), ("expired", 0)]
    await anna.tap(old[anna])
    assert anna.toast == "Оплачено ✅"
    await anna.press("Мой ключ")
    assert "Ключ готовится" in anna.text
    await boris.tap(old[boris])
    assert "время на оплату вышло" in boris.text
    await _back(db, provider, monkeypatch)
    assert await db.run(_paid) == [("paid", 1), ("expired", 0)], "once"


@pytest.mark.proves("S2-1.5")
async def test_access_that_ended_in_an_outage_is_shown_as_ended_by_a_button_of_before_it(
    anna: Customer, provider: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = anna.services.db
    await anna.go_to_confirm()
    await anna.press("оплатить")
    check = anna.data("Проверить")
    provider.pay(provider.created[0], "inv-1")
    await anna.tap(check)
    menu = anna.data("Мой ключ")
    await db.run(travel, timedelta(days=31))
    monkeypatch.setattr(bootstrap, "task_queue", Queue)
    await sweep_expiry._work(sweep_run(db, "expiry"))
    await anna.tap(menu)
    assert "Ключ готовится" not in anna.text
    assert anna.button("Купить")
