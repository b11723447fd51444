"""A system of its own in which the way between the outside world and the functions is bad, always."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.stand_in.faults import BAD_DAY
from sandbox.system.system import System
from tests.e2e.log_search import assert_nothing_secret_is_logged
from tests.e2e.webhooks.steps import assert_sound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# The bad day of `make demo ARGS=--bad-day`, and one answer in twenty lost as well.
FAULTS = replace(BAD_DAY, unanswered=0.05)


@pytest.fixture(scope="module")
async def bad_system() -> AsyncIterator[System]:
    """Sweeps run by hand; test guards on unless the environment says otherwise."""
    folder = _folder()
    async with System(folder, guards=os.environ.get("ATLAS_TEST_GUARDS") == "1", forked=True) as system:
        yield system
        await assert_nothing_secret_is_logged(system)
    shutil.rmtree(folder)


@pytest.fixture
async def system(bad_system: System) -> AsyncIterator[System]:
    """The system under faults; afterwards all of it runs again, and what must always be true is (S4-15)."""
    bad_system.faults = FAULTS
    yield bad_system
    bad_system.disarm()
    await bad_system.switch_scheduler(on=False)
    await bad_system.nodes.start()
    await bad_system.start_functions()
    await assert_sound(bad_system)


def _folder() -> Path:
    made = Path(tempfile.mkdtemp(prefix="atlas-faults-", dir="/var/tmp"))
    made.chmod(0o711)  # Postgres runs as another user when we are root, and must get through
    return made
