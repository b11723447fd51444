"""JSON lines on standard output: severity, event, fields. Never a key, a link or a whole UUID."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

_LOGGER = logging.getLogger("xray_api")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "severity": record.levelname,
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "event": record.getMessage(),
            "logger": record.name,
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            # Frames and the type only: the text of an exception may quote what it choked on.
            kind, _, trace = record.exc_info
            line["exception"] = kind.__name__ if kind else None
            frames = []
            while trace is not None:
                frames.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
                trace = trace.tb_next
            line["frames"] = frames
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(level: str) -> None:
    """Send everything, uvicorn's own lines included, through the one format."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def log(severity: int, event: str, **fields: Any) -> None:
    """Write one line; `severity` is a level of `logging`."""
    _LOGGER.log(severity, event, extra={"fields": fields})


def failure(event: str, **fields: Any) -> None:
    """Write one ERROR line about the exception being handled: its type and place, not its text."""
    _LOGGER.error(event, exc_info=True, extra={"fields": fields})  # noqa: LOG014 - called from except blocks
