"""The HTTP transport against real sockets: its time limits, what it makes of a broken answer, what it never follows."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from lib.nodes import transport as node_transport
from lib.nodes.transport import AiohttpTransport, NodeError
from sandbox.state.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OFF_THIS_MACHINE = [
    *("http://node.test/apply", "http://10.0.0.1/apply", "http://localhost:1/apply", "http://127.0.0.1.test:1/apply"),
    *(
        "http://127.0.0.1@node.test/apply",
        "http://[::ffff:127.0.0.1]:1/apply",
        "HTTP://node.test",
        "https://node.test/apply",
    ),
]
pytestmark = pytest.mark.proves("S3-MR-1")


@asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that reads one request's head, sends `answer` and closes; None reads and says nothing."""
    heads: list[bytes] = []
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        if answer is None:
            await over.wait()
        else:
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/apply", heads
    finally:
        over.set()
        server.close()


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    made = AiohttpTransport(read_s=0.2)
    yield made
    await made.close()


def test_connecting_may_take_5_s_and_reading_10() -> None:
    assert (node_transport.CONNECT_S, node_transport.READ_S) == (5.0, 10.0)
    timeout = AiohttpTransport()._timeout
    assert (timeout.connect, timeout.sock_read) == (5.0, 10.0)


async def test_an_answer_is_its_status_and_its_bytes(transport: AiohttpTransport) -> None:
    async with answering(b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}") as (url, heads):
        assert await transport.send(url, b"{}", {"X-API-Key": "k"}, ()) == (503, b"{}")
    assert b"X-API-Key: k\r\n" in heads[0]


async def test_a_redirect_is_an_answer_and_not_followed(transport: AiohttpTransport) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.test/\r\nContent-Length: 0\r\n\r\n"
    async with answering(moved) as (url, heads):
        assert (await transport.send(url, b"{}", {}, ()))[0] == 302
    assert len(heads) == 1


@pytest.mark.parametrize("answer", [None, b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf"])
async def test_no_answer_is_worth_another_attempt(transport: AiohttpTransport, answer: bytes | None) -> None:
    async with answering(answer) as (url, _):
        with pytest.raises(NodeError) as failure:
            await transport.send(url, b"{}", {}, ())
    assert (failure.value.temporary, failure.value.__cause__) == (True, None)


async def test_a_port_where_nothing_listens_is_worth_another_attempt(transport: AiohttpTransport) -> None:
    with pytest.raises(NodeError, match="ClientConnectorError") as failure:
        await transport.send(f"http://127.0.0.1:{free_port()}/apply", b"{}", {}, ())
    assert failure.value.temporary


@pytest.mark.parametrize(
    "url", ["http://", "ftp://node.test/apply", "http://node.test:8443x/apply", "node", "", *OFF_THIS_MACHINE]
)
async def test_an_address_that_can_not_be_called_is_the_configuration_s_trouble(
    transport: AiohttpTransport, url: str
) -> None:
    with pytest.raises(NodeError) as failure:
        await transport.send(url, b"{}", {}, ())
    assert (failure.value.temporary, failure.value.trouble) == (False, "configuration")


async def test_an_answer_without_end_is_given_up(transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_transport, "MOST_BYTES", 1000)
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001) as (url, _):
        with pytest.raises(NodeError) as failure:
            await transport.send(url, b"{}", {}, ())
    assert (failure.value.temporary, failure.value.trouble) == (False, "answer")
