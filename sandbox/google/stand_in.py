"""The stand-in as it is served: every API below its name on one loopback port, and where a login gets its tokens.

Not tried on the real cloud: paths, fields and types are those of the discovery documents, sentences and states those of Google's
documentation and of errors that others published.
"""

from __future__ import annotations

import asyncio
import email.parser
import email.policy
import json
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl

import google.auth.exceptions
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.google.answers import ANSWERS
from sandbox.google.cloud import Call, Cloud, Media
from sandbox.google.discovery import APIS, Api, api
from sandbox.google.refusals import Refused, invalid
from sandbox.stand_in.loopback import LoopbackOnly
from sandbox.stand_in.server import Server
from sandbox.state.private_json import write_private_json

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.types import ASGIApp

_METHODS = ["DELETE", "GET", "PATCH", "POST", "PUT"]
_TOKEN_PATH = "/token"  # noqa: S105 - an address
_AUDIENCE = "https://oauth2.googleapis.com/token"
"""What google-auth signs a login for, wherever it then sends it."""


class Google:
    """The APIs over `cloud`, to be served on loopback.

    Used as a context manager it serves itself from a thread of its own, so that a program that blocks can call it.

    Args:
        folder: where its state is kept.
        project: the id of the one project there is.
        terraform_state: the state file that says what Terraform made; None: nothing.
        polls: looks that an operation takes.
    """

    def __init__(self, folder: Path, project: str, *, terraform_state: Path | None = None, polls: int = 1) -> None:
        self.cloud = Cloud(folder, project, terraform_state=terraform_state, polls=polls)
        self.folder = folder
        self.requests: list[str] = []
        """The ids of methods that were called, in order."""
        self.url = ""
        self._end: threading.Event | None = None
        self._thread: threading.Thread | None = None

    # -- serving -------------------------------------------------------------------------------------------------------

    @cached_property
    def app(self) -> ASGIApp:
        """The ASGI application."""
        routes = [
            Route(_TOKEN_PATH, self._token, methods=["POST"]),
            Route("/{rest:path}", self._request, methods=_METHODS),
        ]
        return LoopbackOnly(Starlette(routes=routes))

    def __enter__(self) -> Self:
        """Serve until the block ends; `url` is then what `ATLAS_GOOGLE_ENDPOINT` is to be."""
        up, self._end = threading.Event(), threading.Event()
        failures: list[BaseException] = []

        async def serve() -> None:
            assert self._end is not None  # noqa: S101 - for the type checker
            server = Server(self.app)
            await server.start()
            self.url = server.url
            up.set()
            await asyncio.to_thread(self._end.wait)
            await server.stop()

        def run() -> None:
            try:
                asyncio.run(serve())
            except BaseException as error:  # noqa: BLE001 - told to who waits below
                failures.append(error)
            finally:
                up.set()

        self._thread = threading.Thread(target=run, name="google", daemon=True)
        self._thread.start()
        up.wait()
        if failures:
            raise failures[0]
        return self

    def __exit__(self, *_exc: object) -> None:
        """Stop serving; state stays."""
        assert self._end is not None  # noqa: S101 - for the type checker
        assert self._thread is not None  # noqa: S101 - as above
        self._end.set()
        self._thread.join()

    def environment(self) -> dict[str, str]:
        """The variables with which a program on this machine is logged in here and calls this."""
        return {"ATLAS_GOOGLE_ENDPOINT": self.url, "GOOGLE_APPLICATION_CREDENTIALS": str(self.credentials_file())}

    # -- logging in ----------------------------------------------------------------------------------------------------

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        place = self.folder / "login.pem"
        if place.exists():
            found = serialization.load_pem_private_key(place.read_bytes(), None)
            assert isinstance(found, rsa.RSAPrivateKey)  # noqa: S101 - we wrote it
            return found
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        place.touch(mode=0o600)
        place.write_bytes(self._pem(made))
        return made

    def _pem(self, key: rsa.RSAPrivateKey) -> bytes:
        return key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def credentials_file(self) -> Path:
        """A key file of a service account whose tokens come from here."""
        place = self.folder / "credentials.json"
        write_private_json(
            place,
            {
                "type": "service_account",
                "project_id": self.cloud.project,
                "private_key_id": "1",
                "private_key": self._pem(self._key).decode(),
                "client_email": self.cloud.operator,
                "client_id": "1",
                "token_uri": f"{self.url}{_TOKEN_PATH}",
            },
        )
        return place

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        public = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        try:
            claims = jwt.decode(form.get("assertion", ""), certs=public, audience=_AUDIENCE)  # type: ignore[no-untyped-call] # it is
        except (ValueError, google.auth.exceptions.GoogleAuthError):
            return JSONResponse({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400)
        if claims.get("iss") != self.cloud.operator or not claims.get("scope"):
            return JSONResponse({"error": "invalid_grant", "error_description": "Invalid issuer or no scope."}, 400)
        answer = {"access_token": self.cloud.issue_token(), "expires_in": 3600, "token_type": "Bearer"}
        return JSONResponse(answer)

    # -- requests ------------------------------------------------------------------------------------------------------

    async def _request(self, request: Request) -> Response:
        raw = await request.body()
        path = request.scope["raw_path"].decode("ascii").partition("?")[0].lstrip("/")
        name, _, below = path.partition("/")
        if name not in APIS:
            return JSONResponse({"error": {"code": 404, "message": f"no API {name}", "status": "NOT_FOUND"}}, 404)
        found = api(name)
        try:
            answer = self._answered(found, request, below, raw)
        except Refused as refused:
            return JSONResponse(refused.body(older_shape=found.older_shape), refused.status)
        if isinstance(answer, bytes):
            return Response(answer, media_type="application/octet-stream")
        if answer is None:
            return Response(status_code=204)
        return JSONResponse(answer)

    def _answered(self, found: Api, request: Request, below: str, raw: bytes) -> dict[str, Any] | bytes | None:
        cloud = self.cloud
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not cloud.knows_token(token):
            raise Refused(
                401,
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
                "authentication credential.",
            )
        method, path = found.find(request.method, below)
        self.requests.append(method.id)
        cloud.assert_enabled(found)
        query = found.parameters(method, request.query_params.multi_items())
        if "fields" in query:
            raise Refused(501, "the stand-in answers whole resources only")
        kind = request.headers.get("content-type", "")
        body, media = _parts(found, kind, raw) if below.startswith("upload/") else (raw, None)
        if body and media is None and kind.partition(";")[0] != "application/json":
            raise invalid(f"Content-Type is {kind or 'missing'}, not application/json")
        call = Call(cloud, found, method, path, query, found.body(method, body), media)
        for refused in _ordered(cloud, method.id):
            raise refused
        if method.id not in ANSWERS:
            raise Refused(501, f"the stand-in does not answer {method.id}")
        answer = ANSWERS[method.id](call)
        if isinstance(answer, bytes):
            return answer
        found.check_answer(method, answer)
        return answer if method.answer is not None else None


def _ordered(cloud: Cloud, method: str) -> list[Refused]:
    waiting = cloud.faults.refusals.get(method)
    return [waiting.popleft()] if waiting else []


def _parts(found: Api, kind: str, raw: bytes) -> tuple[bytes, Media]:
    """The JSON and the bytes of an upload, simple or multipart."""
    if not kind.startswith("multipart/related"):
        return b"", Media(raw, kind)
    parsed = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        f"Content-Type: {kind}\r\n\r\n".encode() + raw
    )
    parts = list(parsed.iter_parts())
    if len(parts) != 2:  # noqa: PLR2004 - metadata and media
        raise invalid(f"{found.name}: a multipart upload has two parts")
    metadata, media = (part.get_payload(decode=True) for part in parts)
    assert isinstance(metadata, bytes)  # noqa: S101 - not multipart itself
    assert isinstance(media, bytes)  # noqa: S101 - as above
    json.loads(metadata)
    return metadata, Media(media, parts[1].get_content_type())
