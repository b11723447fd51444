"""Which bot a token opens, and whether it may be served from here. Asks only; changes nothing at Telegram."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from sandbox.bridge.api import PUBLIC_API, Api, RefusedError, UnreachableError

_TOKEN: Final = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{8,}")
_USERNAME: Final = re.compile(r"[A-Za-z0-9_]{1,64}")


class UnusableBotError(ValueError):
    """The real Telegram can't be used with what was given; the text is for a person and holds no secret."""


@dataclass(frozen=True, slots=True)
class Bot:
    """A bot of the real Telegram. `waiting`: updates that Telegram had for it when we looked."""

    id: int
    username: str
    token: str = field(repr=False)
    api_base: str = PUBLIC_API
    waiting: int = 0


def check_token(token: str) -> str:
    """The token, when it has the form of one.

    Raises:
        UnusableBotError
    """
    if not _TOKEN.fullmatch(token):
        raise UnusableBotError(
            "TELEGRAM_BOT_TOKEN is no bot token: digits, a colon, then letters, digits, - and _, as @BotFather gave it."
        )
    return token


def check_api_base(base: str) -> str:
    """Base URL of a Bot API server, without a slash at its end.

    Raises:
        UnusableBotError: no such URL, or one that would send the token readable through a network that is not private.
    """
    base = base.rstrip("/")
    try:
        parts = urlsplit(base)
        unwanted = parts.query or parts.fragment or parts.username
        fits = parts.port != 0 and parts.scheme in {"http", "https"} and not unwanted and bool(httpx.URL(base).host)
    except (ValueError, httpx.InvalidURL):
        parts, fits = urlsplit(""), False
    host = parts.hostname or ""
    if not fits or not host:
        raise UnusableBotError("TELEGRAM_API_BASE must be an http(s) address such as https://api.telegram.org.")
    if parts.scheme == "http" and not _is_private(host):
        raise UnusableBotError(
            "TELEGRAM_API_BASE: plain http would show the token to the network on the way to it; use https."
        )
    return base


def _is_private(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost"


async def look(token: str, api_base: str) -> Bot:
    """The bot of a token, when it waits for a program to ask for its updates.

    Raises:
        UnusableBotError: malformed or revoked token, no way to Telegram, or the bot has a webhook.
    """
    api = Api(check_api_base(api_base), check_token(token))
    host = urlsplit(api_base).hostname
    try:
        me = await api.call("getMe")
        webhook = await api.call("getWebhookInfo")
    except UnreachableError as error:
        raise UnusableBotError(
            f"{host} can't be reached ({error}). Is this machine online, and is Telegram open from here?"
        ) from None
    except RefusedError as error:
        if error.code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND}:
            raise UnusableBotError(
                f"{host} does not know this token: it is mistyped, or it was revoked. @BotFather shows the current one."
            ) from None
        raise UnusableBotError(f"{host} answered {error.code}: {error}") from None
    finally:
        await api.close()
    return _bot(me, webhook, token, api_base.rstrip("/"))


def _bot(me: Any, webhook: Any, token: str, api_base: str) -> Bot:
    if not isinstance(me, dict) or not isinstance(webhook, dict) or not isinstance(me.get("id"), int):
        raise UnusableBotError(f"{urlsplit(api_base).hostname} answers as no Bot API server does.")
    username = str(me.get("username", ""))
    if not _USERNAME.fullmatch(username):
        raise UnusableBotError("The bot has no username; @BotFather gives it one.")
    if url := str(webhook.get("url", "")):
        raise UnusableBotError(
            f"@{username} has a webhook at {urlsplit(url).hostname}: somewhere it is live, and Telegram gives its updates"
            " to that address only.\nDeleting the webhook would cut that bot off, so nothing was touched. Make a second"
            " bot with @BotFather and use its token here."
        )
    return Bot(me["id"], username, token, api_base, int(webhook.get("pending_update_count") or 0))
