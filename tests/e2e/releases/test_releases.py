"""The release before goes on working on this tree's schema; this one on the schema of the next, which is then taken back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from lib.db import schema
from lib.db.migrate import migrate
from sandbox.system.system import System
from tests.e2e.releases import trees
from tests.e2e.releases.main_path import assert_sound, buy, end, person, try_it

if TYPE_CHECKING:
    from pathlib import Path

    from lib.db.migrate import Kind

_PRE: frozenset[Kind] = frozenset({"pre"})


@pytest.mark.proves("N-61.before")
@pytest.mark.timeout(300)
async def test_the_release_before_runs_its_whole_main_path_on_this_schema(home: Path, tmp_path: Path) -> None:
    """As in a deploy: it has traffic while the migrations run, and keeps it."""
    before = trees.before(tmp_path)
    async with System(home, checkout=before, forked=True) as system:
        anna, boris = person(system, 1, "Anna"), person(system, 2, "Boris")
        await try_it(anna)
        database = system.database.owner_url
        await asyncio.to_thread(migrate, database, "local", kinds=_PRE)
        await asyncio.to_thread(migrate, database, "local", kinds=_PRE, folder=trees.files(tmp_path))
        assert await _newest(system) == 9001
        await try_it(boris)
        await buy(system, anna, key_comes=False)
        await end(system, boris, paid=False)
        await buy(system, boris)
        await end(system, anna, boris, paid=True)
        await buy(system, anna)
        assert [row["n"] for row in await system.sql("select count(*) as n from planted")] == [3]
        await assert_sound(system)


@pytest.mark.full
@pytest.mark.proves("N-65.path")
@pytest.mark.timeout(600)
async def test_a_release_is_taken_back_and_everything_goes_on(home: Path, tmp_path: Path) -> None:
    async with System(home, forked=True) as system:
        await try_it(person(system, 1, "Anna"))
        await buy(system, person(system, 2, "Boris"))
    after = trees.after(tmp_path)
    async with System(home, checkout=after, forked=True) as system:
        assert await _newest(system) == 9001
        clara = person(system, 3, "Clara")
        await try_it(clara)
        await buy(system, clara, key_comes=False)
        await assert_sound(system)
    async with System(home, forked=True) as system:
        assert await _newest(system) == 9001
        anna, clara, dora = (person(system, number, name) for number, name in ((1, "Anna"), (3, "Clara"), (4, "Dora")))
        await buy(system, anna, key_comes=False)
        await try_it(dora)
        await end(system, dora, paid=False)
        await end(system, anna, clara, paid=True)
        await buy(system, dora)
        await assert_sound(system)


async def _newest(system: System) -> int:
    rows = await system.sql(schema.HELD)
    return int(next(iter(rows[0].values())))
