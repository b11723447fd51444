"""One payment, however the news of it comes: one settlement, one grant, one receipt, one key."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from sandbox.cryptopay.faults import Standing
from tests.e2e.webhooks.steps import (
    ONE_OF_EACH,
    SIGNATURE_HEADER,
    another,
    click_update,
    effects,
    has_key,
    invoice_on,
    new_customer,
    order,
    paid_body,
    post,
    post_payment,
    post_update,
)
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sandbox.system.system import System


@pytest.mark.proves("S0-4")
@pytest.mark.parametrize("first", ["webhook", "sweep", "button"])
async def test_webhook_sweep_and_button_at_once_settle_once(system: System, first: str) -> None:
    """The first to come is held for a moment inside the settlement, so the others really meet it there."""
    customer = new_customer(system)
    invoice = await order(system, customer)
    screen = customer.user.messages[-1]
    button = screen["reply_markup"]["inline_keyboard"][1][0]["callback_data"]
    await system.cryptopay.pay(invoice["invoice_id"], webhook=False)
    ways: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
        "webhook": lambda: post_payment(system, paid_body(system, invoice)),
        "sweep": lambda: system.sweep("payments"),
        "button": lambda: post_update(system, click_update(customer, screen, button)),
    }
    system.arm("settle.after-claim", "sleep 0.7")
    leader = asyncio.create_task(ways.pop(first)())
    await until(lambda: not system.failpoints.is_armed("settle.after-claim"), "the leader's claim")
    answers = [*await asyncio.gather(*(way() for way in ways.values())), await leader]
    for answer in answers:
        assert not isinstance(answer, httpx.Response) or answer.status_code == 200
    await has_key(customer)
    await system.settled()
    assert await effects(system, customer, invoice) == ONE_OF_EACH
    events = await system.sql(
        "select status from payment_events where external_id = :id", id=str(invoice["invoice_id"])
    )
    assert events == [{"status": "settled"}]


@pytest.mark.proves("S4-3.2")
async def test_sweep_and_webhook_leave_the_same_behind(system: System) -> None:
    """The same one transaction: what it left differs in who brought the news, and in nothing else."""
    left = []
    for by_sweep in (False, True):
        customer = new_customer(system)
        invoice = await order(system, customer)
        await system.cryptopay.pay(invoice["invoice_id"], webhook=not by_sweep)
        if by_sweep:
            answer = await system.sweep("payments")
            assert answer["done"] >= 1
        await has_key(customer)
        await system.settled()
        assert await effects(system, customer, invoice) == ONE_OF_EACH
        left.append(
            await system.sql(
                "select e.status, e.provider, p.kind, p.amount, p.currency, p.paid_asset, p.paid_amount, p.fee_amount,"
                " o.status as order_status, t.kind as transfer, count(*) as entries, sum(l.amount) as moved"
                " from payment_events e join payments p on p.event_id = e.id join orders o on o.id = p.order_id"
                " join ledger_transfers t on t.payment_id = p.id join ledger_entries l on l.transfer_id = t.id"
                " where e.external_id = :id group by e.id, p.id, o.id, t.id",
                id=str(invoice["invoice_id"]),
            )
        )
    assert left[0] == left[1]
    assert len(left[0]) == 1


@pytest.mark.proves("S1-5")
@pytest.mark.proves("S3-HR-2")
async def test_replays_are_absorbed_a_day_later_too(system: System) -> None:
    customer = new_customer(system)
    invoice = await order(system, customer)
    purchase_id = invoice["payload"]
    body = paid_body(system, await system.cryptopay.pay(invoice["invoice_id"], webhook=False))
    assert [(await post_payment(system, body)).json()["outcome"] for _ in range(3)] == ["settled", *["repeated"] * 2]
    await has_key(customer)
    await system.travel(timedelta(days=1, minutes=5))
    assert (await post_payment(system, body)).json()["outcome"] == "repeated"
    [delivery] = await system.cryptopay.send_webhook(invoice["invoice_id"])  # as the provider would write it that day
    assert delivery.status == 200
    await system.sweep("payments")
    await system.sweep("outbox")
    await system.settled()
    assert await effects(system, customer, invoice) == ONE_OF_EACH
    rows = await system.sql(
        "select cast(purchase_id as text) as id from orders where invoice_id = :id", id=str(invoice["invoice_id"])
    )
    assert rows == [{"id": purchase_id}]


@pytest.mark.proves("S3-HR-2")
async def test_the_purchase_id_stays_while_the_provider_fails(system: System) -> None:
    """An invoice that was made although its making was not heard of is found by the purchase id and adopted."""
    customer = new_customer(system)
    screen = await customer.press(await customer.start(), "go:buy")
    screen = await customer.press(screen, "tariff:basic")
    screen = await customer.press(screen, "period:30:")
    system.cryptopay.fail_next("createInvoice", done=True)
    screen = await customer.press(screen, "pay:cryptobot")
    screen = await customer.press(screen, "order_id=")
    invoice = invoice_on(system, screen)
    mine = await system.sql(
        "select cast(purchase_id as text) as purchase_id from orders o join accounts a on a.id = o.account_id"
        " where a.telegram_id = :id",
        id=customer.user.id,
    )
    assert mine == [{"purchase_id": invoice["payload"]}]
    made = [one for one in system.cryptopay.invoices.values() if one["payload"] == invoice["payload"]]
    assert len(made) == 1


@pytest.mark.proves("N-1")
async def test_money_after_the_order_expired_settles(system: System) -> None:
    """Paid in the last moment, and the news comes when the order is long closed and no sweep asks any more."""
    customer = new_customer(system)
    invoice = await order(system, customer)
    await system.sweep("payments")  # and leaves its second pass, which becomes due with the journey and asks too
    await system.cryptopay.pay(invoice["invoice_id"], webhook=False)
    system.cryptopay.faults.standing = Standing(refused=1.0)
    try:
        await system.travel(timedelta(hours=3))
        await system.settled()
        await system.sweep("payments")
    finally:
        system.cryptopay.faults.standing = Standing()
    status = "select status from orders where invoice_id = :id"
    assert await system.sql(status, id=str(invoice["invoice_id"])) == [{"status": "expired"}]
    [delivery] = await system.cryptopay.send_webhook(invoice["invoice_id"])
    assert delivery.status == 200
    await has_key(customer)
    await system.settled()
    assert await effects(system, customer, invoice) == ONE_OF_EACH
    assert await system.sql(status, id=str(invoice["invoice_id"])) == [{"status": "paid"}]


@pytest.mark.proves("N-19")
@pytest.mark.proves("S1-5")
async def test_twenty_copies_at_once_over_two_instances(system: System) -> None:
    customer = new_customer(system)
    invoice = await order(system, customer)
    await system.cryptopay.pay(invoice["invoice_id"], webhook=False)
    body = paid_body(system, invoice)
    async with another(system, "cryptobot_webhook") as second:
        headers = {SIGNATURE_HEADER: system.cryptopay.sign(body)}
        ways = [lambda: post_payment(system, body), lambda: post(second, body, headers)]
        answers = await asyncio.gather(*(ways[number % 2]() for number in range(20)))
        await has_key(customer)
        await system.settled()
    assert [answer.status_code for answer in answers] == [200] * 20
    assert Counter(answer.json()["outcome"] for answer in answers) == {"settled": 1, "repeated": 19}
    assert await effects(system, customer, invoice) == ONE_OF_EACH
    # whatever reached Telegram for this person, edits and failures included
    sent = [call for call in system.telegram.calls if str(call.params.get("chat_id")) == str(customer.user.id)]
    said = [json.dumps(call.params, ensure_ascii=False) for call in sent]
    assert sum("Payment received" in text for text in said) == 1
    assert sum("Your key is ready" in text for text in said) == 1
