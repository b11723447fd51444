"""The VPN nodes of the local system: two, each with the real Xray and its service."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx

from lib.nodes import keys
from sandbox.node.caller import NodeCaller
from sandbox.node.lab import XrayNode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.postgres.database import LocalDatabase
    from sandbox.state.home import Home

NODE_NAMES = ("first", "second")
"""Two, always: what is broken in a test of provisioning, expiry or an outage is one of them, and the other carries on."""
_KEY_NAMES = ("XRAY_API_KEY", keys.MASTER_KEYS)
_PORTS = {"port": "vless", "api_port": "api", "target_port": "target", "service_port": "service"}
# As an operator adds them (docs/configuration.md); an address may have changed since the last run.
ADD_NODE = """
insert into nodes (name, api_url, key_name, pin) values (:name, :api_url, :key_name, cast(:pin as text))
on conflict (name) do update set api_url = excluded.api_url, pin = excluded.pin
"""

_ROWS = "select c.subscription_id || ' on ' || n.name as name from node_clients c join nodes n on n.id = c.node_id"


class Nodes:
    """All nodes, in the order of `NODE_NAMES`; a sequence of `XrayNode`.

    Args:
        home: where their folders and ports are.
        master_key: what the keys of further nodes than the first are derived from.
        code: the root of the checkout whose node service runs.
    """

    def __init__(self, home: Home, master_key: str, code: Path) -> None:
        self._all = tuple(_made(home, name, master_key, code) for name in NODE_NAMES)

    def __iter__(self) -> Iterator[XrayNode]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, index: int) -> XrayNode:
        return self._all[index]

    def register(self, database: LocalDatabase) -> None:
        """Write each node's row, or its new address into it."""
        for node, name, key_name in zip(self._all, NODE_NAMES, _KEY_NAMES, strict=True):
            database.query(ADD_NODE, name=name, api_url=node.url, key_name=key_name, pin=node.pin)

    async def start(self) -> None:
        """Bring every node back: what hangs goes on, what does not run starts; side by side."""

        async def back(node: XrayNode) -> None:
            if node.service.frozen:
                node.unhang()
            await node.start()

        async with asyncio.TaskGroup() as starting:
            for node in self._all:
                starting.create_task(back(node))

    async def kill(self) -> None:
        """All machines lose power at once."""
        await asyncio.gather(*(node.kill() for node in self._all))

    def set_clocks(self, offset: timedelta) -> None:
        """Their wall clocks, as much ahead as everything else here."""
        for node in self._all:
            node.set_clock(round(offset / timedelta(milliseconds=1)))

    async def without_a_row(self, database: LocalDatabase) -> list[str]:
        """Clients that a running node holds and Postgres knows nothing of, as `<client> on <node>`; names that are not Atlas's left out.

        A row is there before its node is told, and goes once the node has confirmed that the client is gone. So what is without
        one is looked at again: it may have been leaving.
        """
        found = await self._strangers(database)
        return sorted(found & await self._strangers(database)) if found else []

    async def _strangers(self, database: LocalDatabase) -> set[str]:
        held = await asyncio.gather(*(_held(name, node) for name, node in zip(NODE_NAMES, self._all, strict=True)))
        rows = await asyncio.to_thread(database.query, _ROWS)
        return set().union(*held) - {row["name"] for row in rows}

    async def health(self, index: int) -> dict[str, Any]:
        """What the service of one node says of itself (`GET /health`)."""
        node = self._all[index]
        async with httpx.AsyncClient(
            timeout=httpx.Timeout(30, connect=10), trust_env=False, verify=node.trust
        ) as client:
            response = await client.get(f"{node.url}/health", headers={"X-API-Key": node.key})
        facts: dict[str, Any] = response.json()
        return facts


async def _held(name: str, node: XrayNode) -> set[str]:
    if not node.service.running or node.service.frozen:
        return set()
    async with NodeCaller(node.url, node.key, time_ms=None, trust=node.trust) as caller:
        return {f"{client} on {name}" for client in await caller.users() if client.isdecimal()}


def _made(home: Home, name: str, master_key: str, code: Path) -> XrayNode:
    """The first is called as one on this very machine may be, the second as one anywhere: by TLS and its pin."""
    knows_pins = (
        code / "lib" / "nodes" / "pins.py"
    ).exists()  # another checkout, that a change is measured against, may not
    return XrayNode(
        home.folder("nodes") / name,
        ports={port: home.port(f"node.{name}.{part}") for port, part in _PORTS.items()},
        link_name=f"Atlas {name}",
        key=None if name == NODE_NAMES[0] else keys.derived(master_key, name),
        code=code,
        tls=name != NODE_NAMES[0] and knows_pins,
    )
