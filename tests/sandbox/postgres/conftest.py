"""One server for the tests that only look; those that break a server make their own."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.postgres.server import Postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def make_folder() -> Iterator[Callable[[], Path]]:
    """Folders that the server's user can enter (pytest's own are closed to it) and that are gone afterwards."""
    made: list[Path] = []

    def make() -> Path:
        folder = Path(tempfile.mkdtemp(prefix="atlas-test-", dir="/var/tmp"))
        folder.chmod(0o755)
        made.append(folder)
        return folder

    yield make
    for folder in made:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def shared(make_folder: Callable[[], Path]) -> Iterator[Postgres]:
    with Postgres(make_folder(), durable=False) as server:
        yield server


@pytest.fixture
def server(make_folder: Callable[[], Path]) -> Iterator[Postgres]:
    with Postgres(make_folder(), durable=False) as own:
        yield own
