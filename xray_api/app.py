"""The HTTP face of the node: routes, JSON errors, the size limit. Every answer is JSON; every error is `{"error": "<words>"}`."""

from __future__ import annotations

import logging
import re
import time
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.routing import Route

from xray_api import __version__, requests
from xray_api.auth import KeyAuthentication
from xray_api.logs import failure, log
from xray_api.requests import BadRequestError
from xray_api.service import Outcome, Service, StateUnavailableError, TooBusyError
from xray_api.store import Change

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from xray_api.certificate import Exchangeable

MAX_BODY_BYTES: Final = 1 << 20
_CORRELATION: Final = re.compile(r"[0-9A-Za-z_.:-]{1,64}")
_RETRY_SECONDS: Final = "1"


def build(service: Service, keys: Sequence[str], certificate: Exchangeable | None = None) -> Starlette:
    """The ASGI application; its lifespan starts and stops the service. `certificate` is what callers are shown, if they are."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    face = _Face(service, certificate)
    return Starlette(
        routes=[
            Route("/", face.alive, methods=["GET"]),
            Route("/apply", face.timed(face.apply), methods=["POST"]),
            Route("/add-user", face.timed(face.add_user), methods=["POST"]),
            Route("/update-user", face.timed(face.update_user), methods=["POST"]),
            Route("/remove-user/{uuid}", face.timed(face.remove_user), methods=["POST"]),
            Route("/list-users", face.timed(face.list_users), methods=["GET"]),
            Route("/health", face.timed(face.health), methods=["GET"]),
        ],
        middleware=[Middleware(KeyAuthentication, keys=tuple(keys))],
        exception_handlers={
            HTTPException: _http_error,
            BadRequestError: _bad_request,
            ClientDisconnect: _cut_off,
            TooBusyError: _too_busy,
            StateUnavailableError: _no_state,
            Exception: _unexpected,
        },
        lifespan=lifespan,
    )


class _Face:
    """One method a route."""

    def __init__(self, service: Service, certificate: Exchangeable | None) -> None:
        self._service = service
        self._certificate = certificate

    async def alive(self, _request: Request) -> Response:
        return JSONResponse({"ok": True})

    def timed(self, handle: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """The route, once Atlas's time in the call is heard. The call came with a key, so the time is Atlas's own."""

        async def route(request: Request) -> Response:
            atlas_ms = requests.time_ms(request.headers.getlist("x-atlas-time-ms"))
            if atlas_ms is not None:
                self._service.clock.hear(atlas_ms)
            return await handle(request)

        return route

    async def apply(self, request: Request) -> Response:
        began = time.perf_counter()
        answers: list[dict[str, Any]] = []
        changes: list[Change] = []
        places: list[int] = []
        seen: set[str] = set()
        body = await _json(request)
        raw_items, known = requests.items(body), requests.acknowledged(body)
        if not raw_items and not known:
            raise BadRequestError("nothing is asked: items and acknowledged are both empty")
        if known:
            await self._service.acknowledge(known)
        for raw in raw_items:
            try:
                change = requests.item(raw)
                if change.client in seen:
                    raise BadRequestError("client is twice in one batch")
            except BadRequestError as error:
                answers.append({**_named(raw), "code": 400, "error": str(error)})
                continue
            seen.add(change.client)
            places.append(len(answers))
            changes.append(change)
            answers.append({"client": change.client, "version": change.version})
        outcomes = await self._service.change(changes) if changes else []
        for place, change, outcome in zip(places, changes, outcomes, strict=True):
            answers[place] |= _answer(change, outcome)
        _log_change(request, "apply", [answer["code"] for answer in answers], began)
        return JSONResponse({**await self._facts(), "items": answers})

    async def add_user(self, request: Request) -> Response:
        return await self._person(request, "add_user", requests.person(await _json(request), uuid_needed=True))

    async def update_user(self, request: Request) -> Response:
        change = requests.person(await _json(request), uuid_needed=False)
        held = await self._service.find(change.client)
        if held is None or held.state == "removed":
            return _error(404, "unknown user")
        if change.uuid is None:
            change = Change(change.client, change.version, wanted=True, uuid=held.uuid, expiry_ms=change.expiry_ms)
        return await self._person(request, "update_user", change)

    async def remove_user(self, request: Request) -> Response:
        uuid = requests.uuid(request.path_params["uuid"])
        version = requests.optional_version(await _json(request, empty_ok=True))
        began = time.perf_counter()
        held = await self._service.holder(uuid)
        if held is None:
            return JSONResponse({"uuid": uuid, "removed": False})
        if held.state == "removed":
            version = None  # done already, at whatever version: what is left is that Xray agrees
        (outcome,) = await self._service.change([Change(held.client, version, wanted=False)])
        _log_change(request, "remove_user", [outcome.code], began)
        if outcome.error is not None:
            return _error(outcome.code, outcome.error)
        return JSONResponse({"uuid": uuid, "removed": held.state == "wanted"})

    async def list_users(self, request: Request) -> Response:
        after, limit = requests.page(request.query_params.get("after"), request.query_params.get("limit"))
        rows = await self._service.page(after, limit)
        users = [
            {
                "client": row.client,
                "uuid": row.uuid,
                "version": row.version,
                "expiry_timestamp_ms": row.expiry_ms,
                "applied": applied,
            }
            for row, applied in rows
        ]
        page = {"users": users, "next": rows[-1][0].client if len(rows) == limit else None}
        return JSONResponse({**await self._facts(), **page})

    async def health(self, _request: Request) -> Response:
        status, problems = self._service.status()
        # What the work needs is asked, not what is near it: a change is recorded by a write.
        writable = await self._service.writable()
        clients: int | None = None
        pending: int | None = None
        try:
            clients, pending = await self._service.counts()
            facts = await self._facts()
        except StateUnavailableError:
            writable, facts = False, self._ids()
        if not writable:
            problems.append(f"the state can't be written ({self._service.state_problem}): every change is refused")
        if self._certificate is not None and self._certificate.problem is not None:
            problems.append(
                f"the certificate files changed and {self._certificate.problem}: the one before is shown until they are mended"
            )
        return JSONResponse(
            {
                **facts,
                "ok": status.up is True and status.facts is not None and writable,
                "writable": writable,
                "version": __version__,
                "xray": {"up": status.up is True},
                "can_cut": self._service.can_cut,
                "pin": self._certificate.pin if self._certificate is not None else None,
                "clients": clients,
                "pending": pending,
                "inbound": None if status.facts is None else asdict(status.facts),
                "problems": problems,
            }
        )

    def _ids(self) -> dict[str, Any]:
        service = self._service
        return {"boot_id": service.boot_id, "state_id": service.state_id, "clock": service.clock.facts()}

    async def _facts(self) -> dict[str, Any]:
        """What every answer about clients carries: which state, which start, which time, and what was dropped unasked."""
        dropped = [{"client": row.client, "version": row.version} for row in await self._service.untold()]
        return {**self._ids(), "dropped": dropped}

    async def _person(self, request: Request, event: str, change: Change) -> Response:
        began = time.perf_counter()
        (outcome,) = await self._service.change([change])
        _log_change(request, event, [outcome.code], began)
        if outcome.error is not None:
            return _error(outcome.code, outcome.error)
        return JSONResponse({"uuid": change.uuid, "vless_link": outcome.link})


async def _json(request: Request, *, empty_ok: bool = False) -> Any:
    """The body as JSON, at most 1 MiB of it: what is longer is not read on."""
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise HTTPException(413, "body is over 1 MiB")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, "body is over 1 MiB")
    if empty_ok and not body:
        return {}
    return requests.document(bytes(body))


def _named(raw: Any) -> dict[str, Any]:
    """Enough of a bad item for its sender to know it again, and no more."""
    client, version = (raw.get("client"), raw.get("version")) if isinstance(raw, dict) else (None, None)
    named = {"version": version} if requests.is_version(version) else {}
    return {"client": client if requests.is_client(client) else None} | named


def _answer(change: Change, outcome: Outcome) -> dict[str, Any]:
    if outcome.error is None:
        answer: dict[str, Any] = {"code": outcome.code, "wanted": change.wanted}
        return answer | {"uuid": change.uuid, "vless_link": outcome.link} if change.wanted else answer
    answer = {"code": outcome.code, "error": outcome.error}
    if outcome.code == 409 and outcome.row is not None:  # noqa: PLR2004 - an HTTP code
        answer["held_version"] = outcome.row.version
    return answer


def _log_change(request: Request, event: str, codes: list[int], began: float) -> None:
    correlation = request.headers.get("x-correlation-id", "")
    log(
        logging.INFO,
        event,
        codes={str(code): codes.count(code) for code in sorted(set(codes))},
        ms=round((time.perf_counter() - began) * 1000, 1),
        **({"correlation_id": correlation} if _CORRELATION.fullmatch(correlation) else {}),
    )


def _error(code: int, words: str) -> JSONResponse:
    headers = {"Retry-After": _RETRY_SECONDS} if code in {429, 503} else None
    return JSONResponse({"error": words}, code, headers=headers)


async def _http_error(_request: Request, error: Exception) -> Response:
    code = error.status_code if isinstance(error, HTTPException) else 500
    words = error.detail if isinstance(error, HTTPException) else "error"
    return JSONResponse({"error": words.lower()}, code, headers=getattr(error, "headers", None))


async def _bad_request(_request: Request, error: Exception) -> Response:
    return _error(400, str(error))


async def _cut_off(_request: Request, _exception: Exception) -> Response:
    log(logging.INFO, "request_cut_off")
    return _error(400, "the body is not complete")


async def _too_busy(_request: Request, _exception: Exception) -> Response:
    return _error(429, "too many changes are waiting")


async def _no_state(_request: Request, _exception: Exception) -> Response:
    return _error(503, "the state can't be written")


async def _unexpected(_request: Request, _exception: Exception) -> Response:
    failure("request_failed")
    return _error(500, "internal error")
