"""N-30: a random day at several providers, with news that is lost, doubled and reordered: the books say what the providers say."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from functions.sweeps import sweep_payments
from lib import bootstrap
from lib.domain import inbox, orders
from lib.payments.reconciling import reconcile
from lib.settings import plain
from tests.integration.by_the_owner import travel
from tests.integration.payments.planted import Planted, least, listed
from tests.integration.payments.test_contract import PRICES, open_order
from tests.integration.payments.tills import CryptoPayTill, SampleTill, StarsTill
from tests.integration.sweeps.runs import sweep_run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lib.db import Database
    from lib.domain.reconciliation import Difference
    from lib.domain.settlement import Event
    from tests.integration.payments.tills import Till

pytestmark = [pytest.mark.proves("N-30"), pytest.mark.usefixtures("queue")]

_FATES = ("told", "told twice", "told late", "lost", "lost")
_WHAT = ("sale", "sale", "sale", "twice", "less", "stray")


@dataclass
class Day:
    """What was paid so far, and the news of it that did not arrive yet."""

    db: Database
    tills: list[Till]
    chance: random.Random
    charges: int = 0
    on_the_way: list[Event] = field(default_factory=list)

    async def one(self, number: int) -> None:
        """One customer does something at one of the providers, and the news of it has a fate."""
        till, what = self.chance.choice(self.tills), self.chance.choice(_WHAT)
        order = await self.db.run(open_order, till.provider.NAME, number)
        asked = order
        if what == "less":
            asked = replace(order, price=order.price - 1)
        elif what == "stray":
            asked = replace(order, purchase_id=uuid4())
        invoice = await till.invoice(asked)
        if till.invoices is not None and what != "stray":
            order = await self.db.run(orders.attach_invoice, order.id, invoice.invoice_id, invoice.url)
        await self._news((await till.pay(invoice, asked)).told)
        if what == "twice":
            await self._news((await till.pay(await till.invoice(asked), asked)).told)

    async def _news(self, told: Event) -> None:
        self.charges += 1
        fate = self.chance.choice(_FATES)
        if fate.startswith("told") and fate != "told late":
            await self.db.run(inbox.receive, told, PRICES)
        if fate in {"told twice", "told late"}:
            self.on_the_way.append(told)
        if fate == "told late":
            self.on_the_way += [told] * self.chance.randrange(2)

    async def ends(self) -> None:
        """What was late arrives in any order; what never came is found by the sweep, in as many passes as it takes."""
        self.chance.shuffle(self.on_the_way)
        for told in self.on_the_way:
            await self.db.run(inbox.receive, told, PRICES)
        for _ in range(5):
            await sweep_payments._work(sweep_run(self.db, "payments"))
            if await self.db.run(lambda tx: tx.value("select count(*) from payment_events")) >= self.charges:
                return
        raise AssertionError("the sweep has not found all that was paid")


@pytest.fixture
async def tills(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Till]]:
    plain.cryptopay.cache_clear()
    made: list[Till] = [CryptoPayTill(monkeypatch), StarsTill(monkeypatch), SampleTill(monkeypatch)]
    monkeypatch.setattr(bootstrap, "invoices", lambda: {one.provider.NAME: one.invoices for one in made})
    yield made
    for till in made:
        await till.close()
    plain.cryptopay.cache_clear()


async def differences(db: Database, till: Till, account: Planted) -> list[Difference]:
    found = await reconcile(db, till.provider.NAME, account, anyway=True)
    assert found is not None
    assert (found.outcome.complete, found.outcome.balance_judged, found.outcome.under_way) == (True, True, 0)
    return list(found.outcome.differences)


async def a_day(db: Database, tills: list[Till], seed: int, customers: int) -> None:
    chance = random.Random(seed)  # noqa: S311 -- a test's; the seed is in its name
    day = Day(db, tills, chance)
    for number in range(1, customers + 1):
        await day.one(number)
    await day.ends()
    await db.run(travel, timedelta(hours=1))
    for till in tills:
        assert till.account is not None
        account = Planted(till.account)
        assert await differences(db, till, account) == [], till.provider.NAME
        await planted(db, till, account, chance)


async def planted(db: Database, till: Till, account: Planted, chance: random.Random) -> None:
    """One minor unit, of a line or of what is held, more or less, is named: which line, and by how much."""
    lines = await listed(account)
    if not lines:
        return
    line = chance.choice(sorted(lines.values(), key=lambda one: one.id))
    unit = least(line.asset) * chance.choice((1, -1))
    account.changed = {line.id: replace(line, amount=line.amount + unit)}
    (found,) = await differences(db, till, account)
    assert found.said is not None
    assert found.booked is not None
    assert (found.state, found.external_id, found.asset) == ("differs", line.id, line.asset)
    assert found.said - found.booked == unit
    account.changed = {}
    account.more = {line.asset: unit}
    (found,) = await differences(db, till, account)
    assert (found.state, found.asset, (found.said or 0) - (found.booked or 0)) == ("balance", line.asset, unit)
    account.more = {}
    assert await differences(db, till, account) == []


@pytest.mark.parametrize("seed", [20261130, 30])
async def test_after_a_random_day_the_books_are_what_the_providers_say(
    db: Database, tills: list[Till], seed: int
) -> None:
    await a_day(db, tills, seed, 14)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(100, 112))
async def test_after_a_long_random_day_the_books_are_what_the_providers_say(
    db: Database, tills: list[Till], seed: int
) -> None:
    await a_day(db, tills, seed, 80)
