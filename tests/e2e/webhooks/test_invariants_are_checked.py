"""What the fixture `invariants_hold` is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.node.caller import HOUR_MS, NodeCaller, now_ms, unwanted, wanted
from tests.e2e.webhooks.steps import assert_sound, new_customer, order

if TYPE_CHECKING:
    from sandbox.system.system import System

_NO_SUCH = "900000000"
_YEAR_MS = 365 * 24 * HOUR_MS


@pytest.mark.proves("S4-15")
async def test_a_violation_is_noticed_after_a_test(system: System, request: pytest.FixtureRequest) -> None:
    """The check that every test of this folder ends with fails while something is wrong, and only then."""
    assert "invariants_hold" in request.fixturenames
    customer = new_customer(system)
    await order(system, customer)
    await system.sql("update accounts set trial_used_at = atlas.now() where telegram_id = :id", id=customer.user.id)
    with pytest.raises(AssertionError, match="trial_mark_and_grant_together"):
        await assert_sound(system)
    await system.sql("update accounts set trial_used_at = null where telegram_id = :id", id=customer.user.id)
    await assert_sound(system)


@pytest.mark.proves("S4-15")
async def test_a_client_on_a_node_that_has_no_row_is_noticed_after_a_test(system: System) -> None:
    """What reconciliation is for must not come of anything else."""
    node = system.nodes[1]
    async with NodeCaller(node.url, node.key, time_ms=None, trust=node.trust) as caller:
        await caller.apply(wanted(_NO_SUCH, 1, expiry_ms=now_ms() + 10 * _YEAR_MS))
        with pytest.raises(AssertionError, match=f"client_on_a_node_has_its_row.*{_NO_SUCH} on second"):
            await assert_sound(system)
        await caller.apply(unwanted(_NO_SUCH, 2))
    await assert_sound(system)
