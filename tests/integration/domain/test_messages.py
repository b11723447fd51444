"""Messages that wait for their time, and those that are called off."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from lib.domain import accounts, health_snapshot, messages, outbox
from lib.domain.accounts import Person
from tests.integration.by_the_owner import travel

if TYPE_CHECKING:
    from lib.db import Database, Transaction
    from lib.domain.outbox import Item

_WINDOW_S = 300.0


def say(
    tx: Transaction,
    key: str,
    *,
    kind: str = "news",
    person: int = 1,
    due_in: float | None = None,
    within: float | None = None,
) -> list[Item]:
    account = accounts.meet(tx, Person(person, "Anna", None, "ru"))
    now: datetime = tx.value("select atlas.now()")
    return messages.queue(
        tx,
        key=key,
        account_id=account.id,
        kind=kind,
        params={},
        correlation_id="t",
        due_at=None if due_in is None else now + timedelta(seconds=due_in),
        not_after=None if within is None else now + timedelta(seconds=within),
    )


async def test_what_is_due_later_is_made_at_its_time_and_not_looked_at_before(db: Database) -> None:
    assert len(await db.run(say, "now")) == 1
    assert await db.run(lambda tx: say(tx, "later", due_in=3600)) == []
    forgotten = await db.run(outbox.never_enqueued, 0, 10, -1.0)
    assert len(forgotten) == 1, "what waits is none of the work that was forgotten"
    await db.run(outbox.mark_enqueued, forgotten)
    await db.run(outbox.finish, forgotten[0].id)
    for _ in range(11):
        await db.run(travel, timedelta(minutes=5))
        assert await db.run(outbox.stuck, "messages", 10, _WINDOW_S) == []
        assert (await db.run(outbox.overdue, "messages", 10, 60.0)).count == 0
        assert await db.run(lambda tx: health_snapshot.take(tx).waiting.outbox_oldest_s) == 0
    await db.run(travel, timedelta(minutes=5, seconds=1))
    (item,) = await db.run(outbox.stuck, "messages", 10, _WINDOW_S)
    await db.run(outbox.mark_enqueued, [item])
    assert await db.run(outbox.stuck, "messages", 10, _WINDOW_S) == [], "it is driven once"
    assert await db.run(lambda tx: messages.claim(tx, item.payload["message_id"])) is not None


async def test_a_message_is_not_taken_up_before_its_time(db: Database) -> None:
    await db.run(lambda tx: say(tx, "later", due_in=3600))
    message_id = await db.run(lambda tx: tx.value("select id from messages"))
    assert await db.run(lambda tx: messages.claim(tx, message_id)) is None
    wait = await db.run(lambda tx: messages.wait(tx, message_id))
    assert wait is not None
    assert 3590 < wait.seconds <= 3600


async def test_what_would_come_too_late_is_not_added(db: Database) -> None:
    assert await db.run(lambda tx: say(tx, "past", within=-1)) == []
    assert await db.run(lambda tx: say(tx, "after its end", due_in=3600, within=3600)) == []
    assert await db.run(lambda tx: say(tx, "past due", due_in=-3600, within=60)) != [], "what was due is due now"
    assert await db.run(lambda tx: tx.value("select array_agg(key) from messages")) == ["past due"]


async def _statuses(db: Database) -> dict[str, Any]:
    found: dict[str, Any] = await db.run(lambda tx: tx.value("select jsonb_object_agg(key, status) from messages"))
    return found


async def test_only_what_is_unsent_and_no_longer_true_is_called_off(db: Database) -> None:
    await db.run(lambda tx: say(tx, "reminder:1:a:3d", kind="reminder", due_in=60))
    await db.run(lambda tx: say(tx, "reminder:1:a:24h", kind="reminder"))
    await db.run(lambda tx: say(tx, "reminder:1:a:3h", kind="reminder"))
    await db.run(lambda tx: say(tx, "reminder:1:b:3d", kind="reminder"))
    await db.run(lambda tx: say(tx, "reminder:2:a:3d", kind="reminder", person=2))
    await db.run(lambda tx: say(tx, "receipt:1", kind="receipt"))
    await db.run(lambda tx: tx.execute("update accounts set chat_sent_at = null"))
    ids = await db.run(lambda tx: tx.value("select jsonb_object_agg(key, id) from messages"))
    assert await db.run(lambda tx: messages.claim(tx, ids["reminder:1:a:24h"])) is not None
    account_id = await db.run(lambda tx: tx.value("select account_id from messages where key = 'receipt:1'"))
    gone = await db.run(
        lambda tx: messages.cancel(tx, [account_id], ["reminder"], "extended", key_prefix="reminder:1:a:")
    )
    assert gone == 2
    assert await _statuses(db) == {
        "reminder:1:a:3d": "cancelled",
        "reminder:1:a:24h": "queued",  # is being sent at this moment
        "reminder:1:a:3h": "cancelled",
        "reminder:1:b:3d": "queued",
        "reminder:2:a:3d": "queued",
        "receipt:1": "queued",
    }
    again = await db.run(lambda tx: say(tx, "reminder:1:a:3d", kind="reminder"))
    assert again == [], "what was called off under a key is not said under it again"
