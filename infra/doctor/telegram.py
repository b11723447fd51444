"""The bot at Telegram: its token, and the webhook that brings every word of a customer."""

from __future__ import annotations

import asyncio
import ssl
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import certifi

from infra.doctor.certificate import peer_certificate
from infra.doctor.check import Check, NotCheckedError, WrongError, insist
from lib.settings import plain
from lib.telegram.webhook_terms import ALLOWED_UPDATES, most_connections

if TYPE_CHECKING:
    from infra.doctor.deployment import Deployment, Json

_SUBJECT = "Telegram"
_OK, _BAD_REQUEST = 200, 400
ERROR_COUNTS_S = 3600.0
"""An error of delivery that is older is history: what waits was put off by a newer one, or is about to be delivered."""
MOST_PENDING = 100
"""Updates that wait at Telegram: more than two seconds of a busy shop."""
CERTIFICATE_DAYS = 14


async def _call(deployment: Deployment, method: str) -> Json:
    """A method of the Bot API that only reads.

    Raises:
        WrongError: refused, with Telegram's words, or no answer.
    """
    token = await deployment.setting("TELEGRAM_BOT_TOKEN")
    if not token:
        raise WrongError("TELEGRAM_BOT_TOKEN is not set")
    base = await deployment.setting("TELEGRAM_API_BASE") or plain.TELEGRAM_API
    response = await deployment.http.get(f"{base}/bot{token}/{method}")
    answer = response.json()
    if response.status_code != _OK or answer.get("ok") is not True:
        raise WrongError(f"Telegram refuses {method}: {response.status_code} {answer.get('description', '')}".strip())
    result: Json = answer["result"]
    return result


async def _webhook(deployment: Deployment) -> Json:
    if deployment.fetches_updates:
        raise NotCheckedError("the local system fetches a real bot's updates itself")
    return await deployment.once.get("getWebhookInfo", lambda: _call(deployment, "getWebhookInfo"))


async def _address(deployment: Deployment) -> str:
    function = deployment.table.functions["telegram_webhook"]
    return await deployment.setting("TELEGRAM_WEBHOOK_URL") or await deployment.function_url(function)


async def token(deployment: Deployment) -> str:
    """Telegram takes the token, and it is of the bot that the settings name."""
    bot = await _call(deployment, "getMe")
    name = await deployment.setting("TELEGRAM_BOT_USERNAME")
    if name and str(bot.get("username", "")).lower() != name.lower():  # names are one to Telegram, however written
        raise WrongError(f"the token is of @{bot.get('username')}, TELEGRAM_BOT_USERNAME is {name}")
    return f"@{bot.get('username')}"


async def address(deployment: Deployment) -> str:
    """Updates go to this deployment's function."""
    wanted, found = (await _address(deployment)).rstrip("/"), str((await _webhook(deployment)).get("url", ""))
    if not found:
        raise WrongError("no webhook is set: Telegram keeps updates for a day and then drops them")
    if found != wanted and not found.startswith(f"{wanted}/"):
        raise WrongError(f"updates go to {_without_path(found)}, not to {wanted}")
    return wanted


def _without_path(url: str) -> str:
    """Of an address that is none of ours: its path may hold another program's secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


async def secret(deployment: Deployment) -> str:
    """The function takes the current secret: its answer to an empty body is 400, which it gives to genuine callers alone."""
    secrets = await deployment.members("TELEGRAM_WEBHOOK_SECRET")
    if not secrets:
        raise WrongError("TELEGRAM_WEBHOOK_SECRET is not set")
    own = await deployment.function_url(deployment.table.functions["telegram_webhook"])
    header = "X-Telegram-Bot-Api-Secret-Token"
    problems = []
    # What Telegram is told may be an address of the operator's in front of the function, which could drop the header.
    for url in dict.fromkeys((own, (await _address(deployment)).rstrip("/"))):
        response = await deployment.http.post(
            f"{url}/" if url == own else url, content=b"", headers={header: secrets[0]}
        )
        if response.status_code != _BAD_REQUEST:
            problems.append(
                f"{'the function' if url == own else _without_path(url)} answers {response.status_code} to the current secret"
            )
    insist(problems)
    return f"{len(secrets)} accepted" if len(secrets) > 1 else ""


async def errors(deployment: Deployment) -> str:
    """No update waits behind a delivery that failed."""
    info = await _webhook(deployment)
    waiting, failed_at = int(info.get("pending_update_count", 0)), info.get("last_error_date")
    if failed_at is None:
        return "none"
    # The stand-in's clock is the sandbox's; Telegram's is the world's, and so is Atlas's there.
    ago = (await deployment.now()).timestamp() - float(failed_at)
    words = f"{max(0, round(ago / 60))} min ago: {info.get('last_error_message', '')}"
    if waiting and ago < ERROR_COUNTS_S:
        raise WrongError(f"{waiting} updates wait, and the last delivery failed {words}")
    return f"the last one {words}, delivered since"


async def pending(deployment: Deployment) -> str:
    """Telegram is not ahead of the functions."""
    waiting = int((await _webhook(deployment)).get("pending_update_count", 0))
    if waiting > MOST_PENDING:
        raise WrongError(f"{waiting} updates wait at Telegram")
    return f"{waiting}"


async def kinds(deployment: Deployment) -> str:
    """Telegram sends every kind of update that the bot handles, and no other."""
    found = (await _webhook(deployment)).get("allowed_updates") or []
    missing = [kind for kind in ALLOWED_UPDATES if kind not in found]
    more = [kind for kind in found if kind not in ALLOWED_UPDATES]
    insist(
        ([f"not sent: {', '.join(missing)}"] if missing else [])
        + ([f"sent for nothing: {', '.join(more)}"] if more else [])
    )
    return ""


async def connections(deployment: Deployment) -> str:
    """Telegram delivers as many at once as the instances take: no fewer than one of them, no more than all."""
    row = deployment.table.functions["telegram_webhook"]
    found, least, most = (
        int((await _webhook(deployment)).get("max_connections", 40)),
        row.concurrency,
        most_connections(row, deployment.most_instances),
    )
    if not least <= found <= most:
        raise WrongError(f"max_connections is {found}, and must be from {least} to {most}")
    return f"{found}"


async def certificate(deployment: Deployment) -> str:
    """Telegram can trust the certificate at the webhook's address, for days to come."""
    info = await _webhook(deployment)
    if info.get("has_custom_certificate"):
        raise WrongError(
            "a certificate of its own was uploaded with setWebhook: the platform's is the one that is shown"
        )
    parts = urlsplit(await _address(deployment))
    if parts.scheme != "https":
        raise NotCheckedError("plain http on this machine")
    return await trusted(str(parts.hostname), parts.port or 443, ssl.create_default_context(cafile=certifi.where()))


