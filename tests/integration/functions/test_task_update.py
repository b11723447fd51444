"""Updates that were kept: which are given up, and which never."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from functions.tasks import task_update
from lib import bootstrap
from lib.domain import inbox, updates
from lib.domain.updates import Incoming
from lib.telegram import intake
from tests.integration.functions.test_task_notify import NoQueue

if TYPE_CHECKING:
    from lib.db import Database, Transaction

CHARGE = {"currency": "XTR", "total_amount": 100, "invoice_payload": "p", "telegram_payment_charge_id": "c1"}
PERSON = {"id": 7, "is_bot": False, "first_name": "Anna"}


def _message(**content: Any) -> dict[str, Any]:
    return {"message_id": 1, "date": 1, "chat": {"id": 7, "type": "private"}, "from": PERSON, **content}


async def _kept(db: Database, number: int, update: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps({"update_id": number, **update})
    item = await db.run(updates.keep, Incoming(number, body, f"tg-{number}"), "ValueError")
    assert item is not None
    return {"outbox_id": item.id, "update_id": number}


def _fail(*_: Any, **__: Any) -> None:
    raise MemoryError


def _failed(tx: Transaction, number: int) -> None:
    tx.execute("update updates set attempts = 100 where update_id = :id", id=number)


@pytest.mark.proves("G-14")
@pytest.mark.parametrize("kind", ["message", "edited_message", "business_message", "channel_post"])
async def test_money_that_can_not_be_recorded_is_tried_for_ever(
    db: Database, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Given up, it would be pruned with what was done, and Telegram has no list of card payments."""
    monkeypatch.setattr(bootstrap, "database", lambda: db)
    monkeypatch.setattr(bootstrap, "task_queue", NoQueue)
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "42:TESTTESTTEST")  # nothing is sent
    task = await _kept(db, 1, {kind: _message(successful_payment=CHARGE)})
    with monkeypatch.context() as broken:
        broken.setattr(inbox, "receive", _fail)
        await db.run(_failed, 1)
        for _ in range(3):
            with pytest.raises(MemoryError):
                await task_update._update(task)
    assert await db.run(lambda tx: tx.value("select done_at is null from updates"))
    await task_update._update(task)
    assert await db.run(lambda tx: tx.values("select external_id from payment_events")) == ["c1"]


async def test_what_tells_of_no_money_is_given_up_and_told(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "database", lambda: db)
    monkeypatch.setattr(bootstrap, "task_queue", NoQueue)
    told: list[str] = []
    monkeypatch.setattr("lib.log.exception", lambda event, **_: told.append(event))
    monkeypatch.setattr("lib.telegram.intake.handle", _fail)
    task = await _kept(db, 2, {"message": _message(text="/start")})
    with pytest.raises(MemoryError):
        await task_update._update(task)
    await db.run(_failed, 2)
    assert await task_update._update(task) == {"poisoned": "MemoryError"}
    assert told == ["update_given_up"]
    assert await db.run(lambda tx: tx.value("select count(*) from outbox where done_at is null")) == 0


async def test_a_charge_and_its_refund_are_two_pieces_of_news(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Money that went back is money: what came is in suspense, for an operator, until its refund takes it out again."""
    monkeypatch.setattr(bootstrap, "database", lambda: db)
    told: list[str] = []
    monkeypatch.setattr("lib.log.error", lambda event, **_: told.append(event))
    for number, name in enumerate(("successful_payment", "refunded_payment", "refunded_payment"), 1):
        update = {"update_id": number, "message": _message(**{name: CHARGE})}
        await intake.handle(Incoming(number, json.dumps(update), f"tg-{number}"), update)
    events = await db.run(
        lambda tx: tx.values("select kind || ' ' || external_id || ' ' || status from payment_events order by id")
    )
    assert events == ["charge c1 unmatched", "refund c1 settled"]
    assert told == ["payment_unmatched"]
