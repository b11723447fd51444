"""JSON log lines on stdout: severity, event, correlation id. No secret, token, link or full UUID gets through.

Own code instead of a library: this module is on the import path of the public functions, whose imports are budgeted.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import traceback
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lib import target
from lib.settings import values

if TYPE_CHECKING:
    from collections.abc import Iterator

correlation: ContextVar[str] = ContextVar("correlation", default="-")
"""What ties update, order, payment, task and node call together; set where the handling of an event begins."""

# A second line of defence: no code should log these, and if some does, they do not get out.
_SECRETS = re.compile(
    r"(?P<uuid>[0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r'|\bvless://[^\s"\\]+'
    r"|\b(?:bot)?\d{2,}:[A-Za-z0-9_-]{8,}"
    r'|\bpostgres(?:ql)?://[^\s"\\]+',
    re.IGNORECASE,
)
# What each of those holds, found by its rarest character: the search for the secrets themselves costs more than the rest of a line.
_SUSPICIOUS = re.compile(r":(?://|(?<=\d:)[A-Za-z0-9_-]{8})|-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-", re.IGNORECASE)
_logger = logging.getLogger("atlas")
_encode = json.JSONEncoder(default=str, ensure_ascii=False).encode


def redact(text: str) -> str:
    """Mask tokens, links and database URLs; shorten UUIDs to their first eight digits."""
    if _SUSPICIOUS.search(text) is None:
        return text
    return _SECRETS.sub(lambda match: f"{match['uuid']}..." if match["uuid"] else "[redacted]", text)


class _JsonLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "severity": record.levelname,
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "event": record.getMessage(),
            "correlation_id": correlation.get(),
            "function": target.name(),
        }
        if record.name != "atlas":
            line["logger"] = record.name
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return redact(_encode(line))


def configure() -> None:
    """Send everything this process logs through the one format; safe to call again.

    Raises:
        lib.settings.values.WrongSetting: `LOG_LEVEL` is no level; all is logged from INFO up then.
    """
    root = logging.getLogger()
    if not any(isinstance(handler.formatter, _JsonLine) for handler in root.handlers):
        _install(root)
    try:
        root.setLevel(values.log_level(os.environ.get("LOG_LEVEL", "").strip() or "INFO"))
    except ValueError as error:
        raise values.WrongSetting(f"LOG_LEVEL: {error}") from None


def _install(root: logging.Logger) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JsonLine())
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for noisy in ("httpx", "httpcore", "aiogram", "aiohttp", "urllib3", "google"):
        # at INFO they print request URLs, which hold the bot token
        logging.getLogger(noisy).setLevel(logging.WARNING)


def info(event: str, **fields: Any) -> None:
    """Something happened; `event` is a fixed word, the rest are fields."""
    _logger.info(event, extra={"fields": fields})


def warning(event: str, **fields: Any) -> None:
    """Something that heals by itself, or that a caller did wrong."""
    _logger.warning(event, extra={"fields": fields})


def error(event: str, **fields: Any) -> None:
    """Something that a person should know of."""
    _logger.error(event, extra={"fields": fields})


def exception(event: str, **fields: Any) -> None:
    """As `error`, with the traceback of the exception that is being handled."""
    _logger.error(event, extra={"fields": fields}, exc_info=True)  # noqa: LOG014 -- its callers are inside one


@contextmanager
def correlated(identifier: str) -> Iterator[None]:
    """Give every line logged inside this correlation id."""
    token = correlation.set(identifier)
    try:
        yield
    finally:
        correlation.reset(token)
