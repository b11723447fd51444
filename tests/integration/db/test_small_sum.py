"""The connections of a small shop at its busiest are those of the sum that the plan checks, and fit a server of the smallest size."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lib import function_table
from lib.db import Database
from lib.db.connection import Connection, Timeouts
from lib.db.lock import SweepLock
from lib.sweeps.places import Places
from tests.waiting import until

if TYPE_CHECKING:
    from lib.db.transaction import Transaction

TABLE = function_table.load()
SMALL = json.loads((Path(__file__).resolve().parents[3] / "functions/table.json").read_text())["sizes"]["small"]
SMALLEST, RESERVED = 25, 8  # what db-f1-micro takes, and what is kept of it
_WAIT = Timeouts(statement_ms=60_000, lock_ms=60_000, idle_in_transaction_ms=60_000)


def _waits(tx: Transaction) -> None:
    tx.value("select pg_advisory_xact_lock(7301, 9)")


@pytest.mark.proves("S2-3.connections")
async def test_a_small_shop_at_its_busiest_opens_what_the_sum_says_and_no_more(database_url: str) -> None:
    public = [name for name, row in TABLE.functions.items() if row.trigger == "public"]
    sweeps = [name for name, row in TABLE.functions.items() if row.trigger == "schedule"]
    sizes = dict.fromkeys(public, SMALL["every_function"]["connections"])
    sizes |= dict.fromkeys(["private", "private-sweeps"], SMALL["private"]["connections"])
    with closing(Connection(database_url, application="holds", timeouts=_WAIT)) as holds:
        holds.execute("select pg_advisory_lock(7301, 9)", {})
        made = [
            Database(database_url, connections=size, application=name, timeouts=_WAIT) for name, size in sizes.items()
        ]
        places = Places(TABLE.sweeps_at_once)
        async with AsyncExitStack() as locks:
            for sweep in sweeps:  # as lib/sweeps/runner.py does
                if await locks.enter_async_context(places.one(sweep, 0.01)) is None:
                    lock = await locks.enter_async_context(SweepLock(database_url, sweep.removeprefix("sweep_")))
                    assert lock.held
            waiting = [
                asyncio.create_task(one.run(_waits)) for one in made for _ in range(3 * SMALL["private"]["concurrency"])
            ]

            def opened() -> int:
                _, rows, _ = holds.execute(
                    "select count(*) from pg_stat_activity where datname = current_database() and application_name = any(:names)",
                    {"names": [*sizes, *(f"lock-{sweep.removeprefix('sweep_')}" for sweep in sweeps)]},
                )
                return int(rows[0][0])

            wanted = sum(sizes.values()) + min(len(sweeps), SMALL["private"]["sweeps_at_once"])
            await until(lambda: opened() >= wanted, "every connection that may be opened")
            assert opened() == wanted
            assert wanted + RESERVED <= SMALLEST
            for task in waiting:
                task.cancel()
            holds.execute("select pg_advisory_unlock(7301, 9)", {})
            await asyncio.gather(*waiting, return_exceptions=True)
        for one in made:
            await one.close()
