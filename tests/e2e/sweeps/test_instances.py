"""Any number of instances: whichever does the work, it is done once (S0-1, S0-2, S0-3, S2-5.6, S1-6)."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.system.customer import buttons_of, link_of, text_of, urls_of
from tests.e2e.sweeps.customers import (
    a_customer,
    accept_trial,
    keys_sent,
    on_nodes,
    order,
    said,
    subscription,
)

if TYPE_CHECKING:
    from sandbox.system.customer import Customer
    from sandbox.system.system import System


def handled_by(system: System, target: str, event: str) -> list[int]:
    """Of this kind, how much each instance has done so far."""
    mark = f'"event": "{event}"'
    return [process.log.read_text(errors="replace").count(mark) for process in system.fleet.processes[target]]


async def sweep_by_all(system: System, sweep: str) -> list[dict[str, Any]]:
    """Every instance of a sweep at the same moment, past the gateway."""
    target = f"sweep_{sweep}"
    count = len(system.fleet.processes[target])
    answers = await asyncio.gather(*(system.call(target, instance=number, json={}) for number in range(count)))
    assert [answer.status_code for answer in answers] == [200] * count, [answer.text for answer in answers]
    return [answer.json() for answer in answers]


async def holds_one_client(system: System, customer: Customer) -> dict[str, Any]:
    """Each node holds this customer once, under the UUID that Postgres wants; their row."""
    row = await subscription(system, customer)
    held = (await on_nodes(system)).get(str(row["id"]), [])
    assert [(one["uuid"], one["applied"]) for one in held] == [(str(row["uuid"]), True)] * len(system.nodes)
    assert (row["status"], row["activation_status"]) == ("active", "active")
    return row


@pytest.mark.proves("S0-1")
async def test_a_dialogue_and_a_purchase_wander_from_instance_to_instance(several: System) -> None:
    updates = handled_by(several, "telegram_webhook", "update_end")
    customer = a_customer(several)
    screen = await customer.press(await customer.start(), "go:buy")
    screen = await customer.press(screen, "tariff:plus")
    screen = await customer.press(screen, "period:90:")
    # back and forth: each instance meets a state that the other one made
    screen = await customer.press(screen, "tariff:plus")
    screen = await customer.press(screen, "period:90:")
    gone = several.fleet.processes["telegram_webhook"][0]
    await gone.kill()
    screen = await customer.press(screen, "pay:cryptobot")
    await gone.start()
    url = next(url for url in urls_of(screen) if "/invoice/" in url)
    invoice = next(number for number, one in several.cryptopay.invoices.items() if one["bot_invoice_url"] == url)
    await several.cryptopay.pay(invoice, times_webhook=2)
    link = await customer.gets_key()
    await several.settled()
    assert await customer.shown_key() == link
    row = await holds_one_client(several, customer)
    assert row["tariff"] == "plus"
    assert len(said(customer, "Payment received")) == len(keys_sent(customer)) == 1
    after = handled_by(several, "telegram_webhook", "update_end")
    assert all(now > before for before, now in zip(updates, after, strict=True)), (updates, after)
    assert await several.invariants() == []


@pytest.mark.proves("S0-1")
async def test_customers_at_once_are_served_by_all_instances(several: System) -> None:
    notified = handled_by(several, "task_notify", "task_end")
    provisioned = handled_by(several, "task_provision", "task_end")
    people = [a_customer(several) for _ in range(8)]
    await asyncio.gather(*(accept_trial(customer) for customer in people))
    await asyncio.gather(*(customer.gets_key() for customer in people))
    await several.settled()
    for customer in people:
        await holds_one_client(several, customer)
        assert len(keys_sent(customer)) == 1
    for target, before in (("task_notify", notified), ("task_provision", provisioned)):
        after = handled_by(several, target, "task_end")
        assert sum(after) - sum(before) >= len(people)
        assert all(now > was for was, now in zip(before, after, strict=True)), (target, before, after)
    assert await several.invariants() == []


async def test_tasks_that_all_come_twice_and_out_of_order_have_one_effect(several: System) -> None:
    faults = several.tasks.faults
    faults.double_share, faults.disorder_s = 1.0, 1.0
    attempts = len(several.tasks.attempts)
    try:
        people = [a_customer(several) for _ in range(4)]
        await asyncio.gather(*(accept_trial(customer) for customer in people))
        await asyncio.gather(*(customer.gets_key() for customer in people))
        await several.settled()
    finally:
        faults.double_share = faults.disorder_s = 0.0
    made = Counter(attempt.task for attempt in several.tasks.attempts[attempts:])
    assert len(made) >= 2 * len(people)
    assert set(made.values()) == {2}, made
    for customer in people:
        await holds_one_client(several, customer)
        assert len(keys_sent(customer)) == 1
    assert await several.invariants() == []


async def _pending(system: System, count: int) -> list[Customer]:
    """Customers with a trial that no node knows of; the queue that would tell it is held."""
    system.tasks.pause("nodes")
    people = [a_customer(system) for _ in range(count)]
    for customer in people:
        await accept_trial(customer)
    await system.telegram.idle()
    return people


@pytest.mark.proves("S0-2")
@pytest.mark.proves("S4-3.1")
@pytest.mark.parametrize("rows", [1, 50])
async def test_four_activation_sweeps_claim_each_row_once(several: System, rows: int) -> None:
    people = await _pending(several, 1)
    if rows > 1:  # the rest are copies of the customer's grant, made at once
        await several.sql(
            "with people as (insert into accounts (telegram_id, first_name, language, trial_used_at)"
            "  select 900000000 + n, 'Copy', 'en', atlas.now() from generate_series(2, :rows) n returning id),"
            " granted as (insert into subscriptions (account_id, tariff, source, status, activation_status, uuid, started_at,"
            "  expires_at, pending_since) select id, 'basic', 'trial', 'active', 'pending', gen_random_uuid(), atlas.now(),"
            "  atlas.now() + interval '72 hours', atlas.now() from people returning *),"
            " counted as (update trial_days set used = used + :rows - 1)"
            " insert into subscription_history (subscription_id, event, source, tariff, uuid, version, expires_at)"
            " select id, 'granted', source, tariff, uuid, version, expires_at from granted",
            rows=rows,
        )
    held_before = await on_nodes(several)
    answers = await sweep_by_all(several, "activation")
    ran = [answer for answer in answers if "skipped" not in answer]
    assert sum(answer["claimed"] for answer in ran) == sum(answer["done"] for answer in ran) == 2 * rows, answers
    assert {answer["skipped"] for answer in answers if "skipped" in answer} <= {"running"}
    assert len(await on_nodes(several)) - len(held_before) == rows
    assert all(len(clients) == len(several.nodes) for clients in (await on_nodes(several)).values())
    row = await holds_one_client(several, people[0])
    keys = await several.sql("select key from messages where kind = 'key' and account_id = :id", id=row["account_id"])
    assert len(keys) == 1
    several.tasks.resume("nodes")
    await several.settled()
    assert len(keys_sent(people[0])) == 1
    assert await several.invariants() == []


@pytest.mark.proves("S0-3")
async def test_four_expiry_sweeps_end_each_access_once(several: System) -> None:
    people = [a_customer(several) for _ in range(6)]
    await asyncio.gather(*(accept_trial(customer) for customer in people))
    await asyncio.gather(*(customer.gets_key() for customer in people))
    await several.settled()
    rows = [await subscription(several, customer) for customer in people]
    await several.travel(max(row["expires_at"] for row in rows) - several.clock.now())
    told = await several.sql("select id from messages where kind = 'expired'")
    answers = await sweep_by_all(several, "expiry")
    await several.settled()
    ended = len(await several.sql("select id from messages where kind = 'expired'")) - len(told)
    # each access that ended counts three times: once in the books, once on each node
    assert sum(answer.get("done", 0) for answer in answers) == 3 * ended, answers
    held = await on_nodes(several)
    for customer, row in zip(people, rows, strict=True):
        assert len(said(customer, "The free period has ended")) == 1
        assert str(row["id"]) not in held
        events = await several.sql(
            "select event from subscription_history where subscription_id = :id and event = 'expired'", id=row["id"]
        )
        assert len(events) == 1
    again = await sweep_by_all(several, "expiry")
    assert sum(answer.get("claimed", 0) for answer in again) == 0, again
    assert await several.sql("select subscription_id from node_clients where not wanted") == []
    assert await several.invariants() == []


@pytest.mark.proves("S2-5.6")
@pytest.mark.proves("S4-12.activation")
async def test_payment_path_and_sweep_provision_at_the_same_moment(several: System) -> None:
    for _ in range(4):
        customer = a_customer(several)
        invoice = await order(several, customer)
        several.tasks.pause("nodes")
        await several.cryptopay.pay(invoice)
        await several.cryptopay.idle()
        several.tasks.resume("nodes")
        await sweep_by_all(several, "activation")
        link = await customer.gets_key()
        await several.settled()
        await sweep_by_all(several, "activation")
        await several.settled()
        await holds_one_client(several, customer)
        assert len(keys_sent(customer)) == 1
        assert link_of({"text": keys_sent(customer)[0]}) == link
    assert await several.invariants() == []


@pytest.mark.proves("S1-6")
async def test_looking_at_ended_access_ends_nothing(several: System) -> None:
    customer = a_customer(several)
    await accept_trial(customer)
    await customer.gets_key()
    await several.settled()
    row = await subscription(several, customer)
    await several.travel(row["expires_at"] - several.clock.now())
    before = await _footprint(several, row["id"])
    menu = await customer.start()
    profile = await customer.press(menu, "go:profile")
    assert link_of(profile) is None
    assert "go:key" not in buttons_of(profile)
    assert "ended" in text_of(profile).lower()
    for place in ("go:key", "go:qr", "go:profile"):
        await customer.user.wait_for_answer(await customer.user.click_raw(profile["message_id"], place))
    await several.settled()
    assert link_of(await customer.sees(buttons_of, "a screen")) is None
    assert await _footprint(several, row["id"]) == before
    await several.sweep("expiry")
    assert (await subscription(several, customer))["status"] == "expired"
    assert await several.invariants() == []


@pytest.mark.proves("N-6")
async def test_the_menu_offers_the_trial_exactly_when_a_tap_gives_it(several: System) -> None:
    new, used, paid = (a_customer(several) for _ in range(3))
    await accept_trial(used)
    await several.cryptopay.pay(await order(several, paid))
    await paid.gets_key()
    await used.gets_key()
    await several.settled()
    for customer, may in ((new, True), (used, False), (paid, False)):
        menu = await customer.start()
        assert ("go:trial" in buttons_of(menu)) is may, menu
        taps = [await customer.user.click_raw(menu["message_id"], "trial") for _ in range(5)]
        for tap in taps:
            await customer.user.wait_for_answer(tap)
        await several.settled()
        trials = await several.sql(
            "select h.id from subscription_history h join subscriptions s on s.id = h.subscription_id"
            " where s.account_id = (select id from accounts where telegram_id = :id) and h.source = 'trial' and event = 'granted'",
            id=customer.user.id,
        )
        assert len(trials) == (0 if customer is paid else 1)
        assert len(keys_sent(customer)) == 1
    assert await several.invariants() == []


async def _footprint(system: System, subscription_id: int) -> tuple[Any, ...]:
    """Everything that expiry work would change."""
    return (
        await system.sql("select *, xmin from subscriptions where id = :id", id=subscription_id),
        await system.sql("select *, xmin from node_clients where subscription_id = :id", id=subscription_id),
        await system.sql("select id from subscription_history"),
        await system.sql("select id from outbox"),
        await system.sql("select id from messages"),
        (await on_nodes(system)).get(str(subscription_id)),
    )
