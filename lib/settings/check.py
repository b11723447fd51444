"""Every problem of the configuration at once, by name, before anything starts: `python -m lib.settings.check`.

For everything that can afford pydantic-settings: `make run`, tasks and sweeps. A public function reads its few settings
plainly (`lib.settings.plain`) and answers 503 when they are not there.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from lib import currencies
from lib.db.address import DatabaseAddress
from lib.settings import plain, pricelist

DISPLAY_TZ = "Europe/Moscow"
_MASTER_KEY = re.compile(r"[!-+\--~]{32,}\Z")
_BOT_TOKEN = re.compile(r"^\d+:[A-Za-z0-9_-]{8,}$")
_WEBHOOK_SECRET = re.compile(r"^[A-Za-z0-9_-]{1,256}$")
_CRYPTOPAY_TOKEN = re.compile(r"^\d+:\S{8,}$")


def _database_url(value: str) -> str:
    try:
        DatabaseAddress.parse(value).driver_arguments()
    except OSError as error:
        raise ValueError(f"sslrootcert can't be read: {type(error).__name__}") from None
    return value


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http(s) address")
    return value


def _template(value: str) -> str:
    if "{name}" not in value:
        raise ValueError("must contain {name}")
    return _http_url(value)


def _each(pattern: re.Pattern[str], words: str) -> AfterValidator:
    def check(value: str) -> str:
        if not all(pattern.match(part.strip()) for part in value.split(",")):
            raise ValueError(words)
        return value

    return AfterValidator(check)


def _assets(value: str) -> str:
    if not all(part.strip() in currencies.ALL for part in value.split(",")):
        raise ValueError("must be codes such as USDT,TON,BTC, each of a currency that Atlas knows")
    return value


def _ids(value: str) -> str:
    if not all(part.strip().isdecimal() for part in value.split(",") if part.strip()):
        raise ValueError("must be Telegram ids with commas between them")
    return value


def zone_problem(value: str) -> str | None:
    """Why this is no zone that times can be shown in, or None."""
    return None if value in available_timezones() else "must be a zone of the tz database, such as Europe/Moscow"


def _zone(value: str) -> str:
    if problem := zone_problem(value):
        raise ValueError(problem)
    return str(ZoneInfo(value))


DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]


class Settings(BaseSettings):
    """All settings of the functions (docs/configuration.md); an empty variable counts as unset."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", hide_input_in_errors=True)

    database_url: DatabaseUrl
    database_lock_url: DatabaseUrl | None = None
    db_connections: int = Field(2, ge=2, le=100)
    telegram_bot_token: Annotated[str, _each(_BOT_TOKEN, "must look like 123456:ABC...")]
    telegram_webhook_secret: Annotated[str, _each(_WEBHOOK_SECRET, "1 to 256 of A-Z a-z 0-9 _ - each")] | None = None
    telegram_bot_username: str | None = None
    telegram_api_base: HttpUrl = "https://api.telegram.org"
    admin_ids: Annotated[str, AfterValidator(_ids), NoDecode] = ""
    cryptopay_token: Annotated[str, _each(_CRYPTOPAY_TOKEN, "must look like 12345:AA...")] | None = None
    cryptopay_api_base: HttpUrl = "https://pay.crypt.bot"
    cryptopay_assets: Annotated[str, AfterValidator(_assets)] = "USDT,TON,BTC"
    tasks_endpoint: HttpUrl | None = None
    tasks_project: str = Field(min_length=1)
    tasks_location: str = Field(min_length=1)
    tasks_invoker: str | None = None
    function_url_template: Annotated[str, AfterValidator(_template)]
    xray_api_url: HttpUrl | None = None
    xray_api_key: str | None = None
    node_master_keys: (
        Annotated[str, _each(_MASTER_KEY, "each needs at least 32 printable characters without spaces")] | None
    ) = None
    support_url: HttpUrl | None = None
    display_tz: Annotated[str, AfterValidator(_zone)] = DISPLAY_TZ
    health_key: str | None = None
    environment: Literal["local", "dev", "prod"] = "prod"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


_PART_OF: dict[str, frozenset[str]] = {
    # what only some functions are given; elsewhere its absence is no problem
    "telegram_bot_token": frozenset({"telegram_webhook", "task_update", "task_notify"}),
}


def problems(target: str | None = None) -> list[str]:
    """Every problem, `NAME: what is wrong`, for one function or for all of them; never a value."""
    found: list[str] = []
    try:
        Settings()
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = str(problem["loc"][0])
            wanted_by = _PART_OF.get(name)
            if (
                problem["type"] == "missing"
                and wanted_by is not None
                and target is not None
                and target not in wanted_by
            ):
                continue
            words = "is not set" if problem["type"] == "missing" else problem["msg"].removeprefix("Value error, ")
            found.append(f"{name.upper()}: {words}")
    found += _of_the_node()
    try:
        pricelist.load()
    except pricelist.InvalidPriceList as error:
        found += [
            line if line.startswith("TARIFFS_PATH") else f"TARIFFS_PATH: {line}" for line in str(error).split("\n")
        ]
    return found


def _of_the_node() -> list[str]:
    if plain.text("XRAY_API_KEY") and not plain.text("XRAY_API_URL"):
        return ["XRAY_API_URL: is not set, but XRAY_API_KEY is"]
    return []


@cache
def problems_once(target: str) -> tuple[str, ...]:
    """The problems of this process's function, looked for on its first request."""
    return tuple(problems(target))


def main() -> int:
    """Print every problem; exit code 1 when there is one."""
    found = problems()
    for problem in found:
        sys.stderr.write(f"{problem}\n")
    if not found:
        sys.stdout.write("configuration: all good\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
