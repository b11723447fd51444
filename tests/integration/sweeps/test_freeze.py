"""Access that stands still: nodes hold nothing, the end moves by the time that it stood, and whatever comes meanwhile has its outcome.

The table of docs/product.md (Freeze), a test for each row.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from functions.sweeps import sweep_activation
from lib.domain import freezing, refunds_by_hand, reissue, revoking, subscriptions, trial
from lib.domain.freezing import Frozen, Refusal
from lib.domain.refunds_by_hand import Route, Wanted
from lib.domain.reissue import Reissued
from lib.domain.suspense_by_hand import By
from tests.integration.sweeps.grants import PRICES, at_the_start, pay
from tests.integration.sweeps.lives import DAY, OPERATOR, bought, customer, order
from tests.integration.sweeps.runs import sweep_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Database, Transaction
    from tests.integration.sweeps.lives import Customer
    from tests.integration.sweeps.nodes import Network

RULES = PRICES.access
_MINUTE = timedelta(minutes=1)


def freeze(tx: Transaction, account: int, days: int = 10, end: int | None = None) -> Frozen | Refusal:
    return freezing.freeze(tx, account, days, RULES, correlation_id="c", end=end)


def by_operator(tx: Transaction, account: int, days: int = 10) -> Frozen | Refusal:
    return freezing.freeze(tx, account, days, RULES, correlation_id="c", actor_id=OPERATOR)


def thaw(tx: Transaction, account: int, end: int | None = None) -> Frozen | Refusal:
    return freezing.thaw_now(tx, account, correlation_id="c", end=end)


@pytest.fixture
async def anna(processes: Callable[[int], list[Database]], two_nodes: Network) -> Customer:
    return await customer(processes(1)[0], two_nodes)


async def frozen(anna: Customer, days: int = 10) -> None:
    assert isinstance(await anna.db.run(freeze, anna.account, days), Frozen)
    await anna.settle()
    assert anna.keys() == [set(), set()]


@pytest.mark.proves("N-37")
async def test_it_leaves_every_node_keeps_its_key_and_comes_back_by_itself(anna: Customer) -> None:
    before, link = await anna.held(), await anna.link()
    await frozen(anna)
    held = await anna.held()
    assert (held.status, held.uuid, held.expires_at) == ("frozen", before.uuid, before.expires_at + 10 * DAY)
    assert await anna.link() is None
    # nothing ends it before its time, and no end is due meanwhile
    await anna.passes(10 * DAY - _MINUTE)
    await sweep_activation._activate(sweep_run(anna.db, "activation"))
    assert (await anna.db.run(subscriptions.expire, 10, "c")).count == 0
    assert anna.keys() == [set(), set()]
    await anna.passes(3 * _MINUTE)  # the sweep is two minutes late: they are the customer's
    await sweep_activation._activate(sweep_run(anna.db, "activation"))
    after = await anna.held()
    assert (after.status, after.uuid, after.activation_status) == ("active", before.uuid, "active")
    assert 2 * _MINUTE <= after.expires_at - held.expires_at < 3 * _MINUTE
    assert anna.keys() == [{str(before.uuid)}] * 2
    assert await anna.link() == link
    assert await anna.history() == ["granted", "frozen", "thawed"]
    told = await anna.db.run(
        lambda tx: tx.values("select kind from messages where kind in ('thawed', 'key') order by id")
    )
    assert told == ["key", "thawed"]  # one key, one piece of news


@pytest.mark.proves("N-37")
async def test_it_is_thawed_sooner_and_only_the_time_that_it_stood_is_made_good(anna: Customer) -> None:
    before = await anna.held()
    await frozen(anna, 30)
    await anna.passes(4 * DAY)
    thawed = await anna.db.run(thaw, anna.account)
    assert isinstance(thawed, Frozen)
    await anna.settle()
    after = await anna.held()
    assert timedelta(0) <= after.expires_at - before.expires_at - 4 * DAY < _MINUTE
    assert anna.keys() == [{str(before.uuid)}] * 2
    assert await anna.db.run(thaw, anna.account) is Refusal.NOT_FROZEN


@pytest.mark.proves("N-37")
async def test_once_in_thirty_days_for_one_to_thirty_days(anna: Customer) -> None:
    for days in (0, -1, 31, 10**6):
        assert await anna.db.run(freeze, anna.account, days) is Refusal.DAYS
    assert isinstance(await anna.db.run(by_operator, anna.account), Frozen)  # an operator's is not counted
    assert await anna.db.run(freeze, anna.account) is Refusal.FROZEN
    assert isinstance(await anna.db.run(thaw, anna.account), Frozen)
    await frozen(anna, 1)
    await anna.db.run(thaw, anna.account)
    await anna.passes(20 * DAY)
    assert await anna.db.run(freeze, anna.account) is Refusal.TOO_OFTEN
    assert isinstance(await anna.db.run(by_operator, anna.account), Frozen)
    await anna.db.run(bought)
    await anna.db.run(thaw, anna.account)
    await anna.passes(10 * DAY)
    assert isinstance(await anna.db.run(freeze, anna.account), Frozen)


@pytest.mark.proves("N-37")
async def test_a_trial_is_not_frozen_and_its_time_is_kept_beside_paid_time(
    processes: Callable[[int], list[Database]], two_nodes: Network
) -> None:
    anna = await customer(processes(1)[0], two_nodes, trial=True)
    assert await anna.db.run(freeze, anna.account) is Refusal.TRIAL
    assert await anna.db.run(by_operator, anna.account) is Refusal.TRIAL
    await anna.db.run(bought)
    before = await anna.held()
    await frozen(anna, 5)
    held = await anna.held()
    assert before.trial_until is not None
    assert held.trial_until == before.trial_until + 5 * DAY


@pytest.mark.proves("N-37")
async def test_what_is_bought_or_given_meanwhile_waits_with_the_rest(anna: Customer) -> None:
    before = await anna.held()
    await frozen(anna)
    await anna.passes(2 * DAY)
    assert not await anna.db.run(trial.eligible, anna.account)
    held = await anna.held()
    shown = subscriptions.end_after(held, await anna.db.run(subscriptions.now), subscriptions.SAME_VALUE, 30 * DAY)
    await anna.db.run(bought)
    await anna.db.run(
        lambda tx: subscriptions.grant(
            tx, anna.account, tariff="basic", seconds=86_400, source="admin", actor_id=OPERATOR
        )
    )
    held = await anna.held()
    assert (held.status, held.uuid, held.expires_at) == ("frozen", before.uuid, shown + DAY)
    await anna.settle()
    assert anna.keys() == [set(), set()]
    receipt = await anna.db.run(
        lambda tx: tx.value(
            "select params ->> 'frozen_until' from messages where kind = 'receipt' order by id desc limit 1"
        )
    )
    assert receipt is not None
    await anna.passes(8 * DAY + _MINUTE)
    await sweep_activation._activate(sweep_run(anna.db, "activation"))
    after = await anna.held()
    assert timedelta(0) <= after.expires_at - before.expires_at - 41 * DAY < 2 * _MINUTE
    assert anna.keys() == [{str(before.uuid)}] * 2


@pytest.mark.proves("N-37")
async def test_another_tariff_converts_the_time_that_is_kept(anna: Customer) -> None:
    await frozen(anna)
    held = await anna.held()
    assert held.frozen_until is not None
    await anna.passes(5 * DAY)
    value = PRICES.conversion("basic", "plus")
    shown = subscriptions.end_after(held, await anna.db.run(subscriptions.now), value, 30 * DAY)
    await anna.db.run(lambda tx: bought(tx, tariff="plus"))
    after = await anna.held()
    kept = (held.expires_at - held.frozen_until) // timedelta(minutes=1) * value.numerator // value.denominator
    assert (after.status, after.tariff) == ("frozen", "plus")
    assert abs(after.expires_at - (held.frozen_until + kept * _MINUTE + 30 * DAY)) <= _MINUTE
    assert after.expires_at == shown


@pytest.mark.proves("N-37")
async def test_a_refund_takes_its_time_off_and_of_all_of_it_ends_the_freeze(anna: Customer) -> None:
    await anna.passes(10 * DAY)
    await anna.db.run(bought)
    await frozen(anna)
    held = await anna.held()
    assert held.frozen_until is not None
    payments = await anna.db.run(lambda tx: tx.values("select id from payments order by id"))

    def refund(tx: Transaction, number: int) -> None:
        by = By(OPERATOR, frozenset({OPERATOR}), "the customer asked for it", "c")
        wanted = Wanted(Route.BALANCE, payments[number], reverses_access=True)
        refunds_by_hand.refund(tx, wanted, by, PRICES)

    await anna.passes(3 * DAY)
    await anna.db.run(refund, 1)
    after = await anna.held()
    assert (after.status, after.frozen_until) == ("frozen", held.frozen_until)
    assert abs(after.expires_at - (held.expires_at - 30 * DAY)) < _MINUTE
    await anna.db.run(refund, 0)
    over = await anna.held()
    assert (over.status, over.frozen_until) == ("active", None)
    assert over.expires_at <= await anna.db.run(subscriptions.now)
    assert (await anna.db.run(subscriptions.expire, 10, "c")).count == 1
    await anna.settle()
    assert anna.keys() == [set(), set()]
    assert await anna.history() == [
        "granted", "extended", "frozen", f"refunded {OPERATOR}", "thawed", f"refunded {OPERATOR}", "expired",
    ]  # fmt: skip


@pytest.mark.proves("N-37")
@pytest.mark.parametrize("bans", [False, True])
async def test_a_revoke_and_a_ban_end_it(anna: Customer, *, bans: bool) -> None:
    before = await anna.held()
    await frozen(anna)
    await anna.passes(2 * DAY)
    if bans:
        await anna.db.run(
            lambda tx: revoking.ban(tx, anna.account, actor_id=OPERATOR, reason="resold keys", correlation_id="c")
        )
    else:
        await anna.db.run(lambda tx: revoking.revoke(tx, anna.account, actor_id=OPERATOR, correlation_id="c"))
    held = await anna.held()
    assert (held.status, held.uuid, held.frozen_until) == ("expired", None, None)
    assert await anna.db.run(thaw, anna.account) is Refusal.NOT_FROZEN
    await anna.settle()
    assert anna.keys() == [set(), set()]
    if bans:  # what is given back is the time that was left, not the freeze
        await anna.db.run(
            lambda tx: revoking.unban(
                tx, anna.account, actor_id=OPERATOR, conversion=PRICES.conversion, correlation_id="c"
            )
        )
        after = await anna.held()
        assert after.status == "active"
        assert timedelta(0) <= after.expires_at - before.expires_at - 2 * DAY < _MINUTE


@pytest.mark.proves("N-37")
async def test_a_new_key_of_frozen_access_is_an_operators_and_comes_with_the_thaw(anna: Customer) -> None:
    before = await anna.held()
    await frozen(anna)
    assert await anna.db.run(lambda tx: reissue.reissue(tx, anna.account, correlation_id="c")) is reissue.Refusal.FROZEN
    given = await anna.db.run(lambda tx: reissue.reissue(tx, anna.account, correlation_id="c", actor_id=OPERATOR))
    assert isinstance(given, Reissued)
    await anna.settle()
    held = await anna.held()
    assert (held.status, held.uuid != before.uuid, anna.keys()) == ("frozen", True, [set(), set()])
    await anna.db.run(thaw, anna.account)
    await anna.settle()
    assert anna.keys() == [{str(held.uuid)}] * 2


@pytest.mark.proves("N-37")
async def test_two_taps_are_one_and_an_old_button_does_nothing(
    processes: Callable[[int], list[Database]], two_nodes: Network
) -> None:
    one, other = processes(2)
    anna = await customer(one, two_nodes)
    await at_the_start([one, other])
    end = freezing.end_mark(await anna.held())
    both = await asyncio.gather(*(db.run(freeze, anna.account, 7, end) for db in (one, other)))
    assert sorted(isinstance(answer, Frozen) for answer in both) == [False, True]
    frozen_end = freezing.end_mark(await anna.held())
    assert frozen_end == end + 7 * 86_400
    assert await one.run(thaw, anna.account, end) is Refusal.STALE
    both_thaw = await asyncio.gather(*(db.run(thaw, anna.account, frozen_end) for db in (one, other)))
    assert sorted(isinstance(answer, Frozen) for answer in both_thaw) == [False, True]
    await anna.passes(30 * DAY - _MINUTE)
    await one.run(bought)
    await anna.passes(2 * _MINUTE)
    assert await one.run(freeze, anna.account, 7, end) is Refusal.STALE
    assert await anna.history() == ["granted", "frozen", "thawed", "extended"]


@pytest.mark.proves("N-37")
async def test_freeze_thaw_payment_and_end_at_once_end_in_one_state(
    processes: Callable[[int], list[Database]], two_nodes: Network
) -> None:
    one, other = processes(2)
    anna = await customer(one, two_nodes)
    await at_the_start([one, other])
    for number in range(5):
        event = await one.run(order, f"race-{number}")
        await asyncio.gather(
            one.run(by_operator, anna.account, 1 + number),
            other.run(thaw, anna.account),
            one.run(pay, event),
            other.run(freezing.thaw_due, 10, "c"),
            other.run(subscriptions.expire, 10, "c"),
            anna.step(),
            anna.step(wanted=False),
        )
        await anna.passes(DAY)
    await anna.passes(6 * DAY)
    await one.run(freezing.thaw_due, 10, "c")
    await anna.settle()
    await anna.settle()
    held = await anna.held()
    assert held.status == "active"
    assert anna.keys() == [{str(held.uuid)}] * 2
