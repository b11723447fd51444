"""A message through `task_notify`, with a Telegram that answers as it is told, on the virtual clock."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from functions.tasks import task_notify
from lib import bootstrap
from lib.bot import sending
from lib.bot.client import Outcome
from lib.domain import accounts, messages, trial
from lib.domain.accounts import Person
from lib.settings import pricelist
from tests.integration.bot.test_purchase import sql
from tests.integration.by_the_owner import travel

if TYPE_CHECKING:
    from lib.db import Database, Transaction
    from lib.domain.outbox import Item

RECEIPT = {
    "order_id": 1,
    "tariff": "plus",
    "period_days": 30,
    "amount": 29_900,
    "currency": "RUB",
    "expires_at": "2027-01-01T00:00:00+00:00",
    "renewed": True,
}


class Telegram:
    """Answers each chat with what was told last for it, or for all; counts what it was asked."""

    def __init__(self) -> None:
        self.trouble: Outcome | None = None
        self.of_chat: dict[int, Outcome] = {}
        self.asked = 0
        self.taken: list[int] = []

    async def send(self, _bot: None, calls: list[dict[str, Any]]) -> Outcome:
        self.asked += 1
        chat_id = calls[0]["chat_id"]
        outcome = self.of_chat.get(chat_id, self.trouble)
        if outcome is None:
            self.taken.append(chat_id)
        return outcome or Outcome("sent", 1)


class NoQueue:
    """Takes every task; the test drives the outbox by its own times, as `sweep_outbox` does."""

    async def create(self, _task: object) -> None:
        return


@pytest.fixture
def telegram(db: Database, monkeypatch: pytest.MonkeyPatch) -> Telegram:
    made = Telegram()
    monkeypatch.setattr(bootstrap, "database", lambda: db)
    monkeypatch.setattr(bootstrap, "task_queue", NoQueue)
    monkeypatch.setattr(task_notify, "bot", lambda: None)
    monkeypatch.setattr(sending, "send", made.send)
    return made


def owe(tx: Transaction, people: int) -> list[Item]:
    made: list[Item] = []
    for chat_id in range(1, people + 1):
        account = accounts.meet(tx, Person(chat_id, "Anna", None, "ru"))
        made += messages.queue(
            tx, key=f"r:{chat_id}", account_id=account.id, kind="receipt", params=RECEIPT, correlation_id="t"
        )
    return made


def due(tx: Transaction) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tx.value(
        "select coalesce(jsonb_agg(jsonb_build_object('outbox_id', id, 'message_id', payload -> 'message_id') order by id), '[]')"
        " from outbox where done_at is null and not_before <= atlas.now() and target = 'task_notify'"
    )
    return found


def statuses(tx: Transaction) -> list[list[Any]]:
    return list(
        tx.value("select jsonb_agg(jsonb_build_array(status, unknown_attempts) order by id) from messages") or []
    )


async def pass_time(db: Database, minutes: int) -> None:
    """Minute by minute: what is due is done."""
    for _ in range(minutes):
        for body in await db.run(due):
            await task_notify._notify(body)
        await db.run(travel, timedelta(minutes=1))


@pytest.mark.proves("G-1")
@pytest.mark.parametrize(
    "trouble",
    [
        Outcome("bot_refused", retry_after=30, error="connection refused"),
        Outcome("flood", retry_after=40, error="Too Many Requests"),
        Outcome("server", retry_after=30, error="Internal Server Error"),
    ],
    ids=lambda outcome: outcome.kind,
)
async def test_an_hour_of_trouble_costs_no_message(db: Database, telegram: Telegram, trouble: Outcome) -> None:
    await db.run(owe, 4)
    telegram.trouble = trouble
    await pass_time(db, 60)
    assert await db.run(statuses) == [["queued", 0]] * 4
    assert telegram.asked < 60 * 4, "while the bot is closed no call is made"
    telegram.trouble = None
    await pass_time(db, 12)
    assert await db.run(statuses) == [["sent", 0]] * 4


@pytest.mark.proves("G-1")
async def test_an_hour_without_answers_costs_no_message_either(db: Database, telegram: Telegram) -> None:
    await db.run(owe, 1)
    telegram.trouble = Outcome("unknown", error="timeout")
    await pass_time(db, 60)
    assert await db.run(statuses) == [["queued", 3]]
    assert telegram.asked == 3
    telegram.trouble = None
    await pass_time(db, 20)
    assert await db.run(statuses) == [["sent", 3]]


@pytest.mark.proves("G-1")
@pytest.mark.parametrize("kind", ["unreachable", "refused", "flood", "server"])
async def test_one_customers_refusal_is_that_customers_alone(db: Database, telegram: Telegram, kind: Any) -> None:
    await db.run(owe, 3)
    telegram.of_chat[1] = Outcome(kind, retry_after=30, error="no")
    await pass_time(db, 1)
    assert sorted(telegram.taken) == [2, 3]


@pytest.mark.proves("G-1")
async def test_what_is_owed_comes_when_the_customer_writes_again(db: Database, telegram: Telegram) -> None:
    await db.run(owe, 1)
    telegram.of_chat[1] = Outcome("unreachable", error="blocked")
    await pass_time(db, 1)
    assert await db.run(statuses) == [["unreachable", 0]]
    del telegram.of_chat[1]
    assert len(await db.run(accounts.reached, 1)) == 1
    await pass_time(db, 1)
    assert await db.run(statuses) == [["sent", 0]]


@pytest.mark.proves("G-14")
async def test_a_key_that_no_node_holds_any_more_comes_once_one_does(db: Database, telegram: Telegram) -> None:
    """Its message has one name for good: ended as untrue, it would never come again."""

    def granted(tx: Transaction) -> None:
        tx.execute("insert into nodes (name, api_url, key_name) values ('n1', 'http://127.0.0.1', 'XRAY_API_KEY')")
        account = accounts.meet(tx, Person(1, "Anna", None, "ru"))
        started = trial.start(tx, account.id, pricelist.load().trial, "t")
        assert isinstance(started, trial.Started)
        start = str(started.grant.uuid)[:8]
        key = {"subscription_id": started.grant.subscription_id, "uuid_start": start}
        messages.queue(tx, key=f"key:{start}", account_id=account.id, kind="key", params=key, correlation_id="t")

    await db.run(granted)
    await pass_time(db, 5)
    assert (telegram.asked, await db.run(statuses)) == (0, [["queued", 0]])
    await db.run(sql, "update node_clients set applied_version = version, applied_uuid = uuid, link = 'vless://x'")
    await pass_time(db, 2)
    assert (telegram.taken, await db.run(statuses)) == ([1], [["sent", 0]])
