"""Answers, the same everywhere: JSON, no traceback, Retry-After on 503."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from lib import log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lib.db import SchemaTooOld

_RETRY_AFTER_S = 2


def ok(body: Mapping[str, Any] | None = None) -> Response:
    """200: what was told is committed."""
    return JSONResponse(dict(body) if body is not None else {"ok": True})


def refused(status: int, error: str) -> Response:
    """A 4xx, or a 500 that a retry may heal, in words."""
    return JSONResponse({"ok": False, "error": error}, status)


def red(body: Mapping[str, Any]) -> Response:
    """503 that tells what is wrong; to be asked again, and not soon."""
    return JSONResponse({"ok": False, "error": "not all is well", **body}, 503)


def unavailable(error: str = "try again", *, after_s: int = _RETRY_AFTER_S) -> Response:
    """503: nothing was changed, the sender should try again."""
    return JSONResponse({"ok": False, "error": error}, 503, {"Retry-After": str(after_s)})


def schema_too_old(error: SchemaTooOld) -> Response:
    """503 of code that is newer than the database's schema, and the one log line that says so."""
    log.error("schema_too_old", held=error.held, needed=error.needed)
    return unavailable(str(error), after_s=error.retry_after_seconds)
