"""The same click twice at once, under ids of its own each: one effect, whatever the button."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.system.customer import buttons_of
from tests.e2e.webhooks.steps import (
    ONE_OF_EACH,
    click_update,
    effects,
    has_key,
    invoice_on,
    message_update,
    new_customer,
    post_update,
)

if TYPE_CHECKING:
    from sandbox.system.customer import Customer
    from sandbox.system.system import System

_ORDERS = (
    "select o.id, o.status, cast(o.purchase_id as text) as purchase_id from orders o"
    " join accounts a on a.id = o.account_id where a.telegram_id = :id"
)


async def _tap_twice(system: System, customer: Customer, screen: dict[str, Any], meaning: str) -> dict[str, Any]:
    """Both at once; the screen as it is afterwards."""
    data = next(data for data in buttons_of(screen) if data.startswith(meaning))
    answers = await asyncio.gather(*(post_update(system, click_update(customer, screen, data)) for _ in range(2)))
    assert [answer.status_code for answer in answers] == [200, 200]
    await system.settled()
    return next(one for one in customer.user.messages if one["message_id"] == screen["message_id"])


@pytest.mark.proves("N-23")
async def test_every_button_of_the_purchase_path_tapped_twice_buys_once(system: System) -> None:
    customer = new_customer(system)
    screen = await customer.start()
    system.cryptopay.latency = 0.3  # the second tap comes while the first one's invoice is being made
    for meaning in ("go:buy", "tariff:basic", "period:30:", "pay:cryptobot"):
        screen = await _tap_twice(system, customer, screen, meaning)
    screen = await _tap_twice(system, customer, screen, "order_id=")  # "check" or "refresh"
    orders = await system.sql(_ORDERS, id=customer.user.id)
    assert [order["status"] for order in orders] == ["open"]
    made = [one for one in system.cryptopay.invoices.values() if one["payload"] == orders[0]["purchase_id"]]
    assert len(made) == 1, "an invoice was made twice"
    invoice = invoice_on(system, screen)
    await system.cryptopay.pay(invoice["invoice_id"], webhook=False)
    screen = await _tap_twice(system, customer, screen, "order_id=")
    await has_key(customer)
    await system.settled()
    assert await effects(system, customer, invoice) == ONE_OF_EACH
    assert [order["status"] for order in await system.sql(_ORDERS, id=customer.user.id)] == ["paid"]
    screen = await _tap_twice(system, customer, screen, "go:key")
    await _tap_twice(system, customer, screen, "go:menu")
    assert await effects(system, customer, invoice) == ONE_OF_EACH


@pytest.mark.proves("N-23")
async def test_two_taps_on_the_trial_give_one(system: System) -> None:
    customer = new_customer(system)
    screen = await _tap_twice(system, customer, await customer.start(), "go:trial")
    await _tap_twice(system, customer, screen, "trial")
    await has_key(customer)
    await system.settled()
    granted = await system.sql(
        "select count(*) as n from subscription_history h join subscriptions s on s.id = h.subscription_id"
        " join accounts a on a.id = s.account_id where a.telegram_id = :id and h.event in ('granted', 'extended')",
        id=customer.user.id,
    )
    assert granted == [{"n": 1}]
    assert (await effects(system, customer)).keys == 1


@pytest.mark.proves("N-23")
async def test_two_commands_at_once_start_one_dialogue_and_one_account(system: System) -> None:
    customer = new_customer(system)
    twins = [message_update(customer.user.id, "/buy") for _ in range(2)]
    answers = await asyncio.gather(*(post_update(system, update) for update in twins))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert await system.sql("select count(*) as n from accounts where telegram_id = :id", id=customer.user.id) == [
        {"n": 1}
    ]
