"""Telegram's webhook (docs/architecture.md, rule 3): secret, one effect, 200 only when it is committed or kept."""

from __future__ import annotations

import asyncio
import hmac
from typing import TYPE_CHECKING, Any

import functions_framework.aio

from lib import bootstrap, failpoints, log
from lib.db import DatabaseError, OutcomeUnknown, SchemaTooOld, Unavailable
from lib.settings import plain
from lib.telegram import intake
from lib.web import answers, requests

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from lib.domain.updates import Handled, Incoming

_SECRET = "x-telegram-bot-api-secret-token"  # noqa: S105 -- the header's name
INLINE_BUDGET_S = 8.0
"""For a request, from its start to its answer; Telegram waits 60 s, a person much less."""
_KEEPING_S = 1.0
"""Of the budget, what is left for keeping an update that was not handled in time."""


@functions_framework.aio.http
async def telegram_webhook(request: Request) -> Response:
    """Answers on any path: 405, 503 unconfigured, 403, 413, 400, 200 (with a method or without), 503 no database."""
    deadline = asyncio.get_running_loop().time() + INLINE_BUDGET_S
    try:
        log.configure()
        secrets = plain.telegram_secrets()
    except plain.UnusableSetting as error:
        _tell_misconfigured(error)
        return answers.unavailable("not configured")
    if request.method != "POST":
        log.warning("telegram_webhook_not_post", method=request.method)
        return answers.refused(405, "POST only")
    if not secrets:
        log.error("telegram_webhook_unconfigured")
        return answers.unavailable("not configured")
    if not _is_genuine(requests.header_bytes(request, _SECRET), secrets):
        log.warning("telegram_webhook_bad_secret")
        return answers.refused(403, "wrong secret")
    try:
        async with asyncio.timeout_at(deadline):
            body = await requests.body(request)
        incoming, update = intake.read(body)
    except (TimeoutError, requests.TooLarge, requests.ClientDisconnect, intake.UnreadableUpdate) as error:
        return _refused(error)
    with log.correlated(incoming.correlation_id):
        return await _handle(incoming, update, deadline)


def _is_genuine(given: bytes | None, secrets: tuple[str, ...]) -> bool:
    """Constant time over every accepted secret; bytes, since a str with other than ASCII would raise."""
    genuine = False
    for secret in secrets:
        genuine |= hmac.compare_digest(given or b"", secret.encode())
    return genuine


def _refused(error: Exception) -> Response:
    """A body that no update can be read from."""
    match error:
        case TimeoutError():
            log.warning("telegram_webhook_too_slow")
            return answers.refused(408, "too slow")
        case requests.TooLarge():
            log.warning("telegram_webhook_too_large")
            return answers.refused(413, "over 1 MiB")
        case requests.ClientDisconnect():
            log.warning("telegram_webhook_client_disconnected")
            return answers.refused(400, "body ended early")
    log.warning("telegram_webhook_unreadable", error=str(error))
    return answers.refused(400, str(error))


async def _handle(incoming: Incoming, update: dict[str, Any], deadline: float) -> Response:
    try:
        async with asyncio.timeout_at(deadline - _KEEPING_S):
            failpoints.reach("update.before-effect")
            handled = await intake.handle(incoming, update)
            if handled.follow_up:
                from lib.tasks.enqueue import enqueue  # noqa: PLC0415 -- after the effect is safe

                await enqueue(bootstrap.budgeted_queue(), handled.follow_up, after="update")
            failpoints.reach("update.before-reply")
            answer = await _reply(handled)
    except SchemaTooOld as error:
        return answers.schema_too_old(error)
    except (Unavailable, OutcomeUnknown) as error:
        # Nothing was changed, or it was and a second delivery finds it done: the sender tries again either way.
        log.error("telegram_webhook_no_database", error=str(error))
        return answers.unavailable()
    except plain.UnusableSetting as error:
        _tell_misconfigured(error)
        return await _keep(incoming, type(error).__name__, deadline)
    except Exception as error:  # noqa: BLE001 -- the boundary: an update that can't be handled now is kept, never lost
        if type(error).__name__ in {"NotYet", "ReplyNotDelivered"}:  # the latter's module would load aiogram
            log.warning("update_kept", error=type(error).__name__, reason=str(error))
        else:
            log.exception("update_kept", error=type(error).__name__)
        return await _keep(incoming, type(error).__name__, deadline)
    log.info("update_end", update_id=incoming.update_id, calls=len(handled.reply))
    return answers.ok(answer)


def _tell_misconfigured(error: plain.UnusableSetting) -> None:
    log.error("configuration_invalid", problems=str(error).split("\n"))


async def _reply(handled: Handled) -> dict[str, Any]:
    """Make the calls that must be known to have worked; what may go in the response is returned."""
    reply = handled.reply
    if not reply:
        return {}
    if len(reply) == 1 and reply[0]["method"] == "answerPreCheckoutQuery":
        return reply[0]
    from lib.bot.wiring import deliver  # noqa: PLC0415 -- aiogram

    return await deliver(reply, closed_until=handled.closed_until, in_response=True) or {}


async def _keep(incoming: Incoming, error: str, deadline: float) -> Response:
    """200, once the body is stored: a 5xx would block this person's queue at Telegram behind one bad update.

    503 when it can't be stored in what is left of the budget, or in a second when nothing is left: Telegram keeps it, and brings
    it again.
    """
    deadline = max(deadline, asyncio.get_running_loop().time() + _KEEPING_S)
    try:
        async with asyncio.timeout_at(deadline):
            item = await bootstrap.database().run(intake.keep, incoming, error)
    except plain.UnusableSetting as problem:
        _tell_misconfigured(problem)
        return answers.unavailable("not configured")
    except SchemaTooOld as problem:
        return answers.schema_too_old(problem)
    except (DatabaseError, TimeoutError) as problem:
        log.error("update_not_kept", error=str(problem) or type(problem).__name__)
        return answers.unavailable()
    from lib.tasks.enqueue import enqueue  # noqa: PLC0415 -- only where an update is kept

    try:
        async with asyncio.timeout_at(deadline):
            if item is not None:
                await enqueue(bootstrap.budgeted_queue(), [item], after="update")
    except plain.UnusableSetting as problem:
        _tell_misconfigured(problem)  # it is kept; sweep_outbox makes its task
    except TimeoutError:
        log.warning("enqueue_failed", outbox_id=item.id if item is not None else None, error="no time left")
    return answers.ok({})
