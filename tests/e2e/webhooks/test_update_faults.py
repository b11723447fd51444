"""Handlers that hang, fail or die: an update is answered in time, kept, tried again, and has its effect once."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sandbox.system.customer import buttons_of, text_of, urls_of
from tests.e2e.webhooks.steps import (
    UNDONE,
    FunctionLog,
    another,
    deliver_some,
    has_key,
    last_work,
    message_update,
    new_customer,
    new_telegram_id,
    post,
    post_update,
    until_nothing_is_left,
)
from tests.waiting import until

if TYPE_CHECKING:
    from sandbox.system.customer import Customer
    from sandbox.system.system import System

_BUDGET_S = 8.0
_ANSWERED_WITHIN_S = 15.0

_VERSIONS = (
    "select a.telegram_id, f.version from fsm f join accounts a on a.id = f.account_id"
    " where a.telegram_id = any(cast(:ids as bigint[])) order by 1"
)


async def _versions(system: System, customers: list[Customer]) -> list[int]:
    """How often each one's dialogue moved: every /buy moves it by one, so this counts effects."""
    rows = await system.sql(_VERSIONS, ids=[customer.user.id for customer in customers])
    return [row["version"] for row in rows]


def _answers(customer: Customer) -> int:
    return sum("tariff:plus" in "".join(buttons_of(message)) for message in customer.user.messages)


@pytest.mark.proves("S2-1.4")
@pytest.mark.parametrize(
    ("place", "action"),
    [
        ("update.before-effect", "raise"),
        ("update.before-effect", "sleep 9"),
        pytest.param("update.mid-transaction", "sleep 9", marks=pytest.mark.full),
        ("take_effect.before-commit", "sleep 9"),  # out of time, and then the transaction commits all the same
    ],
)
async def test_a_slow_or_failing_handler_is_bounded_kept_and_retried(system: System, place: str, action: str) -> None:
    customer = new_customer(system)
    log = FunctionLog.of(system, "telegram_webhook")
    before = len(system.telegram.deliveries)
    system.arm(place, action)
    await customer.user.send("/buy")
    await customer.sees(lambda message: "tariff:plus" in "".join(buttons_of(message)), "the tariffs", 30)
    await system.settled()
    [delivery] = system.telegram.deliveries[before:]
    assert delivery.status == 200
    assert delivery.duration < _ANSWERED_WITHIN_S
    if action.startswith("sleep"):
        assert delivery.duration >= _BUDGET_S, "the failpoint was not on the way"
    assert log.told() == ["update_kept"]
    assert await _versions(system, [customer]) == [1]
    assert _answers(customer) == 1
    row = await system.sql(
        "select done_at is not null as done, last_error from updates where update_id = :id", id=delivery.update_id
    )
    assert row == [{"done": True, "last_error": None}]
    left = await system.sql(
        "select id from outbox where target = 'task_update' and done_at is null and payload ->> 'update_id' = :id",
        id=str(delivery.update_id),
    )
    assert left == []


@pytest.mark.proves("S2-1.4b")
async def test_what_the_webhook_answers(system: System) -> None:
    """Wrong secret 403, none configured 503, success 200, a failing handler: stored, 200, and done later."""
    telegram_id = new_telegram_id()
    update = message_update(telegram_id)
    known = "select telegram_id from accounts where telegram_id = :id"
    assert (await post_update(system, update, secret="wrong")).status_code == 403
    async with another(system, "telegram_webhook", TELEGRAM_WEBHOOK_SECRET="") as unset:
        headers = {"X-Telegram-Bot-Api-Secret-Token": ""}
        answer = await post(unset, b'{"update_id": 1}', headers)
        assert answer.status_code == 503
        assert "Retry-After" in answer.headers
    assert await system.sql(known, id=telegram_id) == []
    system.arm("update.before-effect", "raise")
    assert (await post_update(system, update)).status_code == 200
    stored = "select body, last_error is not null as failed from updates where update_id = :id"
    rows = await system.sql(stored, id=update["update_id"])
    assert len(rows) == 1

    async def is_done() -> bool:
        return bool(await system.sql(known, id=telegram_id))

    await until(is_done, "the kept update to be done")
    good = await post_update(system, message_update(telegram_id))
    assert good.status_code == 200
    assert good.json()["method"] == "sendMessage"


