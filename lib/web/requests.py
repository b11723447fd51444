"""Reading a request without trusting it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from starlette.requests import Request

BODY_LIMIT = 1024 * 1024
"""Bytes; Telegram and Crypto Pay stay far below."""


_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)


class TooLarge(Exception):
    """The body is over the limit: 413."""


async def body(request: Request, limit: int = BODY_LIMIT) -> bytes:
    """The raw body, read no further than `limit`, whatever Content-Length says.

    Raises:
        TooLarge: over `limit` bytes.
        starlette.requests.ClientDisconnect: the sender hung up.
    """
    declared = request.headers.get("content-length", "")
    if _LENGTH.fullmatch(declared) and int(declared) > limit:  # any other is left to what is really sent
        raise TooLarge
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise TooLarge
        chunks.append(chunk)
    return b"".join(chunks)


def header_bytes(request: Request, name: str) -> bytes | None:
    """A header as it came on the wire, so that other than ASCII can be compared and refused."""
    wanted = name.lower().encode()
    for key, value in request.headers.raw:
        if key.lower() == wanted:
            return bytes(value)
    return None


__all__ = ["BODY_LIMIT", "ClientDisconnect", "TooLarge", "body", "header_bytes"]
