from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lib.db import Database
from lib.db.lock import LockLost, SweepLock
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

_HOLDER = """
import asyncio, sys
from lib.db.lock import SweepLock
async def main():
    async with SweepLock(sys.argv[1], "expiry", idle_timeout_s=float(sys.argv[2])) as lock:
        print("held" if lock.held else "busy", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


async def held(url: str) -> bool:
    async with SweepLock(url, "expiry") as lock:
        return lock.held


async def until_held(url: str, seconds: float) -> bool:
    """The server lets go of a lock when it has read that its session ended: a moment after the client closed it."""
    return bool(await until(lambda: held(url), "the lock", seconds))


@pytest.fixture
def holder(database_url: str) -> Callable[[float], subprocess.Popen[str]]:
    def start(idle_s: float) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", _HOLDER, database_url, str(idle_s)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "held"
        return process

    return start


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


async def test_one_holder_at_a_time_and_free_after_exit(database_url: str) -> None:
    async with SweepLock(database_url, "expiry") as first:
        assert first.held
        assert not await held(database_url)
        async with SweepLock(database_url, "activation") as other:
            assert other.held
        await first.renew()
    assert await until_held(database_url, 20)


@pytest.mark.proves("S2-3")
async def test_the_lock_connection_cannot_leak(database_url: str) -> None:
    has_it = asyncio.Event()

    async def cancelled() -> None:
        async with SweepLock(database_url, "expiry") as lock:
            assert lock.held
            has_it.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(cancelled())
    await asyncio.wait_for(has_it.wait(), 20)  # a look before that may hold it itself
    assert not await held(database_url)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ZeroDivisionError):
        async with SweepLock(database_url, "expiry") as lock:
            assert lock.held
            raise ZeroDivisionError
    assert await until_held(database_url, 20)
    db = Database(database_url, connections=1, application="look", guards=False)
    sessions = "select count(*) from pg_stat_activity where application_name = 'lock-expiry'"

    async def is_gone() -> bool:
        return not await db.run(lambda tx: tx.value(sessions))

    await until(is_gone, "an end of the lock's session")
    await db.close()


@pytest.mark.proves("S2-3")
async def test_sigkill_of_the_holder_frees_it_at_once(
    database_url: str, holder: Callable[[float], subprocess.Popen[str]]
) -> None:
    process = holder(60)
    assert not await held(database_url)
    process.kill()
    assert await until_held(database_url, 5)
    end(process)


@pytest.mark.proves("S2-3")
async def test_a_frozen_holder_frees_it_once_its_idle_timeout_ends(
    database_url: str, holder: Callable[[float], subprocess.Popen[str]]
) -> None:
    process = holder(1.5)
    os.kill(process.pid, signal.SIGSTOP)
    assert not await held(database_url)
    assert await until_held(database_url, 6)
    os.kill(process.pid, signal.SIGCONT)
    end(process)


async def test_renewing_keeps_it_and_a_lost_lock_is_noticed(database_url: str) -> None:
    async with SweepLock(database_url, "expiry", idle_timeout_s=2) as lock:
        for _ in range(8):  # 2.4 s in all, longer than the lock lives without them
            await asyncio.sleep(0.3)
            await lock.renew()
        assert not await held(database_url)
        assert await until_held(database_url, 10)
        with pytest.raises(LockLost):
            await lock.renew()
