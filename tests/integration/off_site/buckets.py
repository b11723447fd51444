"""A bucket as the tests see it: what stands in it, in how many versions, and how a stranger would change it."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from lib.off_site import files, signature
from lib.off_site.store import NotThereError, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import httpx

    from lib.settings.plain import StoreSettings

ROOT = Path(__file__).resolve().parents[3]
PYTHON = Path(sys.prefix).parent / ".venv-store" / "bin" / "python"
"""Beside the environment that runs the tests: a copy of the tree that is broken on purpose has none."""
_VERSIONING = '<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>{}</Status></VersioningConfiguration>'


class Bucket:
    """What anyone with the key may do, and the copy itself never does."""

    def __init__(self, client: httpx.AsyncClient, settings: StoreSettings) -> None:
        self.client, self.settings = client, settings
        self._url = f"{settings.endpoint}/{settings.bucket}"

    @property
    def store(self) -> Store:
        """As the copy sees it."""
        return Store(lambda: self.client, self.settings)

    def elsewhere(self, folder: str) -> Store:
        """Another folder of the same bucket."""
        return Store(lambda: self.client, replace(self.settings, prefix=folder))

    async def make(self, *, locked: bool = False) -> None:
        headers = {"x-amz-bucket-object-lock-enabled": "true"} if locked else {}
        await self._done("PUT", self._url, headers=headers)
        await self.keep_versions("Enabled")

    async def keep_versions(self, status: str) -> None:
        await self._done("PUT", f"{self._url}?versioning", content=_VERSIONING.format(status))

    async def configure(self, what: str, body: str) -> None:
        await self._done("PUT", f"{self._url}?{what}", content=body)

    async def versions(self) -> list[str]:
        """The name of each version of each object, so that one written twice stands there twice."""
        answer = await self.client.get(f"{self._url}?versions")
        return [one.text or "" for one in ET.fromstring(answer.content).iterfind("{*}Version/{*}Key")]  # noqa: S314 -- moto's

    async def objects(self, folder: str | None = None) -> dict[str, bytes]:
        """All of it, by name within the folder."""
        chosen = self.settings.prefix if folder is None else folder
        prefix = f"{chosen}/" if chosen else ""
        store = self.elsewhere(prefix.removesuffix("/"))
        found = {}
        for name in sorted({one.removeprefix(prefix) for one in await self.versions() if one.startswith(prefix)}):
            with contextlib.suppress(NotThereError):  # a version of it is, but it was removed
                found[name] = b"".join([chunk async for chunk in store.chunks(name)])
        return found

    async def put(self, name: str, body: bytes) -> None:
        await self._done("PUT", f"{self._url}/{self.settings.prefix}/{name}", content=body)

    async def remove(self, name: str) -> None:
        await self._done("DELETE", f"{self._url}/{self.settings.prefix}/{name}")

    async def _done(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, content: str | bytes = b""
    ) -> None:
        body = content.encode() if isinstance(content, str) else content
        path, _, query = url.partition("?")
        signed = signature.signed(
            method,
            path,
            {query: ""} if query else {},
            headers or {},
            body_sha256=files.sha256_of(body),
            key_id=self.settings.key_id,
            secret=self.settings.secret,
            region=self.settings.region,
            at=datetime.now(UTC),
        )
        answer = await self.client.request(method, f"{path}?{query}=" if query else path, headers=signed, content=body)
        assert answer.is_success, (answer.status_code, answer.text)


class Objects:
    """A copy in memory, to be read as a store is."""

    def __init__(self, held: dict[str, bytes], chunk: int = 1000) -> None:
        self.held, self._chunk = held, chunk

    async def names(self, folder: str) -> list[str]:
        return sorted(name for name in self.held if name.startswith(f"{folder}/"))

    async def chunks(self, name: str) -> AsyncIterator[bytes]:
        if name not in self.held:
            raise NotThereError("there is no such object")
        body = self.held[name]
        for start in range(0, len(body), self._chunk):
            yield body[start : start + self._chunk]
