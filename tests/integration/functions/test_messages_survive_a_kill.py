"""S4-13 of a message: SIGKILL at each place of its delivery. What must come comes, what comes once comes once at most."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from functions.tasks import task_notify
from lib import bootstrap
from lib.bot import sending
from lib.bot.client import Outcome
from lib.db.invariants import violations
from lib.domain import accounts, messages
from lib.domain.accounts import Person
from tests.integration.by_the_owner import travel
from tests.integration.functions.deliver_and_die import NoQueue
from tests.integration.functions.test_task_notify import RECEIPT, due

if TYPE_CHECKING:
    from lib.db import Database, Transaction

_LIST = Path(__file__).resolve().parents[3] / "docs" / "acceptance.toml"
# Where it dies, by its failpoint, and how many messages Telegram has in the end: of one that must come, of one that comes once.
# After the claim no one knows whether it was sent: what must come is sent again, what comes once is not.
_PLACES = {
    "before-claim": ("notify.before-claim", {1}, {1}),
    "mid-transaction": ("notify.mid-transaction", {1}, {1}),
    "in-commit": ("take_up.in-commit", {1}, {0, 1}),
    "after-claim": ("notify.before-send", {1}, {0}),
    "after-call": ("notify.after-send", {2}, {1}),
    "after-commit": ("notify.after-commit", {1}, {1}),
}


def test_the_cells_are_the_acceptance_list() -> None:
    listed = tomllib.loads(_LIST.read_text())["life"]
    cells = {f"S4-13.message.{point}" for point in _PLACES}
    assert cells == {one for one in listed if one.startswith("S4-13.message.")}


def owe(tx: Transaction, delivery: str) -> None:
    account = accounts.meet(tx, Person(1, "Anna", None, "ru"))
    tx.execute("update accounts set chat_sent_at = null")
    messages.queue(
        tx,
        key="r:1",
        account_id=account.id,
        kind="receipt",
        params=RECEIPT,
        correlation_id="t",
        delivery=delivery,
    )


def _cells() -> list[Any]:
    cells = []
    for point, (place, must, once) in _PLACES.items():
        proves = pytest.mark.proves(f"S4-13.message.{point}")
        for delivery, sent in (("must", must), ("once", once)):
            short = point == "after-claim" or (point, delivery) == ("after-call", "must")  # each costs a process
            marks = [proves] if short else [proves, pytest.mark.full]
            cells.append(pytest.param(place, delivery, sent, id=f"{point}-{delivery}", marks=marks))
    return cells


@pytest.mark.parametrize(("place", "delivery", "sent"), _cells())
async def test_a_delivery_that_is_killed(
    db: Database,
    *,
    database_url: str,
    functions_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    delivery: str,
    sent: set[int],
) -> None:
    telegram = tmp_path / "telegram"
    telegram.touch()
    points = tmp_path / "points"
    points.mkdir()
    (points / place).touch()
    await db.run(owe, delivery)
    (body,) = await db.run(due)
    dying = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.integration.functions.deliver_and_die", functions_url),
        *(str(body["outbox_id"]), str(body["message_id"]), str(telegram)),
        env={**os.environ, "ENVIRONMENT": "local", "ATLAS_FAILPOINTS": str(points)},
    )
    assert await dying.wait() == -signal.SIGKILL

    async def send(_bot: None, _calls: list[dict[str, Any]]) -> Outcome:
        with telegram.open("a") as file:
            file.write("x")
        return Outcome("sent", 1)

    monkeypatch.setattr(bootstrap, "database", lambda: db)
    monkeypatch.setattr(bootstrap, "task_queue", NoQueue)
    monkeypatch.setattr(task_notify, "bot", lambda: None)
    monkeypatch.setattr(sending, "send", send)
    for _ in range(4):
        for work in await db.run(due):
            await task_notify._notify(work)
        await db.run(travel, timedelta(minutes=1))
    assert len(telegram.read_text()) in sent
    status = await db.run(lambda tx: tx.value("select status from messages"))
    claimed = place in {"notify.before-send", "notify.after-send"}
    assert status in (
        {"unclear"} if delivery == "once" and claimed else {"sent", "unclear"} if delivery == "once" else {"sent"}
    )
    assert await db.run(due) == []
    assert violations(database_url) == []
