"""A new key: the end stays, the old key works on each node until the new one does, and two at once are two or one."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from lib.domain import reissue, subscriptions
from lib.domain.reissue import Refusal, Reissued
from lib.nodes.transport import NodeError
from tests.integration.sweeps.grants import PRICES, at_the_start, pay
from tests.integration.sweeps.lives import DAY, OPERATOR, bought, customer, order

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Database, Transaction
    from tests.integration.sweeps.nodes import Network

A_DAY = PRICES.access.reissues_a_day
_WANTED = "select distinct uuid from node_clients where wanted"


def of_customer(tx: Transaction, account: int, generation: int | None = None) -> Reissued | Refusal:
    return reissue.reissue(tx, account, correlation_id="c", a_day=A_DAY, generation=generation)


def of_operator(tx: Transaction, account: int) -> Reissued | Refusal:
    return reissue.reissue(tx, account, correlation_id="c", actor_id=OPERATOR)


@pytest.mark.proves("N-37")
async def test_the_old_key_works_on_each_node_until_the_new_one_does(
    processes: Callable[[int], list[Database]],
    two_nodes: Network,
) -> None:
    anna = await customer(processes(1)[0], two_nodes)
    before, old_link = await anna.held(), await anna.link()
    _, second = anna.network.nodes.values()
    second.failing = NodeError("down", temporary=True)
    assert isinstance(await anna.db.run(of_customer, anna.account), Reissued)
    after = await anna.held()
    assert (after.uuid != before.uuid, after.expires_at, after.generation) == (
        True,
        before.expires_at,
        before.generation + 1,
    )
    # no node was told yet: the old key works everywhere, and is what is shown
    assert anna.keys() == [{str(before.uuid)}] * 2
    assert (await anna.link(), await anna.db.run(reissue.old_link, anna.account)) == (None, old_link)
    await anna.step()
    # one node has the new one; the other keeps the old until its own swap
    assert anna.keys() == [{str(after.uuid)}, {str(before.uuid)}]
    assert str(after.uuid) in str(await anna.link())
    assert await anna.db.run(reissue.old_link, anna.account) is None
    keys = await anna.db.run(lambda tx: tx.values("select key from messages where kind = 'key' order by id"))
    assert keys == [f"key:{after.id}:{str(one.uuid)[:8]}" for one in (before, after)]
    second.failing = None
    await anna.passes(DAY / 24)
    await anna.settle()
    assert anna.keys() == [{str(after.uuid)}] * 2
    assert await anna.history() == ["granted", "reissued"]


@pytest.mark.proves("N-37")
async def test_a_customer_has_three_a_day_and_an_operator_any_number(
    processes: Callable[[int], list[Database]],
    two_nodes: Network,
) -> None:
    anna = await customer(processes(1)[0], two_nodes)
    for _ in range(A_DAY + 1):
        assert isinstance(await anna.db.run(of_operator, anna.account), Reissued)
    for left in range(A_DAY, 0, -1):
        held = await anna.held()
        assert await anna.db.run(reissue.left_today, held.id, A_DAY) == left
        assert isinstance(await anna.db.run(of_customer, anna.account), Reissued)
    assert await anna.db.run(of_customer, anna.account) is Refusal.TOO_OFTEN
    await anna.passes(DAY)
    assert isinstance(await anna.db.run(of_customer, anna.account), Reissued)
    await anna.settle()
    assert anna.keys() == [{str((await anna.held()).uuid)}] * 2


@pytest.mark.proves("N-37")
async def test_there_is_no_new_key_of_nothing(processes: Callable[[int], list[Database]], two_nodes: Network) -> None:
    anna = await customer(processes(1)[0], two_nodes)
    await anna.passes(31 * DAY)
    assert await anna.db.run(of_operator, anna.account) is Refusal.NO_ACCESS  # over, and not swept yet
    await anna.db.run(subscriptions.expire, 10, "c")
    assert await anna.db.run(of_operator, anna.account) is Refusal.NO_ACCESS
    assert await anna.db.run(of_operator, 10**6) is Refusal.NO_ACCESS
    await anna.settle()
    # bought again: the key of before is none that could be shown until the new one works
    await anna.db.run(bought)
    assert await anna.db.run(reissue.old_link, anna.account) is None


@pytest.mark.proves("S3-7.reissue-reissue")
async def test_two_at_once_leave_one_key_on_every_node(
    processes: Callable[[int], list[Database]], two_nodes: Network
) -> None:
    one, other = processes(2)
    anna = await customer(one, two_nodes)
    await at_the_start([one, other])
    generation = (await anna.held()).generation
    # two taps on one button: one effect
    both = await asyncio.gather(
        *(db.run(of_customer, anna.account, generation) for db in (one, other) for _ in range(3))
    )
    assert sorted(isinstance(answer, Reissued) for answer in both) == [False] * 5 + [True]
    assert {answer for answer in both if not isinstance(answer, Reissued)} == {Refusal.STALE}
    # the customer and an operator, while nodes are being told: each is a change of its own, the last one stands
    for _ in range(8):
        await asyncio.gather(
            one.run(of_operator, anna.account), other.run(of_operator, anna.account), anna.step(), anna.step()
        )
    await anna.passes(DAY)
    await anna.settle()
    await anna.settle()
    held = await anna.held()
    assert await one.run(lambda tx: tx.values(_WANTED)) == [held.uuid]
    assert anna.keys() == [{str(held.uuid)}] * 2
    assert len(await anna.history()) == 1 + 1 + 16
    assert held.generation == generation + 17


@pytest.mark.proves("S3-7.reissue-expiry")
async def test_a_new_key_and_the_end_of_access_at_once_leave_no_key(
    processes: Callable[[int], list[Database]], two_nodes: Network
) -> None:
    """Whichever comes first: access that is over has no UUID, and nodes are to hold nothing."""
    dice = random.Random(7)  # noqa: S311 -- an order of events
    one, other = processes(2)
    anna = await customer(one, two_nodes)
    await at_the_start([one, other])
    for _ in range(6):
        ends = (await anna.held()).expires_at
        # a moment before the end, so that either may win
        now = await one.run(subscriptions.now)
        await anna.passes(ends - now - DAY * dice.random() / 86_400 / 4)

        async def expire() -> None:
            while not (await other.run(subscriptions.expire, 10, "c")).count:
                await asyncio.sleep(0)

        answers, _ = await asyncio.gather(
            asyncio.gather(*(one.run(of_operator, anna.account) for _ in range(3)), anna.step()), expire()
        )
        assert all(isinstance(answer, Reissued) or answer is Refusal.NO_ACCESS for answer in answers[:3])
        held = await anna.held()
        assert (held.status, held.uuid) == ("expired", None)
        assert await one.run(of_operator, anna.account) is Refusal.NO_ACCESS
        assert await one.run(lambda tx: tx.values(_WANTED)) == []
        await anna.passes(DAY / 24)
        await anna.settle()
        assert anna.keys() == [set(), set()]
        await one.run(bought)
        await anna.settle()


@pytest.mark.proves("N-37")
async def test_a_new_key_and_a_payment_at_once_keep_both(
    processes: Callable[[int], list[Database]], two_nodes: Network
) -> None:
    one, other = processes(2)
    anna = await customer(one, two_nodes)
    await at_the_start([one, other])
    before = await anna.held()
    for number in range(4):
        event = await one.run(order, f"more-{number}")
        await asyncio.gather(one.run(of_operator, anna.account), other.run(pay, event), anna.step())
    await anna.passes(DAY / 24)
    await anna.settle()
    after = await anna.held()
    assert (after.expires_at - before.expires_at, after.generation - before.generation) == (120 * DAY, 4)
    assert anna.keys() == [{str(after.uuid)}] * 2
