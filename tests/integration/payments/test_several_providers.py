"""Providers side by side: each is asked by itself, and one more is one module and one line."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from functions.sweeps import sweep_payments
from functions.tasks import task_settle
from lib import bootstrap
from lib.bot.services import Services
from lib.domain import inbox, orders
from lib.payments import registry
from lib.settings import plain
from tests.integration.bot.conftest import TELEGRAM
from tests.integration.bot.customer import Customer
from tests.integration.by_the_owner import travel
from tests.integration.payments import sample
from tests.integration.payments.sample_stand_in import SampleStandIn
from tests.integration.payments.test_contract import PRICES, open_order, ordered
from tests.integration.payments.tills import CryptoPayTill, SampleTill
from tests.integration.sweeps.runs import sweep_run
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lib.db import Database, Transaction
    from lib.domain.settlement import Event
    from lib.sweeps.runner import Run
    from tests.integration.payments.tills import Till

pytestmark = [pytest.mark.proves("N-32"), pytest.mark.usefixtures("queue")]


@dataclass(frozen=True)
class Tills:
    cryptobot: CryptoPayTill
    sample: SampleTill

    @property
    def both(self) -> tuple[Till, Till]:
        return self.cryptobot, self.sample


def statuses(tx: Transaction) -> dict[str, list[str]]:
    """Of the orders, by provider."""
    found: dict[str, list[str]] = tx.value(
        "select coalesce(jsonb_object_agg(provider, statuses), '{}') from"
        " (select provider, jsonb_agg(status order by id) as statuses from orders group by provider) each"
    )
    return found


async def swept(db: Database) -> Run:
    run = sweep_run(db, "payments")
    await sweep_payments._work(run)
    return run


@pytest.fixture
async def tills(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tills]:
    plain.cryptopay.cache_clear()
    made = Tills(CryptoPayTill(monkeypatch), SampleTill(monkeypatch))
    monkeypatch.setattr(bootstrap, "invoices", lambda: {one.provider.NAME: one.invoices for one in made.both})
    yield made
    for till in made.both:
        await till.close()
    plain.cryptopay.cache_clear()


async def test_money_that_no_one_told_of_is_found_at_each(db: Database, tills: Tills) -> None:
    """Of an order that is watched, of one that is over, of a second invoice, and of an invoice that was never heard of."""
    for number, till in enumerate(tills.both):
        first = 10 * number
        watched, invoice = await ordered(db, till, first + 1)
        await till.pay(invoice, watched)
        over, invoice = await ordered(db, till, first + 2)
        await db.run(orders.close_at_provider, [over.id])
        await till.pay(invoice, over)
        twice, _ = await ordered(db, till, first + 3)
        await till.pay(await till.invoice(twice), twice)
        lost = await db.run(open_order, till.provider.NAME, first + 4)
        await till.invoice(lost)
    await db.run(travel, timedelta(minutes=1))
    run = await swept(db)
    assert await db.run(statuses) == {name: ["paid", "paid", "paid", "open"] for name in ("cryptobot", "sample")}
    assert (run.done, run.failed, run.broken, run.cursors) == (6, 0, 0, {})
    assert await db.run(lambda tx: tx.value("select count(*) from orders where invoice_id is null")) == 0
    again = await swept(db)
    assert (again.done, again.failed) == (0, 0)


@pytest.mark.parametrize("broken", ["cryptobot", "sample"])
async def test_one_that_is_down_stops_no_other(db: Database, tills: Tills, broken: str) -> None:
    for number, till in enumerate(tills.both):
        order, invoice = await ordered(db, till, number + 1)
        await till.pay(invoice, order)
        if broken == till.provider.NAME:
            till.break_down()
    await swept(db)
    (other,) = {"cryptobot", "sample"} - {broken}
    assert await db.run(statuses) == {broken: ["open"], other: ["paid"]}


async def test_one_that_raises_what_no_one_foresaw_stops_no_other(
    db: Database, tills: Tills, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, till in enumerate(tills.both):
        order, invoice = await ordered(db, till, number + 1)
        await till.pay(invoice, order)

    def nonsense(*_: object) -> None:
        raise UnicodeError("of tomorrow")

    for method in ("look", "listed"):
        monkeypatch.setattr(tills.cryptobot.invoices, method, nonsense)
    run = await swept(db)
    assert await db.run(statuses) == {"cryptobot": ["open"], "sample": ["paid"]}
    assert run.broken > 0, "and the run says so"


async def test_one_that_does_not_answer_holds_up_no_other(db: Database, racing_db: Database, tills: Tills) -> None:
    for number, till in enumerate(tills.both):
        order, invoice = await ordered(db, till, number + 1)
        await till.pay(invoice, order)
    tills.cryptobot.stand_in.hang_next("getInvoices")
    sweeping = asyncio.create_task(swept(db))
    await until(lambda: _is_paid(racing_db, "sample"))
    assert await db.run(statuses) == {"cryptobot": ["open"], "sample": ["paid"]}
    assert not sweeping.done()
    tills.cryptobot.stand_in.release()
    await sweeping
    assert await db.run(statuses) == {"cryptobot": ["paid"], "sample": ["paid"]}


async def _is_paid(db: Database, name: str) -> bool:
    return (await db.run(statuses))[name] == ["paid"]


async def test_where_a_run_stopped_is_said_of_each_provider(
    db: Database, tills: Tills, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow one that used up the run's time takes nothing of the other's list from it."""
    for number, till in enumerate(tills.both):
        await ordered(db, till, number + 1)
    run = sweep_run(db, "payments")
    run.cursors = {"cryptobot": 10**6}
    asked: list[str] = []
    for till in tills.both:
        assert till.invoices is not None
        look = till.invoices.look

        async def noted(invoice_ids: list[str], look=look, name=till.provider.NAME):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 -- as the port has it
            asked.append(name)
            return await look(invoice_ids)

        monkeypatch.setattr(till.invoices, "look", noted)
    await sweep_payments._work(run)
    assert asked == ["sample"]
    assert run.cursors == {}


