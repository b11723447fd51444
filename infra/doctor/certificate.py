"""The certificate that a server shows."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

if TYPE_CHECKING:
    import ssl
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Certificate:
    """`pin` is the sha256 of the public key (SubjectPublicKeyInfo, DER), hex: what the table of nodes holds."""

    pin: str
    ends: datetime

    def days_left(self, now: datetime) -> int:
        """Whole days until it ends, negative once it has."""
        return (self.ends - now).days


def read(der: bytes) -> Certificate:
    """Of a certificate in DER."""
    found = x509.load_der_x509_certificate(der)
    key = found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Certificate(hashlib.sha256(key).hexdigest(), found.not_valid_after_utc)


async def peer_certificate(host: str, port: int, context: ssl.SSLContext) -> Certificate:
    """What the server at that address shows; nothing is sent to it.

    Raises:
        ssl.SSLError, OSError: no connection, or not one that the context allows.
    """
    _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    try:
        return read(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