@pytest.mark.proves("S2-6a")
@pytest.mark.parametrize(
    "place",
    [
        # before COMMIT is sent they are one to Postgres: nothing is there
        *(pytest.param(place, marks=pytest.mark.full) for place in ("update.before-effect", "update.mid-transaction")),
        "take_effect.before-commit",
        "take_effect.in-commit",
        "update.after-commit",
        "update.before-reply",
        pytest.param("settle.before-claim", marks=pytest.mark.full),
        "settle.mid-transaction",
    ],
)
async def test_a_kill_in_the_middle_of_a_request_loses_nothing(system: System, place: str) -> None:
    """The trial is the update with the most to lose: mark, grant, follow-up work and reply in one."""
    customer, since = new_customer(system), await last_work(system)
    offer = await customer.press(await customer.start(), "go:trial")
    if place.startswith("settle"):
        screen = await customer.press(await customer.press(await customer.start(), "go:buy"), "tariff:basic")
        screen = await customer.press(await customer.press(screen, "period:30:"), "pay:cryptobot")
        number = max(system.cryptopay.invoices)
        system.arm(place)
        await system.cryptopay.pay(number)
    else:
        system.arm(place)
        await customer.user.click(offer["message_id"], "trial")

    async def was_reached() -> bool:
        return not system.failpoints.is_armed(place)

    await until(was_reached, f"{place} to be reached")
    await until_nothing_is_left(system, since)
    await has_key(customer)
    await system.settled()
    granted = await system.sql(
        "select h.event, h.source from subscription_history h join subscriptions s on s.id = h.subscription_id"
        " join accounts a on a.id = s.account_id where a.telegram_id = :id and h.event in ('granted', 'extended')",
        id=customer.user.id,
    )
    assert granted == [{"event": "granted", "source": "payment" if place.startswith("settle") else "trial"}]
    keys = [message for message in customer.user.messages if "Your key is ready" in text_of(message)]
    assert len(keys) == 1


@pytest.mark.proves("S2-6a")
@pytest.mark.parametrize(
    ("place", "taps_again"),
    [
        ("invoice.before-call", False),
        ("invoice.after-call", True),
        ("invoice.after-commit", False),
        pytest.param("invoice.before-call", True, marks=pytest.mark.full),
        pytest.param("invoice.after-call", False, marks=pytest.mark.full),
        pytest.param("invoice.after-commit", True, marks=pytest.mark.full),
    ],
)
async def test_a_kill_between_the_two_steps_of_an_order_leaves_one_order_with_one_invoice(
    system: System, place: str, *, taps_again: bool
) -> None:
    """The order is there and the process that was to get its invoice is not: no button has to be pressed for it to be shown."""
    customer, since = new_customer(system), await last_work(system)
    screen = await customer.press(await customer.press(await customer.start(), "go:buy"), "tariff:basic")
    screen = await customer.press(screen, "period:30:")
    made = len(system.cryptopay.invoices)
    pay = next(data for data in buttons_of(screen) if data.startswith("pay:cryptobot"))
    system.arm(place)
    await customer.user.click(screen["message_id"], pay)

    async def was_reached() -> bool:
        return not system.failpoints.is_armed(place)

    await until(was_reached, f"{place} to be reached")
    if taps_again:
        await customer.user.click(screen["message_id"], pay)
    await until_nothing_is_left(system, since)
    await customer.sees(lambda message: any("/invoice/" in url for url in urls_of(message)), "the invoice", 30)
    assert len(system.cryptopay.invoices) == made + 1
    orders = await system.sql(
        "select o.status, o.invoice_id is not null as known from orders o join accounts a on a.id = o.account_id"
        " where a.telegram_id = :id",
        id=customer.user.id,
    )
    assert orders == [{"status": "open", "known": True}]


@pytest.mark.proves("N-16")
@pytest.mark.parametrize("updates", [150, pytest.param(300, marks=pytest.mark.full)])
async def test_hundreds_of_updates_and_kills_at_random_moments_lose_nothing(system: System, updates: int) -> None:
    """Three updates each of many people while everything is killed again and again: each has its effect exactly once.

    One in ten is made to fail, so that a good part of what was answered 200 is still to be done when the kill comes.
    """
    chance = random.Random(16)  # noqa: S311 -- the same moments in each run, not a secret
    since = await last_work(system)
    customers = [new_customer(system, f"Anna {number}") for number in range(updates // 3)]
    before = len(system.telegram.deliveries)
    sent = []
    for customer in customers:
        sent += [await customer.user.send("/buy") for _ in range(3)]
    delivered: set[int] = set()
    kills = 0
    while len(delivered) < len(sent):
        goal = min(len(sent), len(delivered) + chance.randrange(updates // 5, updates // 2))
        delivered = await deliver_some(system, before, set(sent), goal)
        await system.kill_functions()
        kills += 1
        await system.start_functions(["telegram_webhook", "task_update", "sweep_outbox"])
        await system.travel(timedelta(seconds=5))
    assert kills >= 3
    await system.start_functions()
    assert system.telegram.pending == []
    stored = await system.sql(
        "select count(*) as n from updates where update_id = any(cast(:ids as bigint[]))", ids=sent
    )
    assert stored == [{"n": updates}], "an update that was answered 200 is not there any more"
    kept = await system.sql(
        "select count(*) as n from outbox where target = 'task_update' and id > :since", since=since
    )
    assert kept[0]["n"] >= updates // 60, "hardly anything was left to be done after its 200"
    await until_nothing_is_left(system, since)
    await system.settled()
    assert await _versions(system, customers) == [3] * len(customers)
    # an answer may come twice when the process dies with it half delivered; it never fails to come
    assert min(_answers(customer) for customer in customers) >= 3
    undone = await system.sql(f"{UNDONE} and update_id = any(cast(:ids as bigint[]))", ids=sent)
    assert undone == []
