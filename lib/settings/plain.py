"""The settings each part needs, read once, on first use, without a framework (the public functions' import budget).

Nothing here judges: `lib.settings.check` does, for everything that can afford it. Secrets are never in a `repr`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache

_TELEGRAM_API = "https://api.telegram.org"
_CRYPTOPAY_API = "https://pay.crypt.bot"


class MissingSetting(Exception):
    """A setting that this function can't work without is not there; its name is the text."""


def text(name: str, default: str = "") -> str:
    """The variable, stripped; an empty one counts as unset."""
    return os.environ.get(name, "").strip() or default


def required(name: str) -> str:
    """The variable.

    Raises:
        MissingSetting: it is unset or empty.
    """
    value = text(name)
    if not value:
        raise MissingSetting(name)
    return value


def listed(name: str) -> tuple[str, ...]:
    """A comma-separated list, first one current."""
    return tuple(part.strip() for part in text(name).split(",") if part.strip())


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """Where Postgres is and how many connections this instance may open."""

    url: str = field(repr=False)
    lock_url: str = field(repr=False)
    connections: int


@cache
def database() -> DatabaseSettings:
    """Raises: MissingSetting."""
    url = required("DATABASE_URL")
    return DatabaseSettings(url, text("DATABASE_LOCK_URL", url), max(2, int(text("DB_CONNECTIONS", "2"))))


@dataclass(frozen=True, slots=True)
class TelegramSettings:
    """The bot."""

    token: str = field(repr=False)
    api_base: str
    username: str
    support_url: str


@cache
def telegram() -> TelegramSettings:
    """Raises: MissingSetting."""
    return TelegramSettings(
        token=required("TELEGRAM_BOT_TOKEN"),
        api_base=text("TELEGRAM_API_BASE", _TELEGRAM_API).rstrip("/"),
        username=text("TELEGRAM_BOT_USERNAME"),
        support_url=text("SUPPORT_URL"),
    )


@cache
def telegram_secrets() -> tuple[str, ...]:
    """Webhook secrets that are accepted now; empty when none is configured."""
    return listed("TELEGRAM_WEBHOOK_SECRET")


@dataclass(frozen=True, slots=True)
class CryptoPaySettings:
    """Crypto Pay; `tokens` is empty when the method is not offered."""

    tokens: tuple[str, ...] = field(repr=False)
    api_base: str
    assets: tuple[str, ...]


@cache
def cryptopay() -> CryptoPaySettings:
    """Crypto Pay's settings; never raises."""
    return CryptoPaySettings(
        tokens=listed("CRYPTOPAY_TOKEN"),
        api_base=text("CRYPTOPAY_API_BASE", _CRYPTOPAY_API).rstrip("/"),
        assets=listed("CRYPTOPAY_ASSETS") or ("USDT", "TON", "BTC"),
    )


@dataclass(frozen=True, slots=True)
class TasksSettings:
    """Cloud Tasks: `endpoint` is empty for the real service."""

    endpoint: str
    project: str
    location: str
    invoker: str
    url_template: str


@cache
def tasks() -> TasksSettings:
    """Raises: MissingSetting."""
    return TasksSettings(
        endpoint=text("TASKS_ENDPOINT").rstrip("/"),
        project=required("TASKS_PROJECT"),
        location=required("TASKS_LOCATION"),
        invoker=text("TASKS_INVOKER"),
        url_template=required("FUNCTION_URL_TEMPLATE"),
    )


@dataclass(frozen=True, slots=True)
class FirstNodeSettings:
    """The node that is used while the `nodes` table is empty."""

    url: str
    key_name: str


@cache
def first_node() -> FirstNodeSettings | None:
    """The first node, or None when `XRAY_API_URL` is unset."""
    url = text("XRAY_API_URL").rstrip("/")
    return FirstNodeSettings(url, "XRAY_API_KEY") if url else None


@cache
def environment() -> str:
    """`local`, `dev` or `prod`; prod when unset, since that is the one with the least liberties."""
    return text("ENVIRONMENT", "prod")
