"""What a person gives to `make run`: make variables and the environment first, then `.env`, then the terminal for the token."""

from __future__ import annotations

import getpass
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dotenv.parser import parse_stream

from sandbox.cloud.instances import PROVIDER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TOKEN: Final = "TELEGRAM_BOT_TOKEN"  # noqa: S105 - the setting's name
_API_BASE: Final = "TELEGRAM_API_BASE"
# What a person may set for the local system; everything else it makes up by itself.
TAKEN_OVER: Final[tuple[str, ...]] = (
    "ADMIN_IDS",
    "ASK_DATA_CONSENT",
    "CARD_RECEIPT",
    "CRYPTOPAY_ASSETS",
    "DISPLAY_TZ",
    "LEDGER_EXPORT_ENDPOINT",
    "LEDGER_EXPORT_KEY",
    "LEDGER_EXPORT_REGION",
    "LEDGER_EXPORT_URL",
    "LOG_LEVEL",
    "PAYMENT_METHODS",
    "SUPPORT_URL",
    "TARIFFS_PATH",
)
_MAKES_OWN: Final = ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES")


class NotGivenError(ValueError):
    """The token was asked for and can't be had; the text says why."""


class EnvFileError(ValueError):
    """The file of settings can't be used; the text says where and why, and holds nothing of what is in it."""


@dataclass(frozen=True, slots=True)
class Options:
    """Settings for the functions, and the real bot to serve, if any.

    Attributes:
        settings: to be taken over as they are.
        token: of a bot of the real Telegram; empty: the stand-in.
        api_base: where its Bot API is; empty: the public one.
        source: where the token came from, in words.
    """

    settings: dict[str, str] = field(default_factory=dict, repr=False)
    token: str = field(default="", repr=False)
    api_base: str = ""
    source: str = ""


def read(env_file: Path, *, stand_in: bool = False, ask: bool = False) -> Options:
    """What was given. An empty value counts as none.

    Args:
        env_file: read when it is there; nothing is expanded in it, and other names in it are left alone.
        stand_in: take no token, wherever there is one.
        ask: ask for the token at the terminal when there is none.

    Raises:
        EnvFileError: the file can't be read, or has a line that gives a name no value.
        NotGivenError: to be asked for, without a terminal to answer.
    """
    environment, file = _filled(os.environ), _filled(_file(env_file))
    found = file | environment
    settings = {name: found[name] for name in TAKEN_OVER if name in found}
    if stand_in:
        return Options(settings)
    token, source = found.get(TOKEN, ""), "the environment" if TOKEN in environment else str(env_file)
    if not token and ask:
        token, source = _asked(), "the terminal"
    if not token:
        return Options(settings)
    if PROVIDER in found:
        settings[PROVIDER] = found[PROVIDER]
    return Options(settings, token, found.get(_API_BASE, ""), source)


def hide_secrets() -> None:
    """Out of this process's environment, so that no child gets them but the functions they are meant for.

    make's own variables repeat what was on its command line.
    """
    for name in (TOKEN, PROVIDER, *_MAKES_OWN):
        os.environ.pop(name, None)


def readable_by_others(path: Path) -> bool:
    """Whether another user of this machine may read the file."""
    return path.exists() and bool(path.stat().st_mode & 0o044)


def _file(path: Path) -> Mapping[str, str | None]:
    if not (path.is_file() or path.is_fifo()):  # password managers make pipes of it
        return {}
    try:
        with path.open(encoding="utf-8-sig") as text:  # some editors put a mark first
            lines = list(parse_stream(text))
    except (OSError, UnicodeDecodeError) as error:
        raise EnvFileError(f"{path} can't be read: {type(error).__name__}.") from None
    wrong = [str(line.original.line) for line in lines if line.error]
    if wrong:  # one of them may have been meant to be the token
        raise EnvFileError(f"{path} can't be understood: no NAME=value in line {', '.join(wrong)}.")
    return {line.key: line.value for line in lines if line.key is not None}


def _filled(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value.strip() for name, value in values.items() if value and value.strip()}


def _asked() -> str:
    if not sys.stdin.isatty():
        raise NotGivenError(f"{TOKEN} is not set, and there is no terminal to ask at.")
    try:
        token = getpass.getpass("Token of the bot, from @BotFather (it is not shown): ").strip()
    except EOFError:
        token = ""
    if not token:
        raise NotGivenError("No token was given.")
    return token
