"""Re-run one stored update whose handler failed or whose reply did not get through (queue `updates`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import functions_framework.aio

from lib import bootstrap, log
from lib.bot.delivery import ReplyNotDelivered
from lib.bot.wiring import deliver
from lib.db import OutcomeUnknown, Unavailable
from lib.domain import outbox, updates
from lib.tasks.enqueue import enqueue, enqueue_put_off
from lib.telegram import intake
from lib.web import task

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from lib.db import Database

_GIVE_UP_AFTER = 20
_REPLY_WORTH_S = 24 * 3600.0
"""For so long a reply is worth sending, from when its update came; in that time it is tried some thirty times."""


@functions_framework.aio.http
async def task_update(request: Request) -> Response:
    """Body: `outbox_id`, `update_id`. 500 while it fails; after 20 failures it is recorded and left to a person.

    One that tells of money is never given up: it would be pruned with the rest.
    """
    return await task.serve(request, ("outbox_id", "update_id"), _update)


async def _update(body: dict[str, Any]) -> dict[str, Any]:
    db = bootstrap.database()
    outbox_id, update_id = body["outbox_id"], body["update_id"]
    incoming = await db.run(updates.stored, update_id)
    if incoming is None:
        raise task.Poisoned("no such update")
    try:
        handled = await intake.handle(incoming, intake.read_again(incoming))
        await enqueue(bootstrap.task_queue(), handled.follow_up, after="update")
        await deliver(handled.reply, closed_until=handled.closed_until, in_response=False)
    except ReplyNotDelivered as error:
        return await _later(db, update_id, outbox_id, error)
    except updates.NotYet as error:
        await enqueue_put_off(db, bootstrap.task_queue(), await db.run(outbox.put_off, outbox_id, error.seconds))
        return {"put_off": str(error)}
    except (Unavailable, OutcomeUnknown):
        raise
    except Exception as error:
        attempts = await db.run(updates.failed, update_id, type(error).__name__)
        if attempts < _GIVE_UP_AFTER or intake.tells_of_money(incoming):
            raise
        log.exception("update_given_up", update_id=update_id, attempts=attempts)
        await db.run(updates.give_up, update_id, outbox_id)
        return {"poisoned": type(error).__name__}
    await db.run(outbox.finish, outbox_id)
    return {"calls": len(handled.reply)}


async def _later(db: Database, update_id: int, outbox_id: int, error: ReplyNotDelivered) -> dict[str, Any]:
    """The effect is committed and only the reply is missing: again, ever more rarely, and not for ever."""
    again = await db.run(updates.undelivered, update_id, outbox_id, error.retry_after, give_up_after_s=_REPLY_WORTH_S)
    if again is None:
        log.error("reply_given_up", update_id=update_id, reason=str(error))
        return {"given_up": error.outcome.kind}
    await enqueue_put_off(db, bootstrap.task_queue(), again)
    return {"put_off": error.outcome.kind}
