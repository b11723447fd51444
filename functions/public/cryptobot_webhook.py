"""Crypto Pay's webhook: raw-body signature, then one transaction that records and settles (docs/architecture.md, rule 3)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import functions_framework.aio

from lib import bootstrap, failpoints, log
from lib.db import DatabaseError, SchemaTooOld
from lib.domain import inbox
from lib.payments import cryptopay_news
from lib.payments.reporting import report
from lib.settings import plain, pricelist
from lib.web import answers, requests

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_SIGNATURE = "crypto-pay-api-signature"


@functions_framework.aio.http
async def cryptobot_webhook(request: Request) -> Response:  # noqa: PLR0911 -- one for each answer
    """Answers on any path (docs/interface.md, Webhook paths): 405, 503 unconfigured, 413, 401, 400 (body ended early), 200, 503 no database."""
    try:
        log.configure()
        tokens = plain.cryptopay().tokens
    except plain.UnusableSetting as error:
        return _misconfigured(error)
    if request.method != "POST":
        log.warning("cryptobot_webhook_not_post", method=request.method)
        return answers.refused(405, "POST only")
    if not tokens:
        log.error("cryptobot_webhook_unconfigured")
        return answers.unavailable("not configured")
    try:
        body = await requests.body(request)
    except requests.TooLarge:
        log.warning("cryptobot_webhook_too_large")
        return answers.refused(413, "over 1 MiB")
    except requests.ClientDisconnect:
        log.warning("cryptobot_webhook_client_disconnected")
        return answers.refused(400, "body ended early")
    signature = requests.header_bytes(request, _SIGNATURE) or b""
    if not cryptopay_news.signed_by(body, signature.decode("latin-1"), tokens):
        log.warning("cryptobot_webhook_bad_signature", bytes=len(body))
        return answers.refused(401, "bad signature")
    with log.correlated(f"cp-{uuid.uuid4().hex[:12]}"):
        try:
            return await _receive(body)
        except plain.UnusableSetting as error:
            return _misconfigured(error)


def _misconfigured(error: plain.UnusableSetting) -> Response:
    """Nothing was settled, or what follows is in the outbox: Crypto Pay sends it again either way."""
    log.error("configuration_invalid", problems=str(error).split("\n"))
    return answers.unavailable("not configured")


async def _receive(body: bytes) -> Response:
    event = cryptopay_news.read_webhook(body, log.correlation.get())
    failpoints.reach("settle.before-claim")
    try:
        received = await bootstrap.database().run(inbox.receive, event, pricelist.load())
    except SchemaTooOld as error:
        return answers.schema_too_old(error)
    except DatabaseError as error:
        log.error("cryptobot_webhook_no_database", error=str(error))
        return answers.unavailable()
    report(event.provider, event.via, received)
    if received.follow_up:
        from lib.tasks.enqueue import enqueue  # noqa: PLC0415 -- after the money is safe

        await enqueue(bootstrap.budgeted_queue(), received.follow_up, after="settle")
    return answers.ok({"ok": True, "outcome": received.outcome})
