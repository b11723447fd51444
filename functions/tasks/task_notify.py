"""Deliver one message by its key (queue `messages`; product.md#messages). Two transactions: taken up, and recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import functions_framework.aio

from lib import bootstrap, failpoints, log
from lib.bot import notifications, pace, sending
from lib.bot.notifications import Manner, Taken
from lib.bot.wiring import bot
from lib.domain import outbox
from lib.settings import plain, pricelist
from lib.tasks.enqueue import enqueue_put_off
from lib.web import task

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from lib.bot.client import Outcome
    from lib.bot.sending import Recorded
    from lib.db import Database
    from lib.domain.messages import Due
    from lib.domain.outbox import Item

_SHORT_S = 60.0
"""A wait below this is left to the queue itself, since a customer waits; a longer one to the next minute's sweep."""
_NOT_RENDERED_S = 600.0
_PATIENCE_S = 3.0
"""So long a task waits by itself, for a slot of the budget or for its chat's next second: coming back costs more."""
_A_BIT_LATER_S = 0.01


@functions_framework.aio.http
async def task_notify(request: Request) -> Response:
    """Body: `outbox_id`, `message_id`. 200 too when it waits by its own time; 503 only when Postgres can't be had."""
    return await task.serve(request, ("outbox_id", "message_id"), _notify)


async def _notify(body: dict[str, Any]) -> dict[str, Any]:
    db = bootstrap.database()
    outbox_id, message_id = body["outbox_id"], body["message_id"]
    try:
        taken, seconds = await _take_up(db, outbox_id, message_id)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        return await _not_rendered(db, outbox_id, message_id, error)
    if taken.outcome == "missing":
        raise task.Poisoned("no such message")
    if taken.outcome == "waits":
        await _bring_back(db, taken.again, seconds)
        return {"put_off": round(seconds)}
    if taken.outcome != "ready" or taken.due is None:
        if taken.outcome == "unclear" and taken.due is not None:
            log.error("message_unclear", message_id=message_id, kind=taken.due.kind)
        return {"outcome": taken.outcome}
    failpoints.reach("notify.before-send")
    outcome = await sending.send(bot(), list(taken.calls))
    failpoints.reach("notify.after-send")
    recorded = await db.run(sending.record, taken.due, outbox_id, outcome)
    failpoints.reach("notify.after-commit")
    _tell(taken.due, outcome, recorded)
    await _bring_back(db, recorded.again, sending.wait_s(outcome, taken.due.attempts))
    return {"outcome": outcome.kind, "status": recorded.status, "kind": taken.due.kind}


async def _take_up(db: Database, outbox_id: int, message_id: int) -> tuple[Taken, float]:
    """A slot of the budget, then the message; and how many seconds it waits.

    Both may have to be waited for, and a short wait is waited out here.
    """
    manner = Manner(plain.zone(), pricelist.load(), _PATIENCE_S)
    while True:
        if seconds := await pace.slot(db, _PATIENCE_S):
            return Taken("waits", again=await db.run(outbox.put_off, outbox_id, seconds)), seconds
        failpoints.reach("notify.before-claim")
        taken = await db.run(notifications.take_up, message_id, outbox_id, manner)
        seconds = taken.wait.seconds if taken.wait is not None else 0.0
        if taken.wait is None or taken.again is not None or manner.patience_s == 0:
            return taken, seconds
        await pace.sleep(seconds + _A_BIT_LATER_S)
        manner = replace(manner, patience_s=max(0.0, manner.patience_s - seconds - _A_BIT_LATER_S))


async def _not_rendered(db: Database, outbox_id: int, message_id: int, error: Exception) -> dict[str, Any]:
    """This version can't say it (a kind of a later one, a fault in a text): it was not sent, so it waits for one that can."""
    log.exception("message_not_rendered", message_id=message_id, error=type(error).__name__)
    await db.run(outbox.put_off, outbox_id, _NOT_RENDERED_S)
    return {"put_off": _NOT_RENDERED_S}


async def _bring_back(db: Database, again: Item | None, seconds: float) -> None:
    if again is not None and seconds < _SHORT_S:
        await enqueue_put_off(db, bootstrap.task_queue(), again)


def _tell(due: Due, outcome: Outcome, recorded: Recorded) -> None:
    """What an operator has to know. Trouble of the whole bot is one line a pause, whatever the number of messages."""
    if recorded.closed:
        log.error("telegram_closed", reason=outcome.error, seconds=outcome.retry_after)
    if recorded.status == "unclear":
        log.error("message_unclear", message_id=due.id, kind=due.kind, error=outcome.error)
    elif recorded.status == "failed":
        log.error("message_failed", message_id=due.id, kind=due.kind, error=outcome.error)
    elif outcome.kind == "refused":
        log.error("message_refused", message_id=due.id, kind=due.kind, error=outcome.error)
    elif recorded.status == "queued" and outcome.kind != "bot_refused":
        log.info("message_put_off", message_id=due.id, kind=due.kind, error=outcome.error)
