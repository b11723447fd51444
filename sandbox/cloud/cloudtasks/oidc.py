"""OIDC tokens like those that Cloud Tasks and Cloud Scheduler attach, signed by a key made at start-up.

Issuer and claims are the real ones, so a verifier needs only another place to fetch the keys from. The stand-in serves them as
Google does, in both forms: `jwks` at `/oauth2/v3/certs`, `certificates` (what google-auth asks for) at `/oauth2/v1/certs`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

if TYPE_CHECKING:
    from collections.abc import Mapping

ISSUER = "https://accounts.google.com"
LIFETIME_S = 3600
_REUSED_S = 300  # a signature takes a millisecond; Google hands out one token for many calls, too
_REUSED_AT_MOST = 1000
_CERTIFICATE_LIFE = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Oidc:
    """Whom a job calls as. `audience` is the called URL when empty."""

    service_account_email: str
    audience: str = ""


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class TokenSigner:
    """RS256 tokens under one test key."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._made: dict[tuple[str, str], tuple[int, str]] = {}
        self.key_id = hashlib.sha256(public).hexdigest()[:40]

    @property
    def public_key_pem(self) -> str:
        """SubjectPublicKeyInfo in PEM, to verify with."""
        public = self._key.public_key()
        return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()

    def jwks(self) -> dict[str, Any]:
        """The public key as a JSON Web Key Set (RFC 7517)."""
        numbers = self._key.public_key().public_numbers()
        return {
            "keys": [
                {
                    "kty": "RSA",
                    "use": "sig",
                    "alg": "RS256",
                    "kid": self.key_id,
                    "n": _base64url(numbers.n.to_bytes(256, "big")),
                    "e": _base64url(numbers.e.to_bytes(3, "big")),
                }
            ]
        }

    @functools.cached_property
    def certificates(self) -> dict[str, str]:
        """The public key in a self-signed certificate, PEM by key id."""
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "atlas sandbox token signer")])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder(name, name, self._key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + _CERTIFICATE_LIFE)
            .sign(self._key, hashes.SHA256())
        )
        return {self.key_id: made.public_bytes(serialization.Encoding.PEM).decode()}

    def token(self, who: Oidc, url: str) -> str:
        """A token for calls to `url`, valid for at least 55 minutes. In real time: verifiers know nothing of the sandbox's clock."""
        issued = int(time.time())
        key = (who.service_account_email, who.audience or url)
        made = self._made.get(key)
        if made is not None and made[0] > issued - _REUSED_S:
            return made[1]
        subject = str(int(hashlib.sha256(who.service_account_email.encode()).hexdigest(), 16) % 10**21)
        claims = {
            "iss": ISSUER,
            "aud": who.audience or url,
            "azp": subject,
            "sub": subject,
            "email": who.service_account_email,
            "email_verified": True,
            "iat": issued,
            "exp": issued + LIFETIME_S,
        }
        if len(self._made) >= _REUSED_AT_MOST:
            self._made.clear()
        token = self.sign(claims)
        self._made[key] = (issued, token)
        return token

    def sign(self, claims: Mapping[str, object]) -> str:
        """A token with just these claims."""
        parts = ({"alg": "RS256", "kid": self.key_id, "typ": "JWT"}, claims)
        signed = ".".join(_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64url(signature)}"


@functools.cache
def test_key_signer() -> TokenSigner:
    """The process's one signer: tasks and scheduler share a key, as the real ones share an issuer."""
    return TokenSigner()
