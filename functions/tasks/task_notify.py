"""Deliver one message by its key (queue `messages`; product.md#messages)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import functions_framework.aio

from lib import bootstrap, failpoints, log
from lib.bot import notifications
from lib.bot.wiring import bot
from lib.domain import messages, outbox
from lib.tasks.enqueue import enqueue_put_off
from lib.web import task

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from lib.bot.notifications import Outcome
    from lib.db import Database
    from lib.domain.messages import Due

_REFUSED_AGAIN_S = 60.0


@functions_framework.aio.http
async def task_notify(request: Request) -> Response:
    """Body: `outbox_id`, `message_id`. 503 only for the bot-wide flood limit or when Postgres can't be had."""
    return await task.serve(request, ("outbox_id", "message_id"), _notify)


async def _notify(body: dict[str, Any]) -> dict[str, Any]:
    db = bootstrap.database()
    outbox_id, message_id = body["outbox_id"], body["message_id"]
    due = await db.run(messages.claim, message_id)
    if due is None:
        return await _not_now(db, outbox_id, message_id)
    if due.unreachable or due.telegram_id is None:
        await db.run(messages.finish, due, outbox_id, "unreachable")
        return {"outcome": "unreachable"}
    if due.attempts > 1 and due.delivery == "once":
        # an earlier attempt ended with an unknown outcome: a `once` message is never repeated
        await db.run(messages.finish, due, outbox_id, "unclear")
        log.warning("message_unclear", message_id=due.id, kind=due.kind)
        return {"outcome": "unclear"}
    if due.attempts > messages.MUST_ATTEMPTS:
        # every attempt ended before it could be judged: what it says can't be said by this code
        await db.run(messages.finish, due, outbox_id, "failed", error="too many attempts")
        log.error("message_failed", message_id=due.id, kind=due.kind, error="too many attempts")
        return {"outcome": "failed"}
    calls = await db.run(notifications.render, due)
    if calls is None:
        # nothing to say any more, or not yet true (a key that no node holds): its cause makes a new message
        await db.run(messages.finish, due, outbox_id, "failed", error="no longer true")
        return {"outcome": "no longer true"}
    failpoints.reach("notify.before-send")
    outcome = await notifications.send(bot(), calls)
    failpoints.reach("notify.after-send")
    return await _record(db, due, outbox_id, outcome)


async def _not_now(db: Database, outbox_id: int, message_id: int) -> dict[str, Any]:
    state = await db.run(messages.state, message_id)
    if state is None:
        raise task.Poisoned("no such message")
    if state.status != "queued":
        await db.run(outbox.finish, outbox_id)
        return {"outcome": state.status}
    # Another task is sending it now, or died doing so: look again when its lease has ended.
    await db.run(outbox.put_off, outbox_id, state.lease_left_s + 1)
    return {"put_off": round(state.lease_left_s + 1)}


async def _record(db: Database, due: Due, outbox_id: int, outcome: Outcome) -> dict[str, Any]:
    last = due.attempts >= messages.MUST_ATTEMPTS
    match outcome.kind:
        case "sent":
            await db.run(messages.finish, due, outbox_id, "sent", telegram_message_id=outcome.message_id)
        case "blocked":
            await db.run(messages.finish, due, outbox_id, "unreachable", error=outcome.error)
            await db.run(messages.mark_unreachable, due.account_id)
        case "flood":
            item = await db.run(
                messages.release, due, outbox_id, outcome.retry_after, error=outcome.error, refund_attempt=True
            )
            await enqueue_put_off(db, bootstrap.task_queue(), item)
        case "refused" if outcome.permanent or last:
            await db.run(messages.finish, due, outbox_id, "failed", error=outcome.error)
            log.error("message_failed", message_id=due.id, kind=due.kind, error=outcome.error)
        case "refused":
            # certainly not sent, so a `once` message may be tried again as if it never had been
            once = due.delivery == "once"
            await db.run(messages.release, due, outbox_id, _REFUSED_AGAIN_S, error=outcome.error, refund_attempt=once)
        case _ if due.delivery == "once" or last:
            await db.run(messages.finish, due, outbox_id, "unclear", error=outcome.error)
            log.error("message_unclear", message_id=due.id, kind=due.kind, error=outcome.error)
        case _:
            await db.run(messages.keep_claim, due, outbox_id, outcome.error)
    return {"outcome": outcome.kind, "kind": due.kind}
