"""The node client and the real node service on the real Xray-core: the same rules as its unit tests say (S3-MR-1)."""

from __future__ import annotations

import asyncio
import dataclasses
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from lib.domain.provisioning import CLOCK_OFF_MS, Node, Work
from lib.nodes.client import NodeClient
from lib.nodes.transport import AiohttpTransport, NodeError
from sandbox.node.caller import NodeCaller
from sandbox.node.lab import ShareLink, XrayNode
from xray_api import certificate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.proves("S3-MR-1")
_READ_S = 0.5
_CALLS_BEFORE = 20


@pytest.fixture(scope="module")
async def real_node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[XrayNode]:
    running = await XrayNode(tmp_path_factory.mktemp("node")).start()
    yield running
    await running.stop()


def node_at(url: str) -> Node:
    return Node(1, "first", url, "XRAY_API_KEY", None, None, None, datetime.now(UTC))


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    made = AiohttpTransport()
    yield made
    await made.close()


@pytest.fixture
def caller(real_node: XrayNode, transport: AiohttpTransport) -> NodeClient:
    return NodeClient(transport, node_at(real_node.url), (real_node.key,))


def _work(subscription_id: int, version: int, *, wanted: bool = True) -> Work:
    end = datetime.now(UTC) + timedelta(hours=1)
    return Work(subscription_id, 1, uuid.uuid4(), version, wanted, end, uuid.uuid4())


async def test_add_again_remove_and_remove_again(caller: NodeClient, real_node: XrayNode) -> None:
    work = _work(1, 1)
    (added,) = (await caller.apply([work])).answers
    assert added.applied
    link = ShareLink.parse(str(added.link))
    assert (link.uuid, link.port, link.public_key) == (str(work.uuid), real_node.port, real_node.public_key)
    assert (await caller.apply([work])).answers[0].link == added.link
    removal = dataclasses.replace(work, version=2, wanted=False)
    for _ in range(3):
        (removed,) = (await caller.apply([removal])).answers
        assert (removed.applied, removed.error) == (True, None)
    said = await caller.apply([work])
    assert [(late.applied, late.held_version) for late in said.answers] == [(False, 2)]
    assert said.heard.state_id
    assert said.heard.clock_off_ms is not None
    assert abs(said.heard.clock_off_ms) < CLOCK_OFF_MS


@pytest.mark.proves("S0-3")
async def test_removing_who_never_was_there_is_success(caller: NodeClient) -> None:
    (removed,) = (await caller.apply([_work(2, 5, wanted=False)])).answers
    assert removed.applied


async def test_a_stranger_is_refused_at_once(real_node: XrayNode, transport: AiohttpTransport) -> None:
    stranger = NodeClient(transport, node_at(real_node.url), ("another-key",))
    with pytest.raises(NodeError, match="does not know our key") as failure:
        await stranger.apply([_work(3, 1)])
    assert (failure.value.temporary, failure.value.trouble) == (False, "authentication")


async def test_a_frozen_node_is_given_up_after_three_attempts(caller: NodeClient, real_node: XrayNode) -> None:
    impatient = AiohttpTransport(read_s=_READ_S)
    work = _work(4, 1)
    real_node.service.suspend()
    began = time.monotonic()
    try:
        with pytest.raises(NodeError) as failure:
            await NodeClient(impatient, node_at(real_node.url), (real_node.key,)).apply([work])
    finally:
        real_node.service.resume()
        await impatient.close()
    assert failure.value.temporary
    pauses = 0.5 * (2 + 4)  # the longest that the jitter may draw
    assert 3 * _READ_S <= time.monotonic() - began < 3 * _READ_S + pauses + 1
    # what it took while it was frozen and what comes now are the same change: one client
    (added,) = (await caller.apply([work])).answers
    assert added.applied


@pytest.mark.proves("S3-9")
async def test_a_real_node_exchanges_its_certificate_under_load_and_loses_no_call(
    tmp_path: Path,
) -> None:
    node = XrayNode(tmp_path / "node", tls=True)
    at, old = node.certificate, node.pin
    assert at is not None
    assert old is not None
    await node.start()
    transport = AiohttpTransport()
    try:
        new = certificate.make(tmp_path / "next.pem")
        enough, exchanged = asyncio.Event(), asyncio.Event()
        calls = 0

        def pinned(*pins: str) -> Node:
            return dataclasses.replace(node_at(node.url), pins=pins)

        async def call(subscription: int, *pins: str) -> None:
            """On the connection that stands, and on one of its own, as an instance that has just started has it."""
            nonlocal calls
            fresh = AiohttpTransport()
            try:
                for one in (fresh, transport):
                    said = await NodeClient(one, pinned(*pins), (node.key,)).apply([_work(subscription, calls + 1)])
                    assert said.answers[0].applied
                    calls += 1
                    if calls == _CALLS_BEFORE:
                        enough.set()
            finally:
                await fresh.close()

        async def customer(number: int) -> None:
            while not exchanged.is_set():
                await call(number, old, new)
            for _ in range(3):
                await call(number, old, new)

        async def operator() -> None:
            await enough.wait()
            (tmp_path / "next.pem").replace(at)
            exchanged.set()

        async with asyncio.TaskGroup() as everything:
            for number in (1, 2, 3):
                everything.create_task(customer(number))
            everything.create_task(operator())
        await call(4, new)
        with pytest.raises(NodeError) as failure:
            await NodeClient(transport, pinned(old), (node.key,)).apply([_work(5, 1)])
        assert failure.value.trouble == "certificate"
        async with NodeCaller(node.url, node.key, trust=node.trust) as caller:
            health = await caller.health()
            assert (health["pin"], set(await caller.users())) == (new, {"1", "2", "3", "4"})
    finally:
        await transport.close()
        await node.stop()
