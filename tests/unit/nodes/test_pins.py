"""S3-9: off this machine a node is known by its pins alone, and the key goes to no other peer. Real TLS, certificates made here."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]  # has no types
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from lib.nodes import pins
from lib.nodes.transport import AiohttpTransport, NodeError
from tests.waiting import until
from xray_api import certificate as node_certificate

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.proves("S3-9")

KEY = {"X-API-Key": "key-of-the-node"}
_YEAR = timedelta(days=365)
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def certificate(path: Path, key: PrivateKey, *, end: timedelta = _YEAR, name: str = "node") -> Path:
    """Of that key, in one file with it."""
    now = datetime.now(UTC)
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * _YEAR)
        .not_valid_after(now + end)
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    path.write_bytes(pem)
    return path


@dataclass
class Peer:
    """A TLS server that answers every request, and keeps every byte it was sent inside TLS."""

    context: ssl.SSLContext
    url: str = ""
    heard: bytearray = field(default_factory=bytearray)
    connections: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heard += head
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            self.heard += getattr(error, "partial", b"")
        finally:
            writer.close()


@asynccontextmanager
async def peer(context: ssl.SSLContext) -> AsyncIterator[Peer]:
    made = Peer(context)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/health"
    try:
        yield made
    finally:
        server.close()
        for writer in made.writers:
            writer.close()


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    made = AiohttpTransport()
    yield made
    await made.close()


def shown(path: Path) -> ssl.SSLContext:
    return node_certificate.context_of(path, path)


async def refused(transport: AiohttpTransport, url: str, known: list[str]) -> NodeError:
    with pytest.raises(NodeError) as failure:
        await transport.send(url, None, KEY, known)
    assert (failure.value.temporary, failure.value.__cause__) == (False, None)
    return failure.value


@pytest.mark.parametrize("kind", ["P-256", "RSA", "Ed25519"])
async def test_a_node_is_known_by_its_public_key_alone(transport: AiohttpTransport, tmp_path: Path, kind: str) -> None:
    key: PrivateKey = ed25519.Ed25519PrivateKey.generate()
    if kind == "P-256":
        key = ec.generate_private_key(ec.SECP256R1())
    elif kind == "RSA":
        key = rsa.generate_private_key(65537, 2048)
    first = certificate(tmp_path / "first.pem", key)
    pin = node_certificate.pin_of(first)
    async with peer(shown(first)) as node:
        assert await transport.send(node.url, None, KEY, [pin]) == (200, b"{}")
    # neither the name nor the dates of the certificate count, and another one of the same key is the same node
    over = certificate(tmp_path / "over.pem", key, end=-_YEAR, name="elsewhere")
    async with peer(shown(over)) as node:
        assert await transport.send(node.url, None, KEY, [pin]) == (200, b"{}")


async def test_another_peer_that_answers_there_hears_no_byte_of_the_request(
    transport: AiohttpTransport, tmp_path: Path
) -> None:
    pin = node_certificate.make(tmp_path / "node.pem")
    node_certificate.make(tmp_path / "other.pem")
    async with peer(shown(tmp_path / "other.pem")) as stranger:
        error = await refused(transport, stranger.url, [pin])
    assert error.trouble == "certificate"
    assert node_certificate.pin_of(tmp_path / "other.pem") in str(error)
    assert stranger.connections <= 1
    assert bytes(stranger.heard) == b""


@contextmanager
def silent_peer(context: ssl.SSLContext) -> Iterator[int]:
    """The port of a server that shakes hands and then neither reads nor ends anything, not even when it is told of an end."""
    kept: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):  # the listener is closed at the end
            while True:
                kept.append(context.wrap_socket(listener.accept()[0], server_side=True))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=serve)
        serving.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        serving.join()
    for one in kept:
        one.close()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_stranger_s_connection_is_closed_at_once_whatever_they_do_and_whichever_loop_runs(
    tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """TLS that is ended politely waits half a minute for a peer that says nothing; each attempt would leave a socket open so long."""
    node_certificate.make(tmp_path / "other.pem")

    def connected_to(port: int) -> list[object]:
        return [one for one in psutil.Process().net_connections("tcp") if one.raddr and one.raddr.port == port]

    async def ask(port: int) -> None:
        one = AiohttpTransport()
        try:
            await refused(one, f"https://127.0.0.1:{port}/health", ["0" * 64])
            await until(lambda: not connected_to(port), "our end to be closed", 15)
        finally:
            await one.close()

    with silent_peer(shown(tmp_path / "other.pem")) as port, asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(ask(port))


async def test_a_certificate_that_authorities_vouch_for_is_a_stranger_s_without_the_pin(
    transport: AiohttpTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = certificate(tmp_path / "trusted.pem", ec.generate_private_key(ec.SECP256R1()), name="127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    async with peer(shown(path)) as stranger:
        await refused(transport, stranger.url, ["0" * 64])
    assert bytes(stranger.heard) == b""


async def test_while_the_certificate_is_exchanged_both_are_known_and_afterwards_the_new_one_alone(
    transport: AiohttpTransport, tmp_path: Path
) -> None:
    old, new = (node_certificate.make(tmp_path / f"{name}.pem") for name in ("old", "new"))
    for name in ("old", "new"):
        async with peer(shown(tmp_path / f"{name}.pem")) as node:
            assert await transport.send(node.url, None, KEY, [old, new]) == (200, b"{}")
    async with peer(shown(tmp_path / "old.pem")) as node:
        await refused(transport, node.url, [new])
        assert bytes(node.heard) == b""


async def test_a_connection_that_stands_is_used_again_and_not_for_other_pins(
    transport: AiohttpTransport, tmp_path: Path
) -> None:
    old, new = node_certificate.make(tmp_path / "node.pem"), "1" * 64
    async with peer(shown(tmp_path / "node.pem")) as node:
        for _ in range(3):
            await transport.send(node.url, None, KEY, [old, new])
        assert node.connections == 1
        heard = bytes(node.heard)
        await refused(transport, node.url, [new])
        assert bytes(node.heard) == heard, "the first pin is over: a connection that was made by it carries nothing"
        await transport.send(node.url, None, KEY, [new, old])
        assert node.connections == 2, (
            "the same pins in another order: the connection that stands, beside the refused one"
        )


async def test_https_without_a_pin_is_not_even_tried(transport: AiohttpTransport, tmp_path: Path) -> None:
    node_certificate.make(tmp_path / "node.pem")
    async with peer(shown(tmp_path / "node.pem")) as node:
        assert (await refused(transport, node.url, [])).trouble == "configuration"
        assert node.connections == 0


async def test_no_proxy_of_the_environment_comes_between(
    transport: AiohttpTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = node_certificate.make(tmp_path / "node.pem")
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with peer(shown(tmp_path / "node.pem")) as node:
        assert await transport.send(node.url, None, KEY, [pin]) == (200, b"{}")


@pytest.mark.parametrize("certificate_bytes", [b"", b"x", b"\x30\x80\x30\x80\x00\x00\x00\x00", bytes(400)])
def test_what_is_no_certificate_has_no_pin(certificate_bytes: bytes) -> None:
    assert pins.of(certificate_bytes) is None


def test_both_ends_say_the_same_of_a_certificate(tmp_path: Path) -> None:
    pin = node_certificate.make(tmp_path / "node.pem")
    pem = x509.load_pem_x509_certificate((tmp_path / "node.pem").read_bytes())
    assert pins.of(pem.public_bytes(Encoding.DER)) == pin


async def test_calls_go_on_while_the_certificate_is_exchanged_under_load(
    transport: AiohttpTransport, tmp_path: Path
) -> None:
    old, new = (node_certificate.make(tmp_path / f"{name}.pem") for name in ("node", "next"))
    exchangeable = node_certificate.Exchangeable(tmp_path / "node.pem", tmp_path / "node.pem")
    async with peer(exchangeable.context) as node:
        done, exchanged = 0, asyncio.Event()

        async def call(pins: list[str]) -> None:
            nonlocal done
            one = AiohttpTransport()  # a connection of its own, as every new instance has
            try:
                assert await one.send(node.url, None, KEY, pins) == (200, b"{}")
                assert await transport.send(node.url, None, KEY, pins) == (200, b"{}")
            finally:
                await one.close()
            done += 1
            if done == 20:
                (tmp_path / "next.pem").replace(tmp_path / "node.pem")
                exchanged.set()

        async def caller(pins: list[str]) -> None:
            while not exchanged.is_set():
                await call(pins)
            for _ in range(5):
                await call(pins)

        await asyncio.gather(*(caller([old, new]) for _ in range(4)))
        assert exchangeable.pin == new
        one = AiohttpTransport()
        try:
            assert await one.send(node.url, None, KEY, [new]) == (200, b"{}")
            await refused(one, node.url, [old])
        finally:
            await one.close()
