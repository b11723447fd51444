"""HTTP to nodes: one request, time limits for connecting and for reading, no redirects, a bounded answer.

Which peer is the node is decided by its pins while the connection is made, before a byte of a request, which carries the key, is sent.

By aiohttp, which the bot brings along: a call costs a sixth of httpx's CPU, and this is the one that every grant makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import aiohttp

from lib.nodes import pins as node_pins
from lib.settings import values

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

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

    async def send(
        self, url: str, body: bytes | None, headers: Mapping[str, str], pins: Sequence[str]
    ) -> tuple[int, bytes]:
        """POST the body, or GET without one; status and body of the answer.

        Args:
            url: https, or http to this very machine.
            body: of a POST.
            headers: hold the node's key.
            pins: whom https may lead to, see `lib.domain.provisioning.Node`.

        Raises:
            NodeError: no answer; the request may have been taken, but by no peer without one of the pins.
        """


class Pinned(aiohttp.Fingerprint):
    """What aiohttp calls once TLS stands and before it sends anything: the peer's public key must be one of the pins.

    Two of the same pins are equal, so connections are kept and used again; other pins find none that was made before them.
    """

    def __init__(self, pins: Sequence[str]) -> None:
        self._pins = frozenset(pins)

    def __eq__(self, other: object) -> bool:
        """Whether connections that were made for the other serve this one."""
        return isinstance(other, Pinned) and self._pins == other._pins

    def __hash__(self) -> int:
        """As `__eq__` has it."""
        return hash(self._pins)

    def check(self, transport: asyncio.Transport) -> None:
        """End the connection of a peer that is not the node.

        Raises:
            NodeError: it is not.
        """
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        seen = node_pins.of(certificate) if certificate else None
        if seen not in self._pins:
            transport.abort()  # not close: a polite end of TLS waits half a minute for a peer that says nothing
            said = f"a certificate whose pin is {seen}" if seen else "no certificate that can be read"
            raise NodeError(f"the peer shows {said}: it is not the node", temporary=False, trouble="certificate")


class AiohttpTransport:
    """Fills `Transport`; belongs to the event loop of its first call."""

    def __init__(self, connect_s: float = CONNECT_S, read_s: float = READ_S) -> None:
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_s, sock_read=read_s)
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self, url: str, body: bytes | None, headers: Mapping[str, str], pins: Sequence[str]
    ) -> tuple[int, bytes]:
        """See `Transport.send`."""
        _assert_private(url, pins)
        session = self._opened()
        try:
            async with session.request(
                "GET" if body is None else "POST",
                url,
                data=body,
                headers=headers,
                allow_redirects=False,
                ssl=Pinned(pins),  # of http it is not asked
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


def _assert_private(url: str, pins: Sequence[str]) -> None:
    """Whatever the row says, the key never leaves this machine in the clear, nor for a peer that no pin names."""
    scheme = url.partition(":")[0]
    if scheme == "https":
        if not pins:
            raise NodeError("the node has no pin", temporary=False, trouble="configuration")
        return
    try:
        private = values.is_loopback(url)
    except ValueError:
        private = False
    if scheme != "http" or not private:
        raise NodeError("the node's address can't be called", temporary=False, trouble="configuration")


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_chunked(_CHUNK):
        size += len(part)
        if size > MOST_BYTES:
            raise NodeError("an answer of more than 4 MiB", temporary=False, trouble="answer")
        parts.append(part)
    return b"".join(parts)
