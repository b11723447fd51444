"""The node client and the real node service on the real Xray-core: the same rules as its unit tests say (S3-MR-1)."""

from __future__ import annotations

import dataclasses
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from lib.domain.provisioning import Node, Work
from lib.nodes import client as node_client
from lib.nodes.client import NodeClient, NodeError
from sandbox.node.lab import ShareLink, XrayNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.proves("S3-MR-1")
_READ_S = 0.5


@pytest.fixture(scope="module")
async def real_node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[XrayNode]:
    running = await XrayNode(tmp_path_factory.mktemp("node")).start()
    yield running
    await running.stop()


@pytest.fixture
async def caller(real_node: XrayNode) -> AsyncIterator[NodeClient]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield NodeClient(client, Node(1, "first", real_node.url, "XRAY_API_KEY"), real_node.key)


def _work(subscription_id: int, version: int, *, wanted: bool = True) -> Work:
    end = datetime.now(UTC) + timedelta(hours=1)
    return Work(subscription_id, 1, uuid.uuid4(), version, wanted, end, uuid.uuid4())


async def test_add_again_remove_and_remove_again(caller: NodeClient, real_node: XrayNode) -> None:
    work = _work(1, 1)
    (added,) = await caller.apply([work])
    assert added.applied
    link = ShareLink.parse(str(added.link))
    assert (link.uuid, link.port, link.public_key) == (str(work.uuid), real_node.port, real_node.public_key)
    assert (await caller.apply([work]))[0].link == added.link
    removal = dataclasses.replace(work, version=2, wanted=False)
    for _ in range(3):
        (removed,) = await caller.apply([removal])
        assert (removed.applied, removed.error) == (True, None)
    (late,) = await caller.apply([work])
    assert (late.applied, late.held_version) == (False, 2)


@pytest.mark.proves("S0-3")
async def test_removing_who_never_was_there_is_success(caller: NodeClient) -> None:
    (removed,) = await caller.apply([_work(2, 5, wanted=False)])
    assert removed.applied


async def test_a_stranger_is_refused_at_once(real_node: XrayNode) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        stranger = NodeClient(client, Node(1, "first", real_node.url, "XRAY_API_KEY"), "another-key")
        with pytest.raises(NodeError, match="does not know our key") as failure:
            await stranger.apply([_work(3, 1)])
    assert not failure.value.temporary


async def test_a_frozen_node_is_given_up_after_three_attempts(
    caller: NodeClient, real_node: XrayNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_client, "READ_S", _READ_S)
    work = _work(4, 1)
    real_node.service.suspend()
    began = time.monotonic()
    try:
        with pytest.raises(NodeError) as failure:
            await caller.apply([work])
    finally:
        real_node.service.resume()
    assert failure.value.temporary
    pauses = 0.5 * (2 + 4)  # the longest that the jitter may draw
    assert 3 * _READ_S <= time.monotonic() - began < 3 * _READ_S + pauses + 1
    # what it took while it was frozen and what comes now are the same change: one client
    (added,) = await caller.apply([work])
    assert added.applied
