"""The store that the books are copied to: the five calls of S3 that are needed, and what may never happen there.

A name gets its content once. A call of unknown outcome is made again: reading changes nothing, and writing is conditional.
"""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol
from xml.etree import ElementTree as ET

import httpx

from lib.off_site import signature

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from lib.settings.plain import StoreSettings

TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
"""Of a step of a call, not of the whole of it: a file may take as long as it goes on."""
_ATTEMPTS: Final = 4
_PAUSE_S: Final = 0.2
_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,60})</Code>")
_LONGEST_ERROR: Final = 64 * 1024
_LONGEST_LISTING: Final = 4 * 1024 * 1024
_PAGE: Final = 1_000
_MOST_PAGES: Final = 1_000
# What says nothing of the call itself. 409: another write of that name is under way (ConditionalRequestConflict).
_AGAIN: Final = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.CONFLICT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
LOCKED, VERSIONED, UNPROTECTED = "locked", "versioned", "none"
"""How the store itself keeps what was written: by object lock, by versions, or not at all."""


class StoreError(Exception):
    """The store can't be had, or refuses; the text names no key and quotes no answer."""


class NotThereError(StoreError):
    """There is no object of that name."""


class Content(Protocol):
    """What is written: its size and hashes are known before."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def sha256(self) -> str:
        """Hexadecimal."""

    @property
    def md5_base64(self) -> str:
        """What a store with object lock asks for."""

    def chunks(self) -> AsyncIterator[bytes]:
        """All of it, from the beginning each time."""


class Source(Protocol):
    """What a copy of the books is read from."""

    async def names(self, folder: str) -> list[str]:
        """Every name in a folder, in order."""

    def chunks(self, name: str) -> AsyncIterator[bytes]:
        """An object; NotThereError when there is none."""


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    content: Content | None = None


class Store:
    """One folder of one bucket.

    Args:
        http: gives the client; its own timeouts and redirects are not used.
        settings: where it is and by which key.
    """

    def __init__(self, http: Callable[[], httpx.AsyncClient], settings: StoreSettings) -> None:
        self._http = http
        self._settings = settings

    @property
    def address(self) -> str:
        """What it is known by, without any key: the books' rows of what was copied name it."""
        return self._settings.address

    async def names(self, folder: str) -> list[str]:
        """Every name in a folder, in order of its characters.

        Raises:
            StoreError
        """
        prefix, found, token = self._path(f"{folder}/"), list[str](), ""
        for _ in range(_MOST_PAGES):
            query = {"list-type": "2", "prefix": prefix, "max-keys": str(_PAGE)} | (
                {"continuation-token": token} if token else {}
            )
            body = await self._small(_Call("GET", "", query, {}), _LONGEST_LISTING)
            page = _xml(body)
            cut = len(self._path(""))
            found += [(one.text or "")[cut:] for one in page.iterfind("{*}Contents/{*}Key")]
            token = page.findtext("{*}NextContinuationToken") or ""
            if not token:
                return sorted(found)
        raise StoreError("its listing does not end")

    async def chunks(self, name: str) -> AsyncIterator[bytes]:
        """An object, as it comes.

        Raises:
            NotThereError: there is none.
            StoreError
        """
        answer = await self._answer(_Call("GET", self._path(name), {}, {}))
        try:
            self._refuse(answer.status_code, await _code(answer))
            async for chunk in answer.aiter_raw():
                yield chunk
        except httpx.HTTPError as error:
            raise StoreError(f"broken off: {type(error).__name__}") from None
        finally:
            await answer.aclose()

    async def put_new(self, name: str, content: Content) -> bool:
        """Write an object of a name that has none; False when it has one, which is left as it is.

        A store that does not know the condition is asked first. Where two write at once there, versions keep both.

        Raises:
            StoreError
        """
        headers = {
            "content-length": str(content.size),
            "content-md5": content.md5_base64,
            "content-type": "application/octet-stream",
            "if-none-match": "*",
        }
        answer = await self._answer(_Call("PUT", self._path(name), {}, headers, content))
        try:
            code = await _code(answer)
            if answer.status_code in (HTTPStatus.PRECONDITION_FAILED, HTTPStatus.CONFLICT):
                return False
            self._refuse(answer.status_code, code)
        finally:
            await answer.aclose()
        return True

    async def exists(self, name: str) -> bool:
        """Whether there is an object of that name.

        Raises:
            StoreError
        """
        answer = await self._answer(_Call("HEAD", self._path(name), {}, {}))
        await answer.aclose()
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return False
        self._refuse(answer.status_code, "")
        return True

    async def protection(self) -> str:
        """How the store keeps what was written there: `LOCKED`, `VERSIONED` or `UNPROTECTED`, also where it will not say.

        Raises:
            StoreError: it can't be had.
        """
        lock = await self._asked("object-lock")
        if lock is not None and lock.findtext("{*}ObjectLockEnabled") == "Enabled" and lock.find("{*}Rule") is not None:
            return LOCKED
        versioning = await self._asked("versioning")
        if versioning is not None and versioning.findtext("{*}Status") == "Enabled":
            return VERSIONED
        return UNPROTECTED

    async def _asked(self, what: str) -> ET.Element | None:
        """What the bucket says of itself; None where it has none of it, or the key may not ask."""
        answer = await self._answer(_Call("GET", "", {what: ""}, {}))
        try:
            if answer.is_client_error or answer.status_code == HTTPStatus.NOT_IMPLEMENTED:
                return None
            self._refuse(answer.status_code, await _code(answer))
            return _xml(await _body(answer, _LONGEST_ERROR))
        finally:
            await answer.aclose()

    async def _small(self, call: _Call, limit: int) -> bytes:
        answer = await self._answer(call)
        try:
            self._refuse(answer.status_code, await _code(answer))
            return await _body(answer, limit)
        finally:
            await answer.aclose()

    async def _answer(self, call: _Call) -> httpx.Response:
        """The store's answer, to be closed by who asked; what is no answer to the call itself is asked again.

        Raises:
            StoreError: it can't be had.
        """
        problem = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(random.uniform(0.5, 1) * _PAUSE_S * 4 ** (attempt - 1))  # noqa: S311 -- jitter, not a secret
            try:
                answer = await self._send(call)
            except httpx.HTTPError as error:
                problem = type(error).__name__
                continue
            if answer.status_code not in _AGAIN or (
                answer.status_code == HTTPStatus.CONFLICT and attempt == _ATTEMPTS - 1
            ):
                return answer
            await answer.aclose()
            problem = f"HTTP {answer.status_code}"
        raise StoreError(f"can't be had: {problem}")

    async def _send(self, call: _Call) -> httpx.Response:
        settings = self._settings
        url = f"{settings.endpoint}/{settings.bucket}{'/' if call.path else ''}{call.path}"
        headers = signature.signed(
            call.method,
            url,
            call.query,
            call.headers,
            body_sha256=call.content.sha256 if call.content else signature.NOTHING,
            key_id=settings.key_id,
            secret=settings.secret,
            region=settings.region,
            at=datetime.now(UTC),
        )
        headers["accept-encoding"] = "identity"
        query = signature.query_text(call.query)
        request = self._http().build_request(
            call.method,
            f"{url}?{query}" if query else url,
            headers=headers,
            content=call.content.chunks() if call.content else None,
            timeout=TIMEOUT,
        )
        return await self._http().send(request, stream=True, follow_redirects=False)

    def _path(self, name: str) -> str:
        return f"{self._settings.prefix}/{name}" if self._settings.prefix else name

    @staticmethod
    def _refuse(status: int, code: str) -> None:
        if status == HTTPStatus.NOT_FOUND and code != "NoSuchBucket":
            raise NotThereError("there is no such object")
        if status != HTTPStatus.OK:
            raise StoreError(f"refuses: HTTP {status} {code}".rstrip())


async def _body(answer: httpx.Response, limit: int) -> bytes:
    body = bytearray()
    try:
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > limit:
                raise StoreError("its answer is too long")
    except httpx.HTTPError as error:
        raise StoreError(f"broken off: {type(error).__name__}") from None
    return bytes(body)


async def _code(answer: httpx.Response) -> str:
    """The store's own word for a refusal, as `AccessDenied`; nothing of an answer that is none."""
    if answer.status_code == HTTPStatus.OK:
        return ""
    found = _CODE.search(await _body(answer, _LONGEST_ERROR))
    return found[1].decode() if found else ""


def _xml(body: bytes) -> ET.Element:
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise StoreError("its answer can't be read")
    try:
        return ET.fromstring(body)  # noqa: S314 -- without entities, bounded, from the store that holds the key
    except ET.ParseError:
        raise StoreError("its answer can't be read") from None
