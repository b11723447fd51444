"""The website that REALITY hides behind, on loopback: a TLS 1.3 server with a self-signed certificate."""

from __future__ import annotations

import contextlib
import datetime as dt
import socketserver
import ssl
import threading
from typing import TYPE_CHECKING, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

_PAGE = b"<!doctype html><title>Example</title><h1>Example</h1>"
_ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(_PAGE)
    + _PAGE
)
_PATIENCE_SECONDS = 10.0


class RealityTarget:
    """Serves one server name from a thread, h2 and http/1.1 offered, as REALITY needs it; no internet, no CA.

    The certificate is kept in `folder`, so a restart shows the same one.
    """

    def __init__(self, folder: Path, port: int = 0, server_name: str = "www.example.com") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.server_name = server_name
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.set_alpn_protocols(["h2", "http/1.1"])
        self._context.load_cert_chain(certificate_file(folder / "target.pem", server_name))
        self._port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port it listens on, fixed once started."""
        return self._port

    def start(self) -> Self:
        """Listen, and serve on a thread."""
        self._server = _Server(("127.0.0.1", self._port), self._context)
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="target", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening; nothing happens when it does not run."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = self._thread = None


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext) -> None:
        self.context = context
        super().__init__(address, _Visitor)


class _Visitor(socketserver.BaseRequestHandler):
    """One visitor: a handshake, a page, the end. Xray's probes and authenticated clients break off anywhere in it."""

    server: _Server

    def handle(self) -> None:
        self.request.settimeout(_PATIENCE_SECONDS)
        with contextlib.suppress(OSError), self.server.context.wrap_socket(self.request, server_side=True) as visitor:
            if visitor.recv(65536):
                visitor.sendall(_ANSWER)


def certificate_file(path: Path, server_name: str) -> Path:
    """A PEM file with key and self-signed certificate, made once."""
    if path.exists():
        return path
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, server_name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(server_name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
