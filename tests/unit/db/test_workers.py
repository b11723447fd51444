from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from lib.db.workers import Workers
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers("test")
    yield made
    made.close()


async def test_one_after_the_other_are_done_by_one_thread(workers: Workers) -> None:
    names = {await workers.submit(lambda: threading.current_thread().name) for _ in range(20)}
    assert names == {"test-0"}


async def test_at_once_are_done_at_once(workers: Workers) -> None:
    barrier = threading.Barrier(4)
    await asyncio.wait_for(asyncio.gather(*(workers.submit(lambda: barrier.wait(5)) for _ in range(4))), 5)


async def test_what_a_job_raises_is_raised_where_it_is_awaited_and_its_thread_goes_on(workers: Workers) -> None:
    with pytest.raises(ZeroDivisionError):
        await workers.submit(lambda: 1 // 0)
    assert await workers.submit(lambda: threading.current_thread().name) == "test-0"


async def test_a_cancelled_wait_does_not_disturb_the_thread(workers: Workers) -> None:
    release = threading.Event()
    waiting = asyncio.ensure_future(workers.submit(release.wait))
    waiting.cancel()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await workers.submit(lambda: 1) == 1


async def test_close_waits_for_what_is_under_way_and_ends_the_threads(workers: Workers) -> None:
    release, closing = threading.Event(), threading.Event()

    def close() -> None:
        closing.set()
        workers.close()

    done = workers.submit(lambda: release.wait(30))
    name = await workers.submit(lambda: threading.current_thread().name)
    closed = asyncio.create_task(asyncio.to_thread(close))
    await until(closing.is_set)
    assert not closed.done()
    release.set()
    await closed
    assert await asyncio.wait_for(done, 5)
    alive = {thread.name for thread in threading.enumerate()}
    assert not alive & {"test-0", name}


def test_a_loop_that_is_gone_does_not_kill_the_thread(workers: Workers) -> None:
    release = threading.Event()

    async def leave_early() -> None:
        workers.submit(release.wait)

    asyncio.run(leave_early())
    release.set()
    assert asyncio.run(_on(workers)) == 2


async def _on(workers: Workers) -> int:
    return await workers.submit(lambda: 1 + 1)
