"""S3-7, row by row: a cause comes and goes, and everything is as if it had never been (tests/integration/sweeps/failure_matrix.py)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lib import bootstrap
from lib.nodes.transport import NodeError
from tests.integration.sweeps.failure_matrix import BUYS, ENDS, RENEWS, Shop
from tests.integration.sweeps.nodes import Network

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Database
    from tests.integration.sweeps.runs import Queue


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """Two nodes, and no pause between the attempts of a call."""

    async def no_pause(_seconds: float) -> None:
        """At once."""

    monkeypatch.setenv("XRAY_API_KEY", "k")
    monkeypatch.setattr("lib.nodes.client.sleep", no_pause)
    return Network(2)


@pytest.fixture
async def shop(
    processes: Callable[[int], list[Database]],
    network: Network,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Shop:
    (db,) = processes(1)
    monkeypatch.setattr(bootstrap, "node_transport", lambda: network)
    monkeypatch.setattr(bootstrap, "database", lambda: db)
    assert queue.tasks == {}
    made = Shop(db, network, caplog)
    made.count_calls(monkeypatch)
    await made.open()
    return made


def _lost_answer(_answer: dict[str, Any]) -> tuple[int, bytes]:
    raise NodeError("TimeoutError", temporary=True)


@pytest.mark.proves("S3-7.node-timeout")
async def test_a_node_whose_answers_come_too_late(shop: Shop) -> None:
    """It does what it is told, and its answers are lost."""
    shop.node(2).on_its_way = _lost_answer
    await shop.live_on()
    assert 1 in await shop.let_in(BUYS)
    assert await shop.let_in(ENDS) == []
    shop.node(2).on_its_way = None
    await shop.healed()
    assert await shop.let_in(RENEWS) == await shop.let_in(BUYS) == [1, 2]


@pytest.mark.proves("S3-7.malformed-json")
@pytest.mark.parametrize("body", [b"<html>", b'{"items": null}', json.dumps([]).encode()])
async def test_a_node_whose_answers_can_not_be_read(shop: Shop, body: bytes) -> None:
    shop.node(2).nonsense = 200, body
    await shop.live_on()
    assert await shop.let_in(BUYS) == [1]
    assert "node_call_failed" in shop.events("ERROR")
    shop.node(2).nonsense = None
    await shop.healed()
    assert await shop.let_in(BUYS) == [1, 2]
