"""The gateway passes what it is given, and answers for what is down."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from sandbox.cloud.gateway import Backend, Gateway
from sandbox.stand_in.server import Server
from sandbox.state.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Behaviour = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def _backend(behave: Behaviour) -> AsyncIterator[int]:
    """A bare TCP server: sees the bytes of a request as they are, answers with bytes of its own."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behave(await reader.readuntil(b"\r\n\r\n"), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the other side left, as some tests want
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def _gateway(*ports: int, timeout_s: float = 5.0) -> AsyncIterator[tuple[str, Gateway]]:
    gateway = Gateway([Backend("the-function", ports, timeout_s)])
    server = Server(gateway.app)
    await server.start()
    yield f"{server.url}/the-function", gateway
    await server.stop()
    await gateway.close()


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False, timeout=10)


def _saying(text: bytes) -> Behaviour:
    async def behave(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
        await writer.drain()

    return behave


async def test_target_headers_and_body_arrive_as_they_were_sent() -> None:
    seen: dict[str, bytes] = {}

    async def behave(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen["head"], seen["body"] = head, await reader.readexactly(6)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()

    async with _backend(behave) as port, _gateway(port) as (url, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
        writer.write(
            b"POST /the-function/a%2Fb//c?x=%20y&x=2 HTTP/1.1\r\nHost: localhost:1\r\nX-Secret: \xd0\x9f\xff\r\n"
            b"X-Twice: 1\r\nX-Twice: 2\r\nContent-Length: 6\r\nConnection: close\r\n\r\n\x00\xff\r\n\n\x80"
        )
        answer = await reader.read()
        writer.close()
    assert seen["body"] == b"\x00\xff\r\n\n\x80"
    line, *headers = seen["head"].strip().split(b"\r\n")
    assert line == b"POST /a%2Fb//c?x=%20y&x=2 HTTP/1.1"
    assert {header.lower() for header in headers} >= {
        b"x-secret: \xd0\x9f\xff",
        b"x-twice: 1",
        b"x-twice: 2",
        b"host: localhost:1",
        b"content-length: 6",
    }
    assert answer.startswith(b"HTTP/1.1 204 ")


async def test_status_headers_and_a_compressed_body_come_back_as_they_were() -> None:
    packed = gzip.compress(b"x" * 1000)

    async def behave(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 418 Teapot\r\nContent-Encoding: gzip\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
            b"Retry-After: 2\r\nContent-Length: %d\r\n\r\n%b" % (len(packed), packed)
        )
        await writer.drain()

    async with (
        _backend(behave) as port,
        _gateway(port) as (url, _),
        _client() as client,
        client.stream("GET", url) as response,
    ):
        raw = b"".join([chunk async for chunk in response.aiter_raw()])
    assert response.status_code == 418
    assert raw == packed
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert response.headers["retry-after"] == "2"


async def test_an_answer_flows_before_it_is_complete() -> None:
    read_first = asyncio.Event()

    async def behave(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        await writer.drain()
        await read_first.wait()
        writer.write(b"rest")
        await writer.drain()

    async with (
        _backend(behave) as port,
        _gateway(port) as (url, _),
        _client() as client,
        client.stream("GET", url) as response,
    ):
        chunks = response.aiter_raw()
        assert await asyncio.wait_for(anext(chunks), 5) == b"half"
        read_first.set()
        assert b"".join([chunk async for chunk in chunks]) == b"rest"


async def test_a_function_that_is_down_is_503_and_a_slow_one_504() -> None:
    async def behave(_head: bytes, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the gateway gives up

    async with _client() as client:
        async with _gateway(free_port()) as (url, _):
            assert (await client.post(url, content=b"x")).status_code == 503
        async with _backend(behave) as port, _gateway(port, timeout_s=0.2) as (url, gateway):
            assert (await client.post(url, content=b"x")).status_code == 504
            assert [passed.status for passed in gateway.passed] == [504]


async def test_an_instance_that_dies_with_the_request_is_503_and_in_its_answer_a_broken_connection() -> None:
    async def dies_at_once(_head: bytes, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        return

    async def dies_in_its_answer(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        await writer.drain()

    async with _client() as client:
        async with _backend(dies_at_once) as port, _gateway(port) as (url, _):
            assert (await client.post(url)).status_code == 503
        async with _backend(dies_in_its_answer) as port, _gateway(port) as (url, _):
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post(url)


async def test_instances_take_turns_and_a_dead_one_is_passed_over() -> None:
    async with (
        _backend(_saying(b"one")) as one,
        _backend(_saying(b"two")) as two,
        _gateway(one, two, free_port()) as (url, _),
        _client() as client,
    ):
        answers = [(await client.post(url)).text for _ in range(6)]
    assert answers == ["one", "two", "one", "one", "two", "one"]


async def test_unknown_names_and_foreign_pages_are_refused() -> None:
    async with _backend(_saying(b"ok")) as port, _gateway(port) as (url, _), _client() as client:
        assert (await client.post(url.replace("the-function", "other"))).status_code == 404
        assert (await client.post(url, headers={"Host": "atlas.example.com"})).status_code == 403
        assert (await client.post(url, headers={"Origin": "https://atlas.example.com"})).status_code == 403
        assert (await client.post(url)).status_code == 200
