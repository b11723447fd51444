"""Claims are rows: with no lock at all, every row is worked on by one, and a late runner changes nothing."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from lib.domain import provisioning, subscriptions
from tests.integration.by_the_owner import travel
from tests.integration.sweeps.grants import at_the_start, claim, converge, know_the_node, start_trials

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from lib.db import Database, Transaction
    from lib.domain.provisioning import Answer, Claimed, Node, Work
    from tests.integration.sweeps.nodes import RememberingNode

_LEASE = timedelta(seconds=provisioning.LEASE_S)
_SECOND = timedelta(seconds=1)
_KEYS = "select count(*) from messages where kind = 'key'"


def rows(tx: Transaction) -> list[Any]:
    """Everything a finisher could change, as it is now."""
    clients = tx.values("select cast(c as text) from node_clients c order by subscription_id")
    held = tx.values("select cast(s as text) from subscriptions s order by id")
    return [clients, held, tx.value("select count(*) from messages"), tx.value("select count(*) from outbox")]


async def activate(db: Database, node: RememberingNode, page: int) -> list[Work]:
    """The work of the activation sweep (its loop, without its lock) until nothing is left; what it claimed."""
    claimed: list[Work] = []
    while claims := await db.run(claim, uuid.uuid4(), page, wanted=True):
        claimed += works_of(claims)
        await converge(db, node, claims)
    return claimed


async def end(db: Database, node: RememberingNode, page: int) -> tuple[int, list[Work]]:
    """The work of the expiry sweep, as above; how many it ended, what it claimed to remove."""
    ended = 0
    while count := (await db.run(subscriptions.expire, page, "t")).count:
        ended += count
    claimed: list[Work] = []
    while claims := await db.run(claim, uuid.uuid4(), page, wanted=False):
        claimed += works_of(claims)
        await converge(db, node, claims, "expiry")
    return ended, claimed


@pytest.mark.proves("S0-2")
@pytest.mark.proves("S4-3.1")
@pytest.mark.proves("S4-12.activation")
@pytest.mark.parametrize("count", [1, 50])
async def test_without_the_lock_four_activation_runs_share_the_rows(
    processes: Callable[[int], list[Database]], node: RememberingNode, count: int
) -> None:
    four = processes(4)
    await at_the_start(four)
    await four[0].run(know_the_node)
    assert await four[0].run(start_trials, 1, count) == count
    shares = await asyncio.gather(*(activate(db, node, 7) for db in four))
    claims = Counter(work.subscription_id for share in shares for work in share)
    assert sorted(claims.values()) == [1] * count
    assert sorted(node.asked.values()) == [1] * count
    assert len(node.present) == len(set(node.present.values())) == count
    assert await four[0].run(lambda tx: tx.value(_KEYS)) == count


@pytest.mark.proves("S0-2")
@pytest.mark.proves("S4-12.activation")
async def test_one_row_is_claimed_by_one_of_many_however_they_ask(processes: Callable[[int], list[Database]]) -> None:
    four = processes(4)
    await at_the_start(four)
    await four[0].run(know_the_node)
    await four[0].run(start_trials, 1, 1)
    (subscription,) = await four[0].run(lambda tx: tx.values("select id from subscriptions"))
    asked = [db.run(claim, uuid.uuid4(), 10, wanted=True) for db in four for _ in range(3)]
    asked += [db.run(provisioning.claim_subscription, subscription, uuid.uuid4()) for db in four for _ in range(3)]
    assert sorted(len(works_of(claims)) for claims in await asyncio.gather(*asked)) == [0] * 23 + [1]


@pytest.mark.proves("S0-3")
async def test_without_the_lock_four_expiry_runs_end_each_access_once(
    processes: Callable[[int], list[Database]], node: RememberingNode
) -> None:
    four = processes(4)
    await at_the_start(four)
    await four[0].run(know_the_node)
    await four[0].run(start_trials, 1, 40)
    await activate(four[0], node, 40)
    await four[0].run(travel, timedelta(hours=72))
    node.asked.clear()
    shares = await asyncio.gather(*(end(db, node, 6) for db in four))
    assert sum(ended for ended, _ in shares) == 40
    claims = Counter(work.subscription_id for _, share in shares for work in share)
    assert sorted(claims.values()) == [1] * 40
    assert sorted(node.asked.values()) == [1] * 40
    assert node.present == {}
    told = "select count(*) from messages where kind = 'expired'"
    assert await four[0].run(lambda tx: tx.value(told)) == 40
    assert await four[0].run(lambda tx: tx.value("select count(*) from node_clients")) == 0
    assert [await end(db, node, 6) for db in four] == [(0, [])] * 4


@pytest.mark.proves("S1-4")
async def test_a_claim_outlives_its_claimant_and_ends_by_its_lease(
    processes: Callable[[int], list[Database]], node: RememberingNode
) -> None:
    dies, lives = processes(2)
    await dies.run(know_the_node)
    await dies.run(start_trials, 1, 1)
    (work,) = works_of(await dies.run(claim, uuid.uuid4(), 10, wanted=True))
    await dies.close()
    assert await activate(lives, node, 10) == []
    assert await lives.run(provisioning.claim_subscription, work.subscription_id, uuid.uuid4()) == []
    await lives.run(travel, _LEASE - _SECOND)
    assert await activate(lives, node, 10) == []
    await lives.run(travel, _SECOND)
    (again,) = await activate(lives, node, 10)
    assert (again.uuid, again.version) == (work.uuid, work.version)
    assert node.present == {str(work.subscription_id): str(work.uuid)}


def works_of(claims: list[Claimed]) -> list[Work]:
    return [work for claimed in claims for work in claimed.works]


def record(tx: Transaction, node: Node, answer: Answer) -> provisioning.Recorded:
    return provisioning.record(tx, node, [answer], None, correlation_id="t")


def _yes(work: Work, link: str = "vless://late") -> provisioning.Answer:
    return provisioning.Answer(
        work.subscription_id, work.node_id, work.version, str(work.claimed_by), applied=True, link=link
    )


def _no(work: Work) -> provisioning.Answer:
    return provisioning.Answer(
        work.subscription_id, work.node_id, work.version, str(work.claimed_by), applied=False, error="late"
    )


@pytest.mark.proves("S1-4")
@pytest.mark.parametrize("answer", [_yes, _no])
@pytest.mark.parametrize("second_is_done", [False, True])
async def test_a_late_finisher_changes_nothing(
    processes: Callable[[int], list[Database]], answer: Callable[[Work], provisioning.Answer], *, second_is_done: bool
) -> None:
    late, prompt = processes(2)
    await late.run(know_the_node)
    await late.run(start_trials, 1, 1)
    (held,) = await late.run(claim, uuid.uuid4(), 10, wanted=True)
    (old,) = held.works
    await late.run(travel, _LEASE)
    (new,) = works_of(await prompt.run(claim, uuid.uuid4(), 10, wanted=True))
    if second_is_done:
        assert (await prompt.run(record, held.node, _yes(new, "vless://prompt"))).activated == 1
    before = await prompt.run(rows)
    assert (await late.run(record, held.node, answer(old))).activated == 0
    assert await prompt.run(rows) == before
    if not second_is_done:
        assert (await prompt.run(record, held.node, _yes(new, "vless://prompt"))).activated == 1
    assert await prompt.run(lambda tx: tx.value("select link from node_clients")) == "vless://prompt"


@pytest.mark.proves("S1-4")
async def test_what_was_claimed_to_be_added_and_expired_meanwhile_is_not_confirmed(
    processes: Callable[[int], list[Database]], node: RememberingNode
) -> None:
    adds, ends = processes(2)
    await adds.run(know_the_node)
    await adds.run(start_trials, 1, 1)
    (held,) = await adds.run(claim, uuid.uuid4(), 10, wanted=True)
    await ends.run(travel, timedelta(hours=72))
    assert (await ends.run(subscriptions.expire, 10, "t")).count == 1
    before = await ends.run(rows)
    assert (await adds.run(record, held.node, _yes(held.works[0]))).activated == 0
    assert await ends.run(rows) == before
    # the late add reaches the node after the removal: the node refuses the older version
    await end(ends, node, 10)
    await converge(adds, node, [held])
    assert node.present == {}


def claimants(tx: Transaction) -> list[UUID | None]:
    """Who has each client now."""
    return tx.values("select claimed_by from node_clients order by subscription_id")


@pytest.mark.proves("S1-4")
async def test_a_claim_is_a_row_that_everybody_can_see(processes: Callable[[int], list[Database]]) -> None:
    one, other = processes(2)
    await one.run(know_the_node)
    await one.run(start_trials, 1, 2)
    me = uuid.uuid4()
    await one.run(claim, me, 1, wanted=True)
    assert Counter(await other.run(claimants)) == {me: 1, None: 1}


@pytest.mark.proves("S1-4")
async def test_a_late_add_that_the_node_calls_old_changes_nothing(
    processes: Callable[[int], list[Database]], node: RememberingNode
) -> None:
    late, prompt = processes(2)
    await late.run(know_the_node)
    await late.run(start_trials, 1, 1)
    (old,) = await late.run(claim, uuid.uuid4(), 10, wanted=True)
    (account,) = await late.run(lambda tx: tx.values("select account_id from subscriptions"))
    await prompt.run(subscriptions.grant, account, tariff="basic", seconds=60, source="admin", actor_id=1)
    (new,) = await activate(prompt, node, 10)
    assert new.version > old.works[0].version
    before = await prompt.run(rows)
    await converge(late, node, [old])
    assert await prompt.run(rows) == before


async def test_a_node_that_knows_better_is_overtaken(
    processes: Callable[[int], list[Database]], node: RememberingNode
) -> None:
    """The database was restored to an older state: the node's version is ahead of ours."""
    (db,) = processes(1)
    await db.run(know_the_node)
    await db.run(start_trials, 1, 1)
    (subscription,) = await db.run(lambda tx: tx.values("select id from subscriptions"))
    node.held[str(subscription)] = (9, None)
    first, second = await activate(db, node, 10)
    assert (first.version, second.version) == (1, 10)
    assert node.present == {str(subscription): str(first.uuid)}


async def test_a_node_that_always_knows_better_is_not_asked_for_ever(
    processes: Callable[[int], list[Database]], node: RememberingNode
) -> None:
    (db,) = processes(1)
    await db.run(know_the_node)
    await db.run(start_trials, 1, 1)
    (subscription,) = await db.run(lambda tx: tx.values("select id from subscriptions"))

    async def grow() -> None:
        node.held[str(subscription)] = (1000 * node.calls, None)

    node.before_answer = grow
    async with asyncio.timeout(10):
        await activate(db, node, 10)
    assert node.calls <= 3
