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
    mine = "from accounts a where a.id = o.account_id and a.telegram_id = :id"
    await system.sql(f"update orders o set status = 'paid', paid_at = atlas.now() {mine}", id=customer.user.id)  # noqa: S608 -- a constant
    with pytest.raises(AssertionError, match="paid_order_has_one_settling_payment"):
        await assert_sound(system)
    await system.sql(f"update orders o set status = 'expired', paid_at = null {mine}", id=customer.user.id)  # noqa: S608 -- a constant
    await assert_sound(system)