async def test_a_sixth_provider_is_one_module_and_one_line(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sample_is_registered` is the line: with it alone it is offered, asked for invoices, swept, read again, and has its account."""
    stand_in = SampleStandIn()
    monkeypatch.setattr(bootstrap, "http_client", lambda: stand_in.client)
    monkeypatch.delenv("CRYPTOPAY_TOKEN", raising=False)
    plain.cryptopay.cache_clear()
    bootstrap.invoices.cache_clear()
    invoices = bootstrap.invoices()
    assert list(invoices) == [sample.NAME]
    anna = Customer(Services(db, PRICES, TELEGRAM, invoices, ZoneInfo("Europe/Moscow")), telegram_id=700_000_001)
    await anna.go_to_confirm()
    await anna.press("оплатить 149 ₽")
    assert anna.button("Оплатить 149 ₽")["url"] == "https://sample.test/in-1"
    charge = stand_in.pay("in-1")
    event = sample.event_of(charge, json.dumps(charge).encode(), "webhook", "c")
    monkeypatch.setattr(bootstrap, "database", lambda: db)
    await _keep_then_settle(db, event, monkeypatch)
    assert await db.run(statuses) == {"sample": ["paid"]}
    assert await db.run(lambda tx: tx.values("select clearing from providers where name = 'sample'")) == [
        "clearing:sample"
    ]
    await anna.press("Проверить")
    assert anna.toast == "Оплачено ✅"
    bootstrap.invoices.cache_clear()
    plain.cryptopay.cache_clear()


async def _keep_then_settle(db: Database, event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be settled when it came is read again by its provider's own reader."""

    def fail(*_: object) -> None:
        raise RuntimeError("of tomorrow")

    with monkeypatch.context() as broken:
        broken.setattr(inbox, "settle", fail)
        kept = await db.run(inbox.receive, event, PRICES)
    assert kept.outcome == "kept"
    (work,) = kept.follow_up
    assert (await task_settle._settle({"outbox_id": work.id, "event_id": kept.event_id}))["outcome"] == "settled"


async def test_where_there_is_a_choice_the_buttons_say_which(db: Database, tills: Tills) -> None:
    anna = Customer(Services(db, PRICES, TELEGRAM, bootstrap.invoices(), ZoneInfo("Europe/Moscow")), telegram_id=7)
    await anna.go_to_confirm()
    labels = [button["text"] for button in anna.buttons if "оплатить" in button["text"]]
    assert [label.rsplit(" · ", 1)[1] for label in labels] == ["CryptoBot", "Sample"]
    pay = anna.data("Sample")
    await anna.tap(pay.replace("sample", "seashells"))
    assert await db.run(statuses) == {}, "a method that is not offered sells nothing"
    await anna.press("Sample")
    assert await db.run(statuses) == {"sample": ["open"]}
    # another method replaces the order, and its invoice is taken back at the provider that made it
    await anna.go_to_confirm()
    await anna.press("CryptoBot")
    assert await db.run(statuses) == {"cryptobot": ["open"], "sample": ["replaced"]}
    assert tills.sample.stand_in.invoices["in-1"]["over"]


def test_what_only_pretends_to_take_money_is_none_of_productions() -> None:
    assert "test" in registry.providers("local")
    assert "test" in registry.providers("dev")
    assert "test" not in registry.providers("prod")
