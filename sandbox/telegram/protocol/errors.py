"""How a Bot API call fails: the code, the text and the parameters of the answer."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """A refused call, answered as `{"ok": false, "error_code": ..., "description": ...}`."""

    def __init__(self, code: int, description: str, parameters: dict[str, Any] | None = None) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters


def bad_request(reason: str) -> ApiError:
    """400 with the server's prefix; the first letter is lowered as the server lowers it, codes in capitals stay."""
    if len(reason) > 1 and reason[0].isupper() and not reason[1].isupper():
        reason = reason[0].lower() + reason[1:]
    return ApiError(400, f"Bad Request: {reason}")


def forbidden(reason: str) -> ApiError:
    """403: the other side does not want, or cannot get, messages of this bot."""
    return ApiError(403, f"Forbidden: {reason}")


def too_many_requests(retry_after: int) -> ApiError:
    """429 with the seconds to wait, in the text, in `parameters` and (added by the server) in `Retry-After`."""
    return ApiError(429, f"Too Many Requests: retry after {retry_after}", {"retry_after": retry_after})


def not_modelled(what: str) -> ApiError:
    """501: Telegram knows it, this stand-in does not. Never a silent success."""
    return ApiError(501, f"Not Implemented: the sandbox's Telegram does not model {what}")
