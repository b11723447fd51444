"""The link delays, swallows, resets and refuses, and passes every byte in order otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from sandbox.postgres.link import DatabaseLink, Wire
from sandbox.state.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_BOUND_S = 10.0


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def _link() -> AsyncIterator[DatabaseLink]:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with server:
        link = DatabaseLink(free_port(), server.sockets[0].getsockname()[1])
        await link.start()
        yield link
        await link.stop()


class _Caller:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, link: DatabaseLink) -> _Caller:
        return cls(*await asyncio.open_connection("127.0.0.1", link.port))

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):  # reset by the link
            await self.writer.wait_closed()

    async def ask(self, text: bytes) -> bytes:
        self.writer.write(text)
        return await asyncio.wait_for(self.reader.readexactly(len(text)), _BOUND_S)


async def test_bytes_pass_in_order_however_many() -> None:
    text = bytes(range(256)) * 20_000
    async with _link() as link:
        caller = await _Caller.connect(link)
        assert await caller.ask(text) == text
        assert link.connections == 1
        await caller.close()


async def test_each_message_takes_so_much_longer_and_none_overtakes_when_it_is_over() -> None:
    async with _link() as link:
        caller = await _Caller.connect(link)
        assert await caller.ask(b"fast") == b"fast"
        link.slow(0.15)
        began = time.monotonic()
        assert await caller.ask(b"slow") == b"slow"
        assert time.monotonic() - began >= 0.15
        link.slow(60.0)
        caller.writer.write(b"first,")
        await caller.writer.drain()
        while not any(pair.client._held for pair in link._pairs):
            await asyncio.sleep(0)
        await link.heal()
        assert await caller.ask(b"second") == b"first,"
        assert await asyncio.wait_for(caller.reader.readexactly(6), _BOUND_S) == b"second"
        await caller.close()
    with pytest.raises(ValueError, match="not negative"):
        link.slow(-1)


async def test_hung_it_takes_connections_and_says_nothing_until_it_is_healed() -> None:
    async with _link() as link:
        link.hang()
        caller = await _Caller.connect(link)
        caller.writer.write(b"hello")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(caller.reader.readexactly(1), 0.1)
        await link.heal()
        assert await asyncio.wait_for(caller.reader.readexactly(5), _BOUND_S) == b"hello"
        await caller.close()


async def test_cut_it_resets_what_is_open_and_refuses_what_comes() -> None:
    async with _link() as link:
        caller = await _Caller.connect(link)
        await caller.ask(b"x")
        await link.cut()
        assert link.state is Wire.CUT
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(caller.reader.readexactly(1), _BOUND_S)
        with pytest.raises(ConnectionRefusedError):
            await _Caller.connect(link)
        await link.heal()
        await caller.close()
        caller = await _Caller.connect(link)
        assert await caller.ask(b"again") == b"again"
        await caller.close()


async def test_a_last_message_arrives_though_its_sender_is_gone() -> None:
    """A function that dies right after it has sent COMMIT: the server gets it."""
    got = asyncio.Event()

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(100) == b"commit":
            got.set()
        writer.close()

    listening = await asyncio.start_server(server, "127.0.0.1", 0)
    async with listening:
        link = DatabaseLink(free_port(), listening.sockets[0].getsockname()[1])
        await link.start()
        link.slow(60.0)
        caller = await _Caller.connect(link)
        caller.writer.write(b"commit")
        await caller.close()
        await asyncio.wait_for(got.wait(), _BOUND_S)
        await link.stop()
