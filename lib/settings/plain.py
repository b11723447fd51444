"""The settings each part needs, read once, on first use, without a framework (the public functions' import budget).

Each is read by its one reader in `lib.settings.values`, which the check of settings calls too. Secrets are never in a `repr`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from lib.db.address import DatabaseAddress
from lib.settings import values
from lib.settings.values import UnusableSetting, WrongSetting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from zoneinfo import ZoneInfo

T = TypeVar("T")

TELEGRAM_API = "https://api.telegram.org"
CRYPTOPAY_API = "https://pay.crypt.bot"
CRYPTOPAY_ASSETS = "USDT,TON,BTC"
DISPLAY_TZ = "Europe/Moscow"
STORE_REGION = "us-east-1"

__all__ = ["MissingSetting", "UnusableSetting", "WrongSetting"]


class MissingSetting(UnusableSetting):
    """A setting that this function can't work without is not there; its name is the text."""


def text(name: str) -> str:
    """The variable, stripped; an empty one counts as unset, and is ""."""
    return os.environ.get(name, "").strip()


def read(name: str, reader: Callable[[str], T], default: str = "") -> T | None:
    """The variable's value by its reader, or the default's; None when it is unset and there is no default.

    Raises:
        WrongSetting: the reader refuses it.
    """
    given = text(name) or default
    if not given:
        return None
    try:
        return reader(given)
    except ValueError as error:
        raise WrongSetting(f"{name}: {error}") from None


def required(name: str, reader: Callable[[str], T]) -> T:
    """As `read`, of what this function can't do without.

    Raises:
        MissingSetting: it is unset or empty.
        WrongSetting: the reader refuses it.
    """
    value = read(name, reader)
    if value is None:
        raise MissingSetting(name)
    return value


def defaulted(name: str, reader: Callable[[str], T], default: str) -> T:
    """As `read`, of what has a default.

    Raises:
        WrongSetting: the reader refuses it.
    """
    value = read(name, reader, default)
    assert value is not None, "a default is never empty"  # noqa: S101 -- for the type checker
    return value


def database_url(given: str) -> str:
    """The reader of database URLs, as connections are made by them.

    Raises:
        ValueError: no connection could be made by it.
    """
    try:
        DatabaseAddress.parse(given).driver_arguments()
    except OSError as error:
        raise ValueError(f"sslrootcert can't be read: {type(error).__name__}") from None
    return given


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """Where Postgres is and how many connections this instance may open."""

    url: str = field(repr=False)
    lock_url: str = field(repr=False)
    connections: int


@cache
def database() -> DatabaseSettings:
    """Raises: MissingSetting, WrongSetting."""
    url = required("DATABASE_URL", database_url)
    lock_url = read("DATABASE_LOCK_URL", database_url) or url
    return DatabaseSettings(url, lock_url, defaulted("DB_CONNECTIONS", values.connections, "2"))


@dataclass(frozen=True, slots=True)
class TelegramSettings:
    """The bot."""

    token: str = field(repr=False)
    api_base: str
    username: str
    support_url: str


@cache
def telegram() -> TelegramSettings:
    """Raises: MissingSetting, WrongSetting."""
    return TelegramSettings(
        token=required("TELEGRAM_BOT_TOKEN", values.bot_token),
        api_base=defaulted("TELEGRAM_API_BASE", values.http_address, TELEGRAM_API),
        username=read("TELEGRAM_BOT_USERNAME", values.bot_name) or "",
        support_url=read("SUPPORT_URL", values.support_address) or "",
    )


@cache
def telegram_secrets() -> tuple[str, ...]:
    """Webhook secrets that are accepted now; empty when none is configured. Raises: WrongSetting."""
    return read("TELEGRAM_WEBHOOK_SECRET", values.webhook_secrets) or ()


@dataclass(frozen=True, slots=True)
class CryptoPaySettings:
    """Crypto Pay; `tokens` is empty when the method is not offered."""

    tokens: tuple[str, ...] = field(repr=False)
    api_base: str
    assets: tuple[str, ...]


@cache
def cryptopay() -> CryptoPaySettings:
    """Crypto Pay's settings. Raises: WrongSetting."""
    return CryptoPaySettings(
        tokens=read("CRYPTOPAY_TOKEN", values.cryptopay_tokens) or (),
        api_base=defaulted("CRYPTOPAY_API_BASE", values.http_address, CRYPTOPAY_API),
        assets=defaulted("CRYPTOPAY_ASSETS", values.assets, CRYPTOPAY_ASSETS),
    )


def provider_token(given: str) -> str:
    """The reader of the card provider's token.

    Raises:
        ValueError: none that @BotFather gives; in prod one of a provider's test, with which access would be given for no money.
    """
    read_as = values.provider_token(given)
    if values.is_of_a_test(given) and environment() == "prod":
        raise ValueError("is a test token, which takes no money: prod needs a live one")
    return read_as


@dataclass(frozen=True, slots=True)
class CardSettings:
    """Cards by Telegram Payments; `token` is empty when the method is not offered, `receipt` when the provider is told nothing."""

    token: str = field(repr=False)
    receipt: Mapping[str, str]


