"""A node as an HTTP transport: it keeps the node service's rules about versions, remembers every call, and may be slow."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

URL = "http://node.test"


class RememberingNode:
    """Holds client -> (version, uuid or None); refuses what is older, as `xray_api` does.

    Attributes:
        asked: how often each (client, version, wanted) was sent.
        uuids: of each client, every UUID it was ever told to hold, in order.
        before_answer: awaited in every call, before anything changes.
        refusing: clients that are answered with an error of their own.
    """

    def __init__(self) -> None:
        self.held: dict[str, tuple[int, str | None]] = {}
        self.asked: Counter[tuple[str, int, bool]] = Counter()
        self.uuids: dict[str, list[str]] = {}
        self.before_answer: Callable[[], Awaitable[None]] | None = None
        self.refusing: set[str] = set()
        self.calls = 0
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self._serve))

    @property
    def present(self) -> dict[str, str]:
        """UUID by client, of those it lets in."""
        return {client: uuid for client, (_, uuid) in self.held.items() if uuid is not None}

    async def _serve(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        items = json.loads(request.content)["items"]
        for item in items:
            self.asked[item["client"], item["version"], item["wanted"]] += 1
        await asyncio.sleep(0)  # other ready work gets its turn in the middle of the call
        if self.before_answer is not None:
            await self.before_answer()
        return httpx.Response(200, json={"items": [self._apply(item) for item in items]})

    def _apply(self, item: dict[str, Any]) -> dict[str, Any]:
        client, version = item["client"], item["version"]
        named = {"client": client, "version": version}
        if client in self.refusing:
            return named | {"code": 503, "error": "not this one"}
        known = self.held.get(client, (0, None))[0]
        if version < known:
            return named | {"code": 409, "error": "older", "held_version": known}
        uuid = item.get("uuid") if item["wanted"] else None
        self.held[client] = (version, uuid)
        if uuid is None:
            return named | {"code": 200}
        if uuid not in self.uuids.setdefault(client, []):
            self.uuids[client].append(uuid)
        return named | {"code": 200, "uuid": uuid, "vless_link": f"vless://{uuid}@node.test:443"}
