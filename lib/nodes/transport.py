"""HTTP to nodes: one request, time limits for connecting and for reading, no redirects, a bounded answer.

By aiohttp, which the bot brings along: a call costs a sixth of httpx's CPU, and this is the one that every grant makes.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Protocol

import aiohttp
import certifi

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT_S, READ_S = 5.0, 10.0
MOST_BYTES = 4 * 1024 * 1024
"""An answer to the largest batch is a tenth of it."""
_IDLE_S = 4.0
"""A node's service closes idle connections after 5 s: one that it is about to close is not used again."""
_CHUNK = 64 * 1024


class NodeError(Exception):
    """The node could not be made to agree; the text names no key, link or UUID.

    Attributes:
        temporary: worth another attempt (network, timeout, 429, 5xx); otherwise a person has to look.
        trouble: what an operator has to mend, as `nodes.trouble` has it; None for what may pass by itself.
    """

    def __init__(self, text: str, *, temporary: bool, trouble: str | None = None) -> None:
        super().__init__(text)
        self.temporary = temporary
        self.trouble = trouble


class Transport(Protocol):
    """Carries one request."""

    async def send(self, url: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """POST the body, or GET without one; status and body of the answer.

        Raises:
            NodeError: no answer; the request may have been taken.
        """


class AiohttpTransport:
    """Fills `Transport`; belongs to the event loop of its first call."""

    def __init__(self, connect_s: float = CONNECT_S, read_s: float = READ_S) -> None:
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_s, sock_read=read_s)
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | None = None

    async def send(self, url: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """See `Transport.send`."""
        session = self._opened()
        try:
            async with session.request(
                "GET" if body is None else "POST",
                url,
                data=body,
                headers=headers,
                allow_redirects=False,
                ssl=self._context() if url.startswith("https:") else True,
            ) as response:
                return response.status, await _bounded(response)
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            raise NodeError("the node's address can't be called", temporary=False, trouble="configuration") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NodeError(type(error).__name__, temporary=True) from None

    async def close(self) -> None:
        """Its connections are closed."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
            )
        return self._session

    def _context(self) -> ssl.SSLContext:
        self._tls = self._tls or ssl.create_default_context(cafile=certifi.where())
        return self._tls


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_chunked(_CHUNK):
        size += len(part)
        if size > MOST_BYTES:
            raise NodeError("an answer of more than 4 MiB", temporary=False, trouble="answer")
        parts.append(part)
    return b"".join(parts)
