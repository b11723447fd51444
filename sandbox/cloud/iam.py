"""Who may call which function: Cloud Run's check of the caller, made before any code of ours runs.

A public function (`allUsers` has `roles/run.invoker`) takes any caller. Any other wants an identity token in `Authorization: Bearer`
(or in `X-Serverless-Authorization`, which then counts alone): signed by the issuer's key, not expired, made out to this very
function, for an account that may invoke it. The function sees the token without its signature, as on the platform, so that it can
pass it on to no other.

Not modelled: `ingress = internal`, since on loopback no caller is outside.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import time
from collections import deque
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from starlette.responses import HTMLResponse

from lib import function_table
from sandbox.cloud.cloudtasks.oidc import ISSUER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from starlette.types import ASGIApp, Receive, Scope, Send

    from lib.function_table import Table
    from sandbox.cloud.cloudtasks.oidc import TokenSigner

_SKEW_S = 10  # of clocks, both ways
_SEGMENTS = 3
_SIGNATURE_REMOVED = b"SIGNATURE_REMOVED_BY_GOOGLE"
_HEADERS = (b"x-serverless-authorization", b"authorization")
_KEPT = 200
_HAND_ON = "sweeps"
_CHALLENGE = 'Bearer error="invalid_token" error_description="The access token could not be verified"'
_PAGE = """
<html><head>
<meta http-equiv="content-type" content="text/html;charset=utf-8">
<title>{status} {phrase}</title>
</head>
<body text=#000000 bgcolor=#ffffff>
<h1>Error: {phrase}</h1>
<h2>{sentence}</h2>
<h2></h2>
</body></html>
"""


class TokenInvalidError(Exception):
    """The token proves nothing; the text says why."""


@dataclass(frozen=True, slots=True)
class Refused:
    """One request that did not pass: 401 for a token that proves nothing, 403 for none or for an account without the role."""

    service: str
    status: int
    reason: str


def invokers(*, tasks: str, scheduler: str, table: Table | None = None) -> dict[str, frozenset[str] | None]:
    """Which accounts may call which service, None being any: by the rule that Terraform binds `roles/run.invoker` with.

    Args:
        tasks: e-mail of the account that tasks call as, {queue} in it being their queue: each queue's own functions, and sweeps
            that hand work on to themselves by the queue `sweeps`.
        scheduler: e-mail of the account that the scheduler calls as: sweeps.
        table: of the functions, this checkout's unless said.
    """
    made: dict[str, frozenset[str] | None] = {}
    for row in (table or function_table.load()).functions.values():
        accounts = set()
        if row.trigger == "schedule":
            accounts.add(scheduler)
            if _HAND_ON in row.enqueues:
                accounts.add(tasks.replace("{queue}", _HAND_ON))
        if row.trigger == "task" and row.queue is not None:
            accounts.add(tasks.replace("{queue}", row.queue))
        made[row.service] = None if row.trigger == "public" else frozenset(accounts)
    return made


class TokenVerifier:
    """Checks identity tokens against one public key, which it reads once."""

    def __init__(self, signer: TokenSigner) -> None:
        key = serialization.load_pem_public_key(signer.public_key_pem.encode())
        if not isinstance(key, rsa.RSAPublicKey):
            raise TypeError("identity tokens are signed with RSA")
        self._key = key
        self._key_id = signer.key_id

    def email(self, token: bytes, audience: str) -> str:
        """The account that the token was made for.

        Raises:
            TokenInvalidError: no token, another's key, another's audience, expired, or no verified address in it.
        """
        segments = token.split(b".")
        if len(segments) != _SEGMENTS:
            raise TokenInvalidError("not a JSON Web Token")
        header, claims = (_decoded(segment) for segment in segments[:2])
        if header.get("alg") != "RS256" or header.get("kid") != self._key_id:
            raise TokenInvalidError("not signed by a known key")
        signed = token[: token.rindex(b".")]
        try:
            self._key.verify(_raw(segments[2]), signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise TokenInvalidError("bad signature") from None
        now = time.time()
        issued, expires = (float(claims.get(name, 0)) for name in ("iat", "exp"))
        if not issued - _SKEW_S <= now <= expires + _SKEW_S:
            raise TokenInvalidError("expired or not yet valid")
        if claims.get("iss") != ISSUER:
            raise TokenInvalidError("another issuer")
        if claims.get("aud") != audience:
            raise TokenInvalidError("made out to another audience")
        email = claims.get("email")
        if not isinstance(email, str) or claims.get("email_verified") is not True:
            raise TokenInvalidError("no verified account")
        return email


class Iam:
    """The check in front of the gateway.

    Args:
        allowed: accounts by service, None for a public one; a service that is not there is the gateway's to refuse.
        base_url: of the gateway; `<base_url>/<service>` is the one audience that a service takes.
        signer: who signs tokens here.
    """

    def __init__(self, allowed: Mapping[str, AbstractSet[str] | None], *, base_url: str, signer: TokenSigner) -> None:
        self._allowed = allowed
        self._base_url = base_url.rstrip("/")
        self._verifier = TokenVerifier(signer)
        self.refused: deque[Refused] = deque(maxlen=_KEPT)

    def protect(self, app: ASGIApp) -> ASGIApp:
        """The application behind the check."""

        async def checked(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            path: bytes = scope.get("raw_path") or scope["path"].encode()  # read as the gateway reads it
            service, _, rest = path.decode("latin-1").lstrip("/").partition("/")
            accounts = self._allowed.get(service)
            if accounts is None:
                await app(scope, receive, send)
                return
            sent = _token(scope)
            refused = self._judge(service, accounts, None if sent is None else sent[1])
            if refused is not None:
                self.refused.append(refused)
                await _page(refused, f"/{rest}")(scope, receive, send)
                return
            await app(_without_signature(scope), receive, send)

        return checked

    def _judge(self, service: str, accounts: AbstractSet[str], token: bytes | None) -> Refused | None:
        if token is None:
            return Refused(service, HTTPStatus.FORBIDDEN, "the request was not authenticated")
        try:
            email = self._verifier.email(token, f"{self._base_url}/{service}")
        except TokenInvalidError as error:
            return Refused(service, HTTPStatus.UNAUTHORIZED, str(error))
        if email not in accounts:
            return Refused(service, HTTPStatus.FORBIDDEN, f"{email} lacks roles/run.invoker")
        return None


def _token(scope: Scope) -> tuple[bytes, bytes] | None:
    """The header that counts and the bearer token in it."""
    for wanted in _HEADERS:
        for name, value in scope["headers"]:
            if name.lower() == wanted:
                scheme, _, token = value.strip().partition(b" ")
                return (wanted, token.strip()) if scheme.lower() == b"bearer" and token else None
    return None


def _without_signature(scope: Scope) -> Scope:
    headers = [
        (name, value[: value.rindex(b".") + 1] + _SIGNATURE_REMOVED)
        if name.lower() in _HEADERS and value.count(b".") == _SEGMENTS - 1
        else (name, value)
        for name, value in scope["headers"]
    ]
    return {**scope, "headers": headers}


def _page(refused: Refused, path: str) -> HTMLResponse:
    status = HTTPStatus(refused.status)
    place = f"<code>{html.escape(path)}</code>"
    if status == HTTPStatus.UNAUTHORIZED:
        sentence = f"Your client does not have permission to the requested URL {place}."
        headers = {"WWW-Authenticate": _CHALLENGE}
    else:
        sentence = f"Your client does not have permission to get URL {place} from this server."
        headers = {}
    return HTMLResponse(
        _PAGE.format(status=int(status), phrase=status.phrase, sentence=sentence), status, headers=headers
    )


def _raw(segment: bytes) -> bytes:
    try:
        return base64.b64decode(segment + b"=" * (-len(segment) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise TokenInvalidError("not base64") from None


def _decoded(segment: bytes) -> dict[str, Any]:
    try:
        found = json.loads(_raw(segment))
    except (ValueError, RecursionError):
        raise TokenInvalidError("not JSON") from None
    if not isinstance(found, dict):
        raise TokenInvalidError("not an object")
    return found
