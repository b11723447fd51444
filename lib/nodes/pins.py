"""What a node's certificate is known by: the SHA-256 of its public key (docs/node.md, Pins)."""

from __future__ import annotations

import hashlib


def of(certificate: bytes) -> str | None:
    """The pin of a certificate in DER: SHA-256 over its SubjectPublicKeyInfo, 64 hexadecimal digits; None when it can't be read.

    Read by a parser that takes DER alone: one that is lenient could find another key in it than the handshake went by.
    """
    # loaded when the first connection by TLS is made: a webhook has none
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 -- see above
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415 -- see above
    from cryptography.x509 import load_der_x509_certificate  # noqa: PLC0415 -- see above

    try:
        key = load_der_x509_certificate(certificate).public_key()
        info = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return hashlib.sha256(info).hexdigest()
