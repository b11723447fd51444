"""A message through `task_notify`, with a Telegram that answers as it is told, on the virtual clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from functions.tasks import task_notify
from lib import bootstrap
from lib.bot import pace, sending
from lib.bot.client import Outcome
from lib.domain import accounts, messages, subscriptions, trial
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


@pytest.mark.proves("S2-6f")
@pytest.mark.parametrize("asked_s", [90, 3_600])
async def test_a_chat_that_is_too_fast_is_left_alone_as_long_as_telegram_asks_and_no_other_waits(
    db: Database, telegram: Telegram, asked_s: int
) -> None:
    await db.run(owe, 3)
    telegram.of_chat[1] = Outcome("flood", retry_after=float(asked_s), error="Too Many Requests")
    await pass_time(db, 1)
    assert sorted(telegram.taken) == [2, 3]
    asked = telegram.asked
    await pass_time(db, asked_s // 60 - 1)
    assert telegram.asked == asked, "not before"
    del telegram.of_chat[1]
    await pass_time(db, 3)
    assert sorted(telegram.taken) == [1, 2, 3]
    assert await db.run(statuses) == [["sent", 0]] * 3


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


def owe_more(tx: Transaction, chat_id: int, count: int) -> None:
    account = accounts.meet(tx, Person(chat_id, "Anna", None, "ru"))
    for number in range(count):
        messages.queue(
            tx, key=f"m:{chat_id}:{number}", account_id=account.id, kind="receipt", params=RECEIPT, correlation_id="t"
        )


@pytest.mark.proves("S4-14")
async def test_a_permanent_failure_ends_all_attempts_and_marks_the_customer(db: Database, telegram: Telegram) -> None:
    await db.run(owe_more, 1, 3)
    telegram.of_chat[1] = Outcome("unreachable", error="blocked")
    await pass_time(db, 20)
    assert telegram.asked == 1, "the others are not even tried"
    assert await db.run(statuses) == [["unreachable", 0]] * 3
    assert await db.run(lambda tx: tx.value("select count(*) from accounts where unreachable_since is not null")) == 1
    assert await db.run(lambda tx: tx.value("select count(*) from outbox where done_at is null")) == 0


@pytest.mark.proves("S4-14")
async def test_a_temporary_failure_backs_off_and_makes_no_storm(db: Database, telegram: Telegram) -> None:
    await db.run(owe_more, 1, 1)
    await db.run(owe_more, 2, 1)
    telegram.of_chat[1] = Outcome("server", retry_after=30, error="Internal Server Error")
    await pass_time(db, 40)
    assert telegram.taken == [2]
    assert 5 <= telegram.asked - 1 <= 9, "twice as long each time, up to ten minutes"


@pytest.mark.proves("S4-14")
async def test_a_crowd_that_waits_for_the_bot_asks_telegram_once_a_pause(db: Database, telegram: Telegram) -> None:
    await db.run(owe, 15)
    telegram.trouble = Outcome("bot_refused", retry_after=30, error="connection refused")
    await pass_time(db, 10)
    assert telegram.asked <= 11
    telegram.trouble = None
    await pass_time(db, 3)
    assert sorted(telegram.taken) == list(range(1, 16))


@pytest.mark.proves("S4-14")
async def test_after_a_first_attempt_and_three_repeats_without_an_answer_it_is_unclear(
    db: Database, telegram: Telegram
) -> None:
    await db.run(owe, 1)
    telegram.trouble = Outcome("unknown", error="timeout")
    await pass_time(db, 75)
    assert (telegram.asked, await db.run(statuses)) == (4, [["unclear", 4]])


@pytest.mark.proves("N-36")
async def test_a_chat_gets_one_message_a_second(
    db: Database, telegram: Telegram, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also right after its customer was answered, and while others are sent theirs."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await db.run(travel, timedelta(seconds=seconds))

    moments: list[datetime] = []
    send = telegram.send

    async def note(bot: None, calls: list[dict[str, Any]]) -> Outcome:
        if calls[0]["chat_id"] == 1:
            moments.append(await db.run(subscriptions.now))
        return await send(bot, calls)

    monkeypatch.setattr(pace, "sleep", sleep)
    monkeypatch.setattr(sending, "send", note)
    await db.run(owe_more, 1, 3)
    await db.run(owe_more, 2, 1)
    answered = await db.run(lambda tx: tx.value("select chat_sent_at from accounts where telegram_id = 1"))
    for body in await db.run(due):
        await task_notify._notify(body)
    assert len(telegram.taken) == 4
    apart = [later - earlier for earlier, later in pairwise([answered, *moments])]
    assert all(gap >= timedelta(seconds=1) for gap in apart)
    assert slept