@cache
def card() -> CardSettings:
    """Raises: WrongSetting."""
    return CardSettings(
        token=read("TELEGRAM_PROVIDER_TOKEN", provider_token) or "",
        receipt=read("CARD_RECEIPT", values.card_receipt) or {},
    )


def method_names(given: str) -> tuple[str, ...]:
    """The reader of a list of ways to pay: in the order of the buttons, each once, with commas between them.

    Raises:
        ValueError: there is no such method, or one stands twice.
    """
    from lib.payments import registry  # noqa: PLC0415 -- which knows all providers; read when the first screen is made

    known = {*values.PAYMENT_METHODS, *registry.providers("prod")}
    methods = tuple(part.strip() for part in given.split(",") if part.strip())
    if not methods or not known.issuperset(methods):
        raise ValueError(f"each must be one of {', '.join(sorted(known))}")
    if len(set(methods)) != len(methods):
        raise ValueError("each may stand once")
    return methods


def payment_methods() -> tuple[str, ...] | None:
    """Which ways to pay are offered, in their order; None: all that are configured. Raises: WrongSetting."""
    return read("PAYMENT_METHODS", method_names)


def asks_data() -> bool:
    """Whether a person is asked before anything of them is kept. Raises: WrongSetting."""
    return defaulted("ASK_DATA_CONSENT", values.switch, "no")


def owners() -> frozenset[int]:
    """Telegram ids of those who may do everything. Raises: WrongSetting."""
    return frozenset(read("ADMIN_IDS", values.ids) or ())


@dataclass(frozen=True, slots=True)
class TasksSettings:
    """Cloud Tasks: `endpoint` is empty for the real service, `invoker` for no token; it may hold {queue}, `url_template` holds {name}."""

    endpoint: str
    project: str
    location: str
    invoker: str
    url_template: str


@cache
def tasks() -> TasksSettings:
    """Raises: MissingSetting, WrongSetting."""
    return TasksSettings(
        endpoint=read("TASKS_ENDPOINT", values.http_address) or "",
        project=required("TASKS_PROJECT", values.project),
        location=required("TASKS_LOCATION", values.location),
        invoker=read("TASKS_INVOKER", values.invoker) or "",
        url_template=required("FUNCTION_URL_TEMPLATE", values.function_address),
    )


@dataclass(frozen=True, slots=True)
class FirstNodeSettings:
    """The node that is used while the `nodes` table is empty."""

    url: str
    key_name: str
    pins: tuple[str, ...]


@cache
def first_node() -> FirstNodeSettings | None:
    """The first node, or None when `XRAY_API_URL` is unset. Raises: WrongSetting."""
    url = read("XRAY_API_URL", values.node_address)
    pins = read("XRAY_API_PIN", values.node_pins) or ()
    if url is None:
        return None
    try:
        values.matching_pins(url, pins)
    except ValueError as error:
        raise WrongSetting(f"XRAY_API_PIN: {error}") from None
    return FirstNodeSettings(url, "XRAY_API_KEY", pins)


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The S3-compatible store of the books off site: which folder of which bucket, and the access key to it."""

    bucket: str
    prefix: str
    endpoint: str
    region: str
    key_id: str = field(repr=False)
    secret: str = field(repr=False)

    @property
    def address(self) -> str:
        """Where it is, without the key."""
        return store_address((self.bucket, self.prefix), self.endpoint)


def store_address(folder: tuple[str, str], endpoint: str) -> str:
    """By what the books know a store: endpoint, bucket and folder in it."""
    return "/".join(part for part in (endpoint, *folder) if part)


def aws_endpoint(region: str) -> str:
    """The store where none is said."""
    return f"https://s3.{region}.amazonaws.com"


def ledger_store() -> StoreSettings | None:
    """Where the books are copied to; None while `LEDGER_EXPORT_URL` is unset: they are not.

    Raises:
        MissingSetting: without `LEDGER_EXPORT_KEY`.
        WrongSetting: one of them.
    """
    folder = read("LEDGER_EXPORT_URL", values.store_folder)
    return None if folder is None else store_of(folder)


def store_of(folder: tuple[str, str]) -> StoreSettings:
    """A bucket and a folder in it, by the endpoint, the region and the key of the settings. Raises: MissingSetting, WrongSetting."""
    region = defaulted("LEDGER_EXPORT_REGION", values.store_region, STORE_REGION)
    endpoint = defaulted("LEDGER_EXPORT_ENDPOINT", values.store_endpoint, aws_endpoint(region))
    key_id, secret = required("LEDGER_EXPORT_KEY", values.store_key)
    return StoreSettings(*folder, endpoint, region, key_id, secret)


def health_key() -> str | None:
    """What opens the full health answer; None: nothing does. Raises: WrongSetting."""
    return read("HEALTH_KEY", values.api_key)


@cache
def zone() -> ZoneInfo:
    """In which times are shown. Raises: WrongSetting."""
    return defaulted("DISPLAY_TZ", values.zone, DISPLAY_TZ)


def environment() -> str:
    """`local`, `dev` or `prod`; prod when unset, since that is the one with the least liberties. Raises: WrongSetting."""
    return defaulted("ENVIRONMENT", values.environment, "prod")
