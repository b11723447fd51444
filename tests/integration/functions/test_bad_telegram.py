"""Messages and replies through the real client, with a Telegram that refuses in any words and takes its time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiogram.exceptions import AiogramError

from functions.tasks import task_notify
from lib import bootstrap
from lib.bot import client, delivery
from lib.settings.plain import TelegramSettings
from sandbox.stand_in.clock import Clock
from sandbox.stand_in.server import Server
from sandbox.telegram import Telegram
from sandbox.telegram.calls.refusals import DOCUMENTED
from tests.integration.by_the_owner import travel
from tests.integration.functions.test_task_notify import NoQueue, due, owe, statuses

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiogram import Bot

    from lib.db import Database

_TOKEN = "42:TEST"
_PEOPLE = 12
_HOUR = timedelta(hours=1)
# What is known not to have been sent.
_NOT_SENT = {"unreachable", "refused", "flood", "bot_refused", "server"}


@pytest.fixture
async def served() -> AsyncIterator[tuple[Telegram, str]]:
    """The stand-in, with customers who have started the bot, and where it is."""
    made = Telegram(_TOKEN, "atlas_local_bot", Clock())
    server = Server(made.app)
    await server.start()
    for number in range(1, _PEOPLE + 1):
        await made.user(number).send("/start")
    yield made, server.url
    await server.stop()
    made.close()


@pytest.fixture
def telegram(served: tuple[Telegram, str]) -> Telegram:
    return served[0]


@pytest.fixture
async def bot(served: tuple[Telegram, str]) -> AsyncIterator[Callable[[], Bot]]:
    """The process's bot, of the running loop."""
    settings = TelegramSettings(_TOKEN, served[1], "atlas_local_bot", "https://t.me/support")
    yield lambda: client.bot_for(settings)
    await client.bot_for(settings).session.close()


@pytest.fixture
def notify_db(db: Database, bot: Callable[[], Bot], monkeypatch: pytest.MonkeyPatch) -> Database:
    """The database of `task_notify`, which sends by the stand-in."""
    monkeypatch.setattr(bootstrap, "database", lambda: db)
    monkeypatch.setattr(bootstrap, "task_queue", NoQueue)
    monkeypatch.setattr(task_notify, "bot", bot)
    return db


def written(telegram: Telegram) -> list[int]:
    """How many messages each customer has from the bot."""
    people = range(1, _PEOPLE + 1)
    return [sum(message["from"]["is_bot"] for message in telegram.user(number).messages) for number in people]


async def hours_pass(db: Database, hours: int) -> None:
    """What is due is done at the start of each."""
    for _ in range(hours):
        for body in await db.run(due):
            await task_notify._notify(body)
        await db.run(travel, _HOUR)


async def test_no_documented_refusal_is_taken_for_a_message_that_may_have_been_sent(
    telegram: Telegram, bot: Callable[[], Bot]
) -> None:
    said = {}
    for refusal in DOCUMENTED:
        telegram.fail_next("sendMessage", refusal.code, refusal.description)
        try:
            await client.perform(bot(), {"method": "sendMessage", "chat_id": 1, "text": "hi"})
        except AiogramError as error:
            said[refusal.description] = client.judge(error).kind
    assert said.keys() == {refusal.description for refusal in DOCUMENTED}
    assert set(said.values()) <= _NOT_SENT, said
    assert written(telegram) == [0] * _PEOPLE


@pytest.mark.proves("G-1")
async def test_what_is_owed_is_said_once_whatever_telegram_refuses_and_in_whichever_words(
    telegram: Telegram, notify_db: Database
) -> None:
    """Half of all calls are refused for a day and a half; then each customer has one message, or was said to be gone."""
    telegram.faults.dice.seed(11)
    telegram.faults.refused = 0.5
    await notify_db.run(owe, _PEOPLE)
    await hours_pass(notify_db, 36)
    telegram.faults.refused = 0.0
    await hours_pass(notify_db, 8)
    ends = [
        (status, unknown, count)
        for (status, unknown), count in zip(await notify_db.run(statuses), written(telegram), strict=True)
    ]
    assert set(ends) == {("sent", 0, 1), ("unreachable", 0, 0)}
    for number, (status, _, _) in enumerate(ends, 1):
        answers = {call.code for call in telegram.calls if call.params.get("chat_id") == number}
        assert status == "sent" or answers & {400, 403}


async def test_a_reply_ends_in_its_screen_or_is_kept_whatever_telegram_refuses(
    telegram: Telegram, bot: Callable[[], Bot]
) -> None:
    telegram.faults.dice.seed(12)
    telegram.faults.refused = 0.4
    kept = 0
    for number in range(1, _PEOPLE + 1):
        text = {"chat_id": number, "text": f"<b>plan</b> {number}", "parse_mode": "HTML"}
        screen: dict[str, Any] = {"method": "sendMessage", **text}
        tap = {"method": "answerCallbackQuery", "callback_query_id": str(number)}
        try:
            delivered = await delivery.deliver(bot(), [screen, tap], in_response=False)
        except delivery.ReplyNotDelivered:
            kept += 1
            assert written(telegram)[number - 1] == 0
        else:
            assert written(telegram)[number - 1] == (0 if number in delivered.unreachable else 1)
    assert kept < _PEOPLE


async def test_pauses_longer_than_the_client_waits_lose_no_message(
    telegram: Telegram, notify_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the answer or in the middle of it: the message was taken, and may be said again, thrice at most."""
    monkeypatch.setattr(client, "TIMEOUT_S", 0.15)
    telegram.faults.dice.seed(13)
    telegram.faults.slow_s = 0.2
    await notify_db.run(owe, _PEOPLE)
    await hours_pass(notify_db, 2)
    monkeypatch.setattr(client, "TIMEOUT_S", 10)
    telegram.faults.slow_s = 0.0
    await hours_pass(notify_db, 6)
    for (status, unknown), count in zip(await notify_db.run(statuses), written(telegram), strict=True):
        assert status in {"sent", "unclear"}
        assert count <= unknown + 1
        assert count >= (status == "sent")
    assert sum(written(telegram)) >= _PEOPLE / 2
