"""What can be made to go wrong between an application and its tasks: lost, refused, doubled, out of order, slow at first."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.cloud.cloudtasks import Queue

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.cloudtasks.conftest import Stand

    Make = Callable[..., Any]


async def test_faults_on_demand(stand: Stand) -> None:
    stand.tasks.lose_next("q")
    assert (await stand.create(task={"name": stand.name("lost")})).status_code == 200
    stand.tasks.fail_next_create("q", 2, status=503)
    assert [(await stand.create()).status_code for _ in range(2)] == [503, 503]
    await stand.tasks.idle()
    assert not stand.worker.requests
    stand.tasks.fail_next_create("q", stored=True)  # an unclear outcome: said to have failed, is there
    assert (await stand.create(task={"name": stand.name("unclear")})).status_code == 503
    assert (await stand.create(task={"name": stand.name("unclear")})).status_code == 409
    stand.tasks.double_next("q")
    await stand.create(task={"name": stand.name("twice")})
    await stand.tasks.idle()
    assert [attempt.task for attempt in stand.tasks.attempts] == ["unclear", "twice", "twice"]


async def test_a_task_delivered_again_when_it_was_done_looks_like_the_first_time(stand: Stand) -> None:
    stand.tasks.double_next("q", later=True)
    await stand.create(task={"name": stand.name("twice")}, body="eA==")
    await stand.tasks.idle()
    first, second = stand.worker.requests
    assert stand.worker.most_at_once == 1
    assert first.headers == second.headers
    assert first.body == second.body == b"x"
    assert not stand.tasks.tasks
    await stand.create()
    await stand.tasks.idle()
    assert len(stand.worker.requests) == 3


async def test_a_share_of_all_tasks_comes_twice(stand: Stand) -> None:
    stand.tasks.faults.random = random.Random(3)  # noqa: S311 - draws faults, no secrets
    stand.tasks.faults.double_share = 0.3
    for _ in range(60):
        await stand.create()
    await stand.tasks.idle()
    assert 60 + 8 <= len(stand.worker.requests) <= 60 + 30
    assert len({got.headers["x-cloudtasks-taskname"] for got in stand.worker.requests}) == 60
    stand.tasks.faults.double_share = 0.0
    before = len(stand.worker.requests)
    for _ in range(30):
        await stand.create()
    await stand.tasks.idle()
    assert len(stand.worker.requests) == before + 30


async def test_disorder_lets_tasks_pass_each_other_within_its_bound(make_stand: Make) -> None:
    stand = await make_stand(Queue("q", max_concurrent=1))
    stand.tasks.faults.random = random.Random(1)  # noqa: S311 - draws faults, no secrets
    stand.tasks.faults.disorder_s = 600
    made = [(await stand.create(task={"name": stand.name(f"t{number}")})).json() for number in range(12)]
    etas = {task["name"].rpartition("/")[2]: task["scheduleTime"] for task in made}
    with pytest.raises(TimeoutError):
        await stand.tasks.idle(0.05)  # held back, but on its way
    stand.clock.travel(timedelta(seconds=600))
    await stand.tasks.idle()
    order = [got.headers["x-cloudtasks-taskname"] for got in stand.worker.requests]
    assert sorted(order) == sorted(etas)
    assert order != list(etas)
    stand.tasks.faults.disorder_s = 0
    stand.worker.requests.clear()
    for number in range(6):
        await stand.create(task={"name": stand.name(f"u{number}")})
    await stand.tasks.idle()
    assert [got.headers["x-cloudtasks-taskname"] for got in stand.worker.requests] == [f"u{n}" for n in range(6)]


async def test_a_new_queue_can_be_made_to_start_slowly(stand: Stand) -> None:
    stand.tasks.slow_start("q")
    throttle = stand.tasks.dispatcher("q").throttle
    rates = [throttle.enforced]
    for _ in range(7):
        stand.clock.travel(timedelta(seconds=10))
        throttle.wait(stand.clock.now())
        rates.append(throttle.enforced)
    assert rates == [10, 20, 40, 80, 160, 320, 500, 500]
