"""What the fixture `invariants_hold` is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.webhooks.steps import assert_sound, new_customer, order

if TYPE_CHECKING:
    from sandbox.system.system import System


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
