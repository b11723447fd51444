"""The certificate that a server shows."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509

from lib.nodes import pins

if TYPE_CHECKING:
    import ssl
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Certificate:
    """`pin` is what the table of nodes holds (`lib.nodes.pins`)."""

    pin: str
    ends: datetime

    def days_left(self, now: datetime) -> int:
        """Whole days until it ends, negative once it has."""
        return (self.ends - now).days


def read(der: bytes) -> Certificate:
    """Of a certificate in DER."""
    return Certificate(pins.of(der) or "", x509.load_der_x509_certificate(der).not_valid_after_utc)


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
