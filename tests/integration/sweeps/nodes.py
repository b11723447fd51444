"""Nodes as a transport: they keep the node service's rules about versions, remember every call, and may be slow or wrong."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from lib.nodes.transport import NodeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

URL = "http://127.0.0.1"


class RememberingNode:
    """Holds client -> (version, uuid or None); refuses what is older, as `xray_api` does.

    Attributes:
        ends: of each client, until when it was told to let it in (Unix milliseconds).
        asked: how often each (client, version, wanted) was sent.
        uuids: of each client, every UUID it was ever told to hold, in order.
        before_answer: awaited in every call, before anything changes.
        refusing: clients that are answered with an error of their own.
        failing: raised in every call instead of an answer.
        nonsense: sent instead of an answer.
        on_its_way: given each answer once the changes are made; what it returns is sent, what it raises is what the caller sees.
        dropped: what it removed by itself and reports: client -> version.
        said: further fields of its answers (`state_id`, `clock`).
    """

    def __init__(self) -> None:
        self.held: dict[str, tuple[int, str | None]] = {}
        self.ends: dict[str, int] = {}
        self.asked: Counter[tuple[str, int, bool]] = Counter()
        self.uuids: dict[str, list[str]] = {}
        self.before_answer: Callable[[], Awaitable[None]] | None = None
        self.refusing: set[str] = set()
        self.failing: Exception | None = None
        self.nonsense: tuple[int, bytes] | None = None
        self.on_its_way: Callable[[dict[str, Any]], tuple[int, bytes]] | None = None
        self.dropped: dict[str, int] = {}
        self.said: dict[str, Any] = {}
        self.headers: list[Mapping[str, str]] = []
        self.calls = 0

    @property
    def present(self) -> dict[str, str]:
        """UUID by client, of those it lets in."""
        return {client: uuid for client, (_, uuid) in self.held.items() if uuid is not None}

    def drop(self, client: str) -> None:
        """It removes a client by itself, with its version unchanged, as past the client's end."""
        version, _ = self.held[client]
        self.held[client] = (version, None)
        self.dropped[client] = version

    def forget(self, state_id: str) -> None:
        """It loses everything."""
        self.held.clear()
        self.dropped.clear()
        self.said["state_id"] = state_id

    async def send(
        self, url: str, body: bytes | None, headers: Mapping[str, str], _pins: Sequence[str]
    ) -> tuple[int, bytes]:
        """See `lib.nodes.transport.Transport`."""
        self.calls += 1
        self.headers.append(headers)
        asked = {"items": []} if body is None else json.loads(body)
        for item in asked["items"]:
            self.asked[item["client"], item["version"], item["wanted"]] += 1
        await asyncio.sleep(0)  # other ready work gets its turn in the middle of the call
        if self.before_answer is not None:
            await self.before_answer()
        if self.failing is not None:
            raise self.failing
        if self.nonsense is not None:
            return self.nonsense
        for one in asked.get("acknowledged", ()):
            if self.dropped.get(one["client"]) == one["version"]:
                del self.dropped[one["client"]]
        said = self._listed(url) if body is None else {"items": [self._apply(item) for item in asked["items"]]}
        dropped = [{"client": client, "version": version} for client, version in self.dropped.items()]
        answer = {**said, "dropped": dropped, **self.said}
        return self.on_its_way(answer) if self.on_its_way is not None else (200, json.dumps(answer).encode())

    def _listed(self, url: str) -> dict[str, Any]:
        """A page, by name as text."""
        query = parse_qs(urlsplit(url).query)
        after, limit = query.get("after", [""])[0], int(query["limit"][0])
        names = sorted(name for name in self.present if name > after)[:limit]
        users = [{"client": name, "version": self.held[name][0], "uuid": self.held[name][1]} for name in names]
        return {"users": users, "next": names[-1] if len(names) == limit else None}

    def _apply(self, item: dict[str, Any]) -> dict[str, Any]:
        client, version = item["client"], item["version"]
        named = {"client": client, "version": version}
        if client in self.refusing:
            return named | {"code": 503, "error": "not this one"}
        known = self.held.get(client, (0, None))[0]
        if version < known or self.dropped.get(client) == version:
            return named | {"code": 409, "error": "older", "held_version": known}
        self.dropped.pop(client, None)
        uuid = item.get("uuid") if item["wanted"] else None
        self.held[client] = (version, uuid)
        if uuid is None:
            self.ends.pop(client, None)
            return named | {"code": 200}
        self.ends[client] = item["expiry_timestamp_ms"]
        if uuid not in self.uuids.setdefault(client, []):
            self.uuids[client].append(uuid)
        return named | {"code": 200, "uuid": uuid, "vless_link": f"vless://{uuid}@node.test:443"}


class Network:
    """Several nodes by address: `http://127.0.0.1` and so on; an address of no node can't be reached."""

    def __init__(self, count: int) -> None:
        self.nodes: dict[str, RememberingNode] = {
            f"http://127.0.0.{number}": RememberingNode() for number in range(1, count + 1)
        }

    def __getitem__(self, number: int) -> RememberingNode:
        return self.nodes[f"http://127.0.0.{number}"]

    async def look(self) -> None:
        """See what the nodes hold now: these show it at any time, real ones when they are asked."""

    async def send(
        self, url: str, body: bytes | None, headers: Mapping[str, str], pins: Sequence[str]
    ) -> tuple[int, bytes]:
        """See `lib.nodes.transport.Transport`."""
        address = urlsplit(url)
        node = self.nodes.get(f"{address.scheme}://{address.netloc}")
        if node is None:
            raise NodeError("no such node", temporary=False)
        return await node.send(url, body, headers, pins)

    async def close(self) -> None:
        """As the adapter has it."""
