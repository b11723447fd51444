"""S3-7, the rows whose cause lies in the node itself: two real node services on the real Xray-core."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lib import bootstrap
from lib.nodes.transport import AiohttpTransport
from sandbox.node.caller import NodeCaller
from sandbox.node.lab import XrayNode
from tests.integration.sweeps.failure_matrix import BUYS, ENDS, RENEWS, STAYS, Shop
from tests.integration.sweeps.nodes import Network, RememberingNode
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from lib.db import Database, Transaction
    from tests.integration.sweeps.runs import Queue

KEY = "the-key-of-both-nodes-0123456789abcdef"


class RealNode(RememberingNode):
    """What goes to a real node is remembered; what it holds is what it says."""

    def __init__(self, lab: XrayNode, transport: AiohttpTransport) -> None:
        super().__init__()
        self.lab = lab
        self._transport = transport

    async def look(self) -> None:
        """Ask it for its clients, those that Xray itself has."""
        async with NodeCaller(self.lab.url, KEY, time_ms=None) as caller:
            users = await caller.users()
        self.held = {
            client: (user["version"], user["uuid"] if user["applied"] else None) for client, user in users.items()
        }

    async def send(
        self, url: str, body: bytes | None, headers: Mapping[str, str], pins: Sequence[str]
    ) -> tuple[int, bytes]:
        self.calls += 1
        for item in json.loads(body)["items"] if body is not None else ():
            told = self.uuids.setdefault(item["client"], [])
            if item["wanted"] and item["uuid"] not in told:
                told.append(item["uuid"])
        return await self._transport.send(url, body, headers, pins)


class RealNetwork(Network):
    """Two of them."""

    def __init__(self, labs: Sequence[XrayNode], transport: AiohttpTransport) -> None:
        super().__init__(0)
        self._real = [RealNode(lab, transport) for lab in labs]
        self.nodes = {lab.url: node for lab, node in zip(labs, self._real, strict=True)}

    def __getitem__(self, number: int) -> RealNode:
        return self._real[number - 1]

    async def look(self) -> None:
        await asyncio.gather(*(node.look() for node in self._real))


@pytest.fixture
async def labs(tmp_path: Path) -> AsyncIterator[list[XrayNode]]:
    made = [XrayNode(tmp_path / name, key=KEY) for name in ("first", "second")]
    await asyncio.gather(*(one.start() for one in made))
    yield made
    await asyncio.gather(*(one.kill() for one in made))


@pytest.fixture
async def shop(
    processes: Callable[[int], list[Database]],
    labs: list[XrayNode],
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> AsyncIterator[Shop]:
    (db,) = processes(1)
    transport = AiohttpTransport()
    network = RealNetwork(labs, transport)
    monkeypatch.setenv("XRAY_API_KEY", KEY)
    monkeypatch.setattr(bootstrap, "node_transport", lambda: network)
    monkeypatch.setattr(bootstrap, "database", lambda: db)
    assert queue.tasks == {}
    made = Shop(db, network, caplog, addresses=tuple(lab.url for lab in labs))
    made.count_calls(monkeypatch)
    await made.open()
    yield made
    await transport.close()


@pytest.mark.proves("S3-7.xray-killed")
async def test_xray_is_killed(shop: Shop, labs: list[XrayNode]) -> None:
    """The service records what it is told and says that it is not applied; no key is given out by it before Xray runs."""
    await labs[1].core.kill()
    await shop.live_on()
    assert (await shop.confirmed_by(2), await shop.to_leave(2)) == ([STAYS], [ENDS]), "recorded is not applied"
    assert await _recorded(labs[1]) == await shop.db.run(_wanted_of, 2)
    assert 1 in await shop.let_in(BUYS)
    await labs[1].core.start()
    await _agrees(labs[1])
    await shop.healed()
    assert await shop.let_in(BUYS) == await shop.let_in(RENEWS) == [1, 2]
    assert await shop.let_in(ENDS) == []


@pytest.mark.full  # Xray is waited for, call by call
@pytest.mark.proves("S3-7.xray-slow")
async def test_xray_is_slow(shop: Shop, labs: list[XrayNode]) -> None:
    labs[1].core.suspend()
    try:
        await shop.live_on(minutes=2)
    finally:
        labs[1].core.resume()
    assert await shop.let_in(BUYS) == [1, 2]  # it took what it had been told
    await _agrees(labs[1])
    await shop.healed()
    assert await shop.let_in(ENDS) == []


def _truncated(kept: bytes) -> bytes:
    return kept[: len(kept) // 2]


def _flipped(kept: bytes) -> bytes:
    return bytes(byte ^ 0x20 if n > 100 and n % 997 == 0 else byte for n, byte in enumerate(kept))


@pytest.mark.proves("S3-7.state-file")
@pytest.mark.parametrize("damage", [_truncated, _flipped])
async def test_a_state_file_that_is_damaged(shop: Shop, labs: list[XrayNode], damage: Callable[[bytes], bytes]) -> None:
    """It is refused and set aside, the node has another `state_id`, and is refilled."""
    path = Path(labs[1].environment["XRAY_STATE_PATH"])
    await labs[1].service.stop()
    _spoil(path, damage)
    await shop.live_on(minutes=2)
    assert await shop.db.run(_elsewhere, BUYS)
    await labs[1].start_service()
    await shop.healed()
    assert "node_lost_clients" in shop.events("ERROR")
    assert len(list(path.parent.glob(f"{path.name}.damaged-*"))) == 1
    assert await shop.let_in(BUYS) == await shop.let_in(RENEWS) == [1, 2]


def _spoil(path: Path, damage: Callable[[bytes], bytes]) -> None:
    path.write_bytes(damage(path.read_bytes()))


def _elsewhere(tx: Transaction, person: int) -> bool:
    """Whether the first node has confirmed them."""
    found: bool = tx.value(
        "select exists (select from node_clients c join subscriptions s on s.id = c.subscription_id join accounts a"
        " on a.id = s.account_id where a.telegram_id = :person and c.node_id = 1 and c.applied_uuid = s.uuid)",
        person=person,
    )
    return found


async def _recorded(lab: XrayNode) -> dict[str, tuple[int, str]]:
    """Version and UUID of each client that the service keeps, whether or not Xray has it."""
    async with NodeCaller(lab.url, KEY, time_ms=None) as caller:
        return {client: (user["version"], user["uuid"]) for client, user in (await caller.users()).items()}


def _wanted_of(tx: Transaction, node: int) -> dict[str, tuple[int, str]]:
    found = tx.value(
        "select jsonb_object_agg(subscription_id, jsonb_build_array(version, uuid)) from node_clients where node_id = :node and wanted",
        node=node,
    )
    return {client: (version, uuid) for client, (version, uuid) in found.items()}


async def _agrees(lab: XrayNode) -> None:
    """The service has found Xray again, and brought it to what it recorded."""
    async with NodeCaller(lab.url, KEY, time_ms=None) as caller:
        await until(caller.settled, "agrees with Xray")
