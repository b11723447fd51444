"""Many people who write for the first time in one moment: nothing dead-locks, and money does not wait for them (N-17)."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from lib.bot.handle import handle
from lib.bot.services import Services
from lib.db import Database
from lib.domain import accounts, telegram_budget, updates
from lib.domain.accounts import Person
from lib.domain.updates import Incoming
from lib.settings.plain import TelegramSettings
from tests.integration.sweeps.grants import PRICES, at_the_start, know_the_node, open_order, pay

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Transaction

_PEOPLE, _PAYMENTS = 200, 20
_TELEGRAM = TelegramSettings("42:TEST", "http://127.0.0.1:9", "atlas_bot", "https://t.me/atlas_support")


def _start(number: int) -> tuple[Incoming, dict[str, Any]]:
    person = {"id": 1_000_000 + number, "is_bot": False, "first_name": "Anna", "language_code": "en"}
    message = {
        "message_id": 1,
        "date": 1,
        "chat": {"id": person["id"], "type": "private", "first_name": "Anna"},
        "from": person,
        "text": "/start",
    }
    return Incoming(10_000 + number, "{}", f"t-{number}"), {"update_id": 10_000 + number, "message": message}


@pytest.mark.proves("N-17")
async def test_two_hundred_first_starts_beside_payments(processes: Callable[[int], list[Database]]) -> None:
    four = processes(4)
    await four[0].run(know_the_node)
    events = [await four[0].run(open_order, 1 + n, "basic", 30, str(n)) for n in range(_PAYMENTS)]
    await at_the_start(four)
    shops = [Services(db, PRICES, _TELEGRAM, {}, ZoneInfo("Europe/Moscow")) for db in four]
    answered, paid = await asyncio.gather(
        asyncio.gather(*(handle(shops[n % 4], *_start(n)) for n in range(_PEOPLE))),
        asyncio.gather(*(four[n % 4].run(pay, event) for n, event in enumerate(events))),
    )
    assert all(len(handled.reply) == 1 for handled in answered)
    assert [one.outcome for one in paid] == ["settled"] * _PAYMENTS
    count = "select count(*) from accounts where telegram_id >= 1000000"
    assert await four[0].run(lambda tx: tx.value(count)) == _PEOPLE
    locked = "select deadlocks from pg_stat_database where datname = current_database()"
    assert await four[0].run(lambda tx: tx.value(locked)) == 0


@pytest.mark.proves("N-17")
async def test_no_first_start_waits_for_another_nor_does_a_payment(functions_url: str) -> None:
    """All are inside their transactions at the same time, with all that they change, and none has ended: they share no row."""
    starts = 6
    db = Database(functions_url, connections=starts + 2, application="crowd")
    together = threading.Barrier(starts + 2)

    def start(tx: Transaction, number: int) -> None:
        incoming, _ = _start(number)
        person = Person(1_000_000 + number, "Anna", None, "en")
        tx.together(updates.claim_query(incoming), accounts.meet_query(person, update_id=incoming.update_id))
        together.wait(timeout=20)
        updates.finish(tx, incoming.update_id, [])

    def settle(tx: Transaction) -> str:
        outcome = pay(tx, event).outcome
        together.wait(timeout=20)
        return outcome

    def lease(tx: Transaction) -> int:
        given = telegram_budget.lease(tx, 10).count
        together.wait(timeout=20)
        return given

    try:
        await db.run(know_the_node)
        event = await db.run(open_order, 1, "basic", 30, "1")
        outcomes = await asyncio.gather(
            db.run(settle), db.run(lease), *(db.run(start, number) for number in range(starts))
        )
        assert outcomes[:2] == ["settled", 10]
    finally:
        await db.close()
