"""One whole system for the tests that simulate customers, and those customers."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.system.customer import Customer
from sandbox.system.system import System
from tests.e2e.log_search import assert_nothing_secret_is_logged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

_IDS = itertools.count(5_000_001)


@pytest.fixture(scope="session")
async def running_system() -> AsyncIterator[System]:
    """Two instances of what races; sweeps run by hand; test guards on unless the environment says otherwise."""
    folder = _folder()
    async with System(
        folder, instances={"sweep_activation": 2, "sweep_expiry": 2}, guards=_guards(), forked=True
    ) as system:
        yield system
        await assert_nothing_secret_is_logged(system)
    shutil.rmtree(folder)


@pytest.fixture
async def system(running_system: System) -> AsyncIterator[System]:
    """The system, whole again after a test that broke parts of it. Customers of other tests are still in it."""
    yield running_system
    running_system.disarm()
    await running_system.nodes.start()
    await running_system.start_functions()
    # Sweeps run by hand here: a second pass that this test's own run has asked for must not come in the middle of another test.
    running_system.tasks.purge("sweeps")
    await running_system.settled()


@pytest.fixture
def customer(system: System) -> Callable[..., Customer]:
    """Make a person the bot does not know yet: `customer()`, `customer("Anna", "ru")`."""

    def make(name: str = "Anna", language: str = "en") -> Customer:
        return Customer(system.telegram.user(next(_IDS), name, language_code=language))

    return make


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder for the state of a run."""
    folder = _folder("atlas-run-")
    yield folder
    shutil.rmtree(folder)


def _folder(prefix: str = "atlas-e2e-") -> Path:
    made = Path(tempfile.mkdtemp(prefix=prefix, dir="/var/tmp"))
    made.chmod(0o711)  # Postgres runs as another user when we are root, and must get through
    return made


def _guards() -> bool:
    return os.environ.get("ATLAS_TEST_GUARDS") == "1"
