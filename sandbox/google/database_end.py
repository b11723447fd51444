"""An instance's own end of a connector: TLS with certificates that the stand-in signed, in front of a Postgres on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

_HOUR = timedelta(hours=1)
_BYTES = 65_536
_BY_PASSWORD = "by-password"  # noqa: S105 - what a certificate is called that lets in no account by itself


class DatabaseEnd:
    """Listens on a loopback address; who shows a certificate signed here is passed on to `target`.

    Postgres authenticates as it is set up to: as whom a certificate lets in by IAM is in `logins`, and is no more than that.

    Args:
        target: host and port of Postgres.
        listens: where to listen, of this machine's own addresses; port 0: any that is free.
    """

    def __init__(self, target: tuple[str, int], *, listens: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self._target = target
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in instance authority")])
        self._authority = self._signed(self._name, self._key.public_key(), authority=True)
        self._listener = socket.create_server(listens)
        self.port: int = self._listener.getsockname()[1]
        self._context = self._server_context()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.logins: list[str] = []
        """Whom connections that came in were certified as; "" where by password."""

    @property
    def authority_pem(self) -> str:
        """The certificate by which clients know this end."""
        return self._authority.public_bytes(serialization.Encoding.PEM).decode()

    def signed(self, public_key_pem: str, login: str | None) -> str:
        """A certificate of an hour for a caller's key.

        Raises:
            ValueError: that is no RSA key.
        """
        key = serialization.load_pem_public_key(public_key_pem.encode())
        if not isinstance(key, rsa.RSAPublicKey):
            raise TypeError("not an RSA key")
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, login or _BY_PASSWORD)])
        return self._signed(name, key).public_bytes(serialization.Encoding.PEM).decode()

    def __enter__(self) -> Self:
        """Accept until the block ends."""
        up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(up)), name="database-end", daemon=True)
        self._thread.start()
        up.wait()
        return self

    def __exit__(self, *_exc: object) -> None:
        """Accept no more."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _signed(
        self, name: x509.Name, key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey, *, authority: bool = False
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _HOUR)
            .not_valid_after(now + _HOUR)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        return builder.sign(self._key, hashes.SHA256())

    def _server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=self.authority_pem)
        key = ec.generate_private_key(ec.SECP256R1())
        own = self._signed(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "instance")]), key.public_key())
        with tempfile.TemporaryDirectory() as folder:
            chain = Path(folder) / "chain.pem"
            chain.touch(mode=0o600)
            chain.write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
                + own.public_bytes(serialization.Encoding.PEM)
            )
            context.load_cert_chain(chain)
        return context

    async def _serve(self, up: threading.Event) -> None:
        async with await asyncio.start_server(self._pass_on, sock=self._listener, ssl=self._context):
            up.set()
            await asyncio.to_thread(self._over.wait)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown = writer.get_extra_info("peercert")["subject"]
        names = [part[0][1] for part in shown if part[0][0] == "commonName"]
        self.logins.append("" if names == [_BY_PASSWORD] else names[0])
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        await asyncio.gather(_pour(reader, there_writer), _pour(there_reader, writer))


async def _pour(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Bytes one way until that way ends; then the other side is told."""
    with contextlib.suppress(OSError):
        while chunk := await source.read(_BYTES):
            target.write(chunk)
            await target.drain()
    with contextlib.suppress(OSError):
        target.close()
