"""Every delivery is refused: nothing that runs here fails, and health turns red all the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.webhooks.steps import new_customer
from tests.waiting import until

if TYPE_CHECKING:
    from sandbox.system.system import System

MINUTE = timedelta(minutes=1)


async def _health(system: System) -> tuple[int, dict[str, Any]]:
    answer = await system.call("health", method="GET", headers={"X-Health-Key": system.health_key})
    return answer.status_code, answer.json()


async def _looked(system: System) -> tuple[int, dict[str, Any], list[str]]:
    """Every sweep runs: what health says then, and what of it is about Telegram."""
    for sweep in system.sweeps:
        await system.sweep(sweep)
    status, told = await _health(system)
    return status, told, [one for one in told.get("red", ()) if one.startswith("Telegram")]


@pytest.mark.proves("S2-4b")
async def test_deliveries_with_another_secret_turn_health_red_until_they_arrive(system: System) -> None:
    status, told, red = await _looked(system)
    assert (red, told["webhook"]["is_set"]) == ([], True)  # no traffic is no trouble
    customer = new_customer(system)
    await system.travel(MINUTE)  # setWebhook is taken once a second
    await system.messenger.deliver_to(replace(system._webhook(), secret_token="another-secret-than-the-functions"))
    try:
        before = len(system.telegram.deliveries)
        await customer.user.send("/start")
        await until(lambda: len(system.telegram.deliveries) > before, "a delivery that is refused")
        for _ in range(4):
            seen = len(system.telegram.deliveries)
            await system.travel(MINUTE)
            await until(lambda seen=seen: len(system.telegram.deliveries) > seen, "another one")  # type: ignore[misc]
            status, told, red = await _looked(system)
        answered = {one.status for one in system.telegram.deliveries[before:]} - {None}  # None: under way
        assert answered == {403}
        assert (status, told["ok"], told["webhook"]["pending"]) == (503, False, 1)
        assert red == ["Telegram can't deliver 1 updates: Wrong response from the webhook: 403 Forbidden"]
    finally:
        await system.travel(MINUTE)
        await system.messenger.deliver_to(system._webhook())
    await customer.sees(lambda message: "reply_markup" in message, "the menu")
    _, told, red = await _looked(system)
    assert (red, told["webhook"]["refused_s"]) == ([], None)