async def trusted(host: str, port: int, context: ssl.SSLContext) -> str:
    """The certificate there is one that the context trusts, and stays so.

    Raises:
        WrongError: it is not, or ends within `CERTIFICATE_DAYS` days, or nothing answers.
    """
    try:
        found = await peer_certificate(host, port, context)
    except ssl.SSLCertVerificationError as error:
        raise WrongError(f"the certificate of {host} is not trusted: {error.verify_message}") from None
    except (OSError, asyncio.IncompleteReadError) as error:
        raise WrongError(f"no TLS connection to {host}: {type(error).__name__}") from None
    days = found.days_left(datetime.fromtimestamp(time.time(), UTC))
    if days < CERTIFICATE_DAYS:
        raise WrongError(f"the certificate of {host} ends in {days} days")
    return f"{days} days left"


_UNHEARD = "nothing that they write or tap reaches the bot."
_SET_AGAIN = "`make deploy` sets the webhook again and loses no update."
CHECKS = (
    Check(
        name="telegram-token",
        part="webhook",
        subject=_SUBJECT,
        asks="Telegram takes the bot's token",
        customers="the bot says nothing any more.",
        mend="Make a token with @BotFather, store it as TELEGRAM_BOT_TOKEN and deploy.",
        page="runbooks/rotate-secrets.md",
        look=token,
    ),
    Check(
        name="webhook-address",
        part="webhook",
        subject=_SUBJECT,
        asks="updates go to this deployment",
        customers=_UNHEARD,
        mend=_SET_AGAIN,
        page="doctor.md#the-webhook-is-set-otherwise",
        look=address,
        after=("telegram-token",),
    ),
    Check(
        name="webhook-secret",
        part="webhook",
        subject=_SUBJECT,
        asks="the webhook takes the secret that Telegram is told",
        customers=_UNHEARD,
        mend=f"The function runs with another secret: deploy. {_SET_AGAIN}",
        page="runbooks/deliveries-refused.md",
        look=secret,
    ),
    Check(
        name="webhook-errors",
        part="webhook",
        subject=_SUBJECT,
        asks="no update waits behind a failed delivery",
        customers="those whose updates wait get no answer; after a day Telegram drops them.",
        mend="403: another secret is set at Telegram, deploy. 5xx: see the function's log.",
        page="runbooks/deliveries-refused.md",
        look=errors,
        after=("telegram-token", "database"),
    ),
    Check(
        name="webhook-pending",
        part="webhook",
        subject=_SUBJECT,
        asks="few updates wait at Telegram",
        customers="answers come late.",
        mend="Look for errors and slow answers of telegram_webhook first.",
        page="runbooks/deliveries-refused.md",
        look=pending,
        after=("telegram-token",),
    ),
    Check(
        name="webhook-kinds",
        part="webhook",
        subject=_SUBJECT,
        asks="Telegram sends every kind of update that the bot handles",
        customers="what is not sent has no effect: buttons, payments with Stars, or who blocked the bot.",
        mend=_SET_AGAIN,
        page="doctor.md#the-webhook-is-set-otherwise",
        look=kinds,
        after=("telegram-token",),
    ),
    Check(
        name="webhook-connections",
        part="webhook",
        subject=_SUBJECT,
        asks="Telegram delivers as many updates at once as the instances take",
        customers="too few: answers come late in a rush; too many: the platform refuses some, and they come again later.",
        mend=_SET_AGAIN,
        page="doctor.md#the-webhook-is-set-otherwise",
        look=connections,
        after=("telegram-token",),
    ),
    Check(
        name="webhook-certificate",
        part="webhook",
        subject=_SUBJECT,
        asks="the certificate at the webhook's address is trusted and lasts",
        customers=f"Telegram stops delivering: {_UNHEARD}",
        mend="A domain of one's own: see to its certificate. A run.app address: the platform's own trouble.",
        page="doctor.md#the-webhook-is-set-otherwise",
        look=certificate,
        after=("telegram-token",),
    ),
)
