"""The service's own certificate: made on the node, known to Atlas by its pin alone, exchanged without a restart.

No authority signs it and its names and dates mean nothing: Atlas compares the SHA-256 of its public key with the pins of the node's
row. A file holds both the private key and the certificate, so that one rename exchanges them together.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from xray_api.logs import log

if TYPE_CHECKING:
    from pathlib import Path

_NAME: Final = "Atlas node"
_DAYS: Final = 36_500
_PRIVATE: Final = 0o600


class CertificateError(Exception):
    """The certificate can't be made, read or used; the text says why and quotes nothing of a key."""


def make(path: Path) -> str:
    """Make a private key and its certificate in one file, readable by its owner alone; one that is there already is kept as it is.

    Returns:
        The pin.

    Raises:
        CertificateError: the file can't be written, or what is there is no such file.
    """
    if path.exists():
        context_of(path, path)
        return pin_of(path)
    making = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        making.touch(_PRIVATE, exist_ok=False)
        with making.open("wb") as file:
            file.write(_new())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another run made it in this moment: then that one is the key
            os.link(making, path)
    except OSError as error:
        raise CertificateError(f"{path}: can't be written: {error.strerror}") from None
    finally:
        making.unlink(missing_ok=True)
    return pin_of(path)


def pin_of(path: Path) -> str:
    """The pin of the first certificate in a PEM file: SHA-256 of its public key (SubjectPublicKeyInfo), 64 hexadecimal digits.

    Raises:
        CertificateError: there is none that can be read.
    """
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes()).public_key()
        info = found.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except OSError as error:
        raise CertificateError(f"{path}: can't be read: {error.strerror}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(f"{path}: holds no certificate") from None
    return hashlib.sha256(info).hexdigest()


def context_of(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a server shows and proves, TLS 1.2 or newer.

    Raises:
        CertificateError: the two don't fit together or can't be read; what OpenSSL says of them names no content.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An empty password, so that a locked key is refused here and not asked for at a terminal.
        context.load_cert_chain(certificate, key, password=b"")
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or "not readable"
        raise CertificateError(f"can't be used together: {why}") from None
    return context


class Exchangeable:
    """The certificate that new connections are shown; those that stand go on with the one they began with.

    Looked for with each new connection: when the files are others, they are read anew. Files that don't fit together (one of two is
    replaced already) change nothing, so there is no moment in which a caller is turned away.

    Attributes:
        context: for the server.
        pin: of what is shown now.
        problem: why the files, as they are now, are not shown; None when they are.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises: CertificateError: as `context_of`."""
        self._certificate, self._key = certificate, key
        self._looked_at = self._files()
        self._shown = context_of(certificate, key)
        self.pin = pin_of(certificate)
        self.problem: str | None = None
        self.context = context_of(certificate, key)
        self.context.sni_callback = self._show

    def _show(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        """OpenSSL calls this in each handshake, whether or not a name was sent."""
        self.refresh()
        connection.context = self._shown

    def refresh(self) -> None:
        """Take the files as they are now, if they changed since they were looked at last."""
        files = self._files()
        if files == self._looked_at:
            return
        self._looked_at = files
        try:
            shown, pin = context_of(self._certificate, self._key), pin_of(self._certificate)
        except CertificateError as error:
            self.problem = str(error)
            log(logging.WARNING, "certificate_not_exchanged", problem=self.problem, pin=self.pin)
            return
        self._shown, self.pin, self.problem = shown, pin, None
        log(logging.INFO, "certificate_exchanged", pin=pin)

    def _files(self) -> tuple[tuple[int, int, int] | None, ...]:
        """What tells a file from the one that was there before."""
        return tuple(_identity(path) for path in (self._certificate, self._key))


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _new() -> bytes:
    """A new key on P-256, which every TLS implementation takes, and its certificate, both in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
