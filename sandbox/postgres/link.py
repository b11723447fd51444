"""The wire between functions and Postgres, for when it is to be slow, dead or silent: a TCP forwarder on loopback.

A slow or lost database can't be had from Postgres itself without root (traffic shaping) or without stopping everybody, the
control page too (SIGSTOP). So functions connect here, people and tests connect to the server itself, and only functions
see what is wrong. Undisturbed it adds some 0.03 ms to a round trip of 0.035 ms (two idle cores), and waits its turn in the
runner's event loop; so `System` has it only where it is asked for, and the bench does not ask.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from enum import StrEnum
from typing import cast

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset, not with an orderly end


class Wire(StrEnum):
    """What the link does with bytes."""

    UP = "up"
    HUNG = "hung"
    """Connections are taken, and nothing passes in either direction: a server that is frozen, a network that swallows."""
    CUT = "cut"
    """Connections that were open are reset, new ones are refused: a server that is down, or failing over."""


class DatabaseLink:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`server_port`.

    Attributes:
        port: what functions connect to.
        state: see `Wire`.
        delay_s: how much later each message of a function reaches the server. A query is up to three messages.
    """

    def __init__(self, port: int, server_port: int) -> None:
        self.port = port
        self.state = Wire.UP
        self.delay_s = 0.0
        self._server_port = server_port
        self._server: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()

    async def start(self) -> None:
        """Begin to accept."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _Pair(self).client, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Accept no more and drop what is open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for pair in list(self._pairs):
            pair.abort()

    def slow(self, delay_s: float) -> None:
        """Let each message take so much longer; 0 is no delay. ValueError below 0."""
        if delay_s < 0:
            raise ValueError("a delay is not negative")
        self.delay_s = delay_s

    def hang(self) -> None:
        """Pass nothing on until `heal`."""
        self.state = Wire.HUNG

    async def cut(self) -> None:
        """Reset what is open, refuse what comes."""
        self.state = Wire.CUT
        await self.stop()

    async def heal(self) -> None:
        """No delay, nothing hung or cut; what was held back goes on its way."""
        self.delay_s = 0.0
        self.state = Wire.UP
        await self.start()
        for pair in self._pairs:
            pair.client.flush()
            pair.server.flush()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._pairs)

    @property
    def server_port(self) -> int:
        """Where Postgres listens."""
        return self._server_port

    def opened(self, pair: _Pair) -> None:
        """A function has connected."""
        self._pairs.add(pair)

    def closed(self, pair: _Pair) -> None:
        """One side has left."""
        self._pairs.discard(pair)


class _Pair:
    """One connection: the half towards the function and the half towards the server."""

    def __init__(self, link: DatabaseLink) -> None:
        self.link = link
        self.client = _Half(self, delayed=True)
        self.server = _Half(self, delayed=False)
        self.client.other, self.server.other = self.server, self.client
        self._reaching: asyncio.Task[None] | None = None

    def reach_server(self) -> None:
        self.link.opened(self)
        self._reaching = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self.server, "127.0.0.1", self.link.server_port)
        except OSError:
            self.abort()  # the server is down: so is the link
            return
        self.client.flush()

    def abort(self) -> None:
        self.link.closed(self)
        self.client.abort()
        self.server.abort()

    def close(self) -> None:
        """One side has left: the other gets what was on its way, then the end."""
        self.link.closed(self)
        for half in (self.client, self.server):
            if self.link.state is Wire.HUNG:
                half.abort()
            else:
                half.flush(whole=True)
        for half in (self.client, self.server):
            half.close()


class _Half(asyncio.Protocol):
    """One socket. What it reads it hands to the other one, at once or when its time has come, in order."""

    other: _Half

    def __init__(self, pair: _Pair, *, delayed: bool) -> None:
        self._pair = pair
        self._delayed = delayed
        self._transport: asyncio.Transport | None = None
        self._held: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._delayed:
            self._pair.reach_server()

    def data_received(self, data: bytes) -> None:
        link = self._pair.link
        delay = link.delay_s if self._delayed else 0.0
        if not self._held and not delay and link.state is Wire.UP and self.other.write(data):
            return
        self._held.append((asyncio.get_running_loop().time() + delay, data))
        self.flush()

    def flush(self, *, whole: bool = False) -> None:
        """Pass on what is due (`whole`: everything), and come again for the rest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pair.link.state is Wire.HUNG:
            return
        loop = asyncio.get_running_loop()
        waived = whole or not self._pair.link.delay_s
        while self._held and (waived or self._held[0][0] <= loop.time()):
            if not self.other.write(self._held[0][1]):
                return  # not connected yet; `_connect` flushes
            self._held.popleft()
        if self._held:
            self._timer = loop.call_at(self._held[0][0], self.flush)

    def write(self, data: bytes) -> bool:
        if self._transport is None:
            return False
        self._transport.write(data)
        return True

    def pause_writing(self) -> None:
        self.other.pause_reading(paused=True)

    def resume_writing(self) -> None:
        self.other.pause_reading(paused=False)

    def pause_reading(self, *, paused: bool) -> None:
        if self._transport is None:
            return
        with contextlib.suppress(RuntimeError):  # it is closing already
            self._transport.pause_reading() if paused else self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport = None
        self._pair.close()

    def abort(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._held.clear()
        if self._transport is not None:
            end = self._transport.get_extra_info("socket")
            with contextlib.suppress(OSError):  # closed already
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
