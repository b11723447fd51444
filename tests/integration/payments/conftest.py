from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lib import bootstrap
from lib.db import Database
from lib.db.connection import Connection, Timeouts
from lib.db.migrate import list_providers
from lib.payments import registry
from lib.settings import plain
from tests.integration.payments import sample
from tests.integration.payments.tills import CardTill, CryptoPayTill, SampleTill, StarsTill, TestTill
from tests.integration.sweeps.runs import Queue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.integration.payments.tills import Till

TILLS: dict[str, Callable[[pytest.MonkeyPatch], Till]] = {
    "cryptobot": CryptoPayTill,
    "stars": StarsTill,
    "card": CardTill,
    "test": TestTill,
    "sample": SampleTill,
}


@pytest.fixture(autouse=True)
def sample_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line."""
    monkeypatch.setattr(registry, "PROVIDERS", (*registry.PROVIDERS, sample))


@pytest.fixture
async def db(database_url: str, functions_url: str) -> AsyncIterator[Database]:
    """As everywhere, after the migration that a deploy with that line runs."""
    connection = Connection(database_url, application="migrate", timeouts=Timeouts())
    list_providers(connection, registry.providers("local"))
    connection.close()
    database = Database(functions_url, connections=4, application="test", guards=True, compare=True)
    yield database
    await database.close()


@pytest.fixture(params=TILLS)
async def till(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Till]:
    """Each provider in turn."""
    plain.cryptopay.cache_clear()
    made = TILLS[request.param](monkeypatch)
    yield made
    await made.close()
    plain.cryptopay.cache_clear()


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    """Where tasks go."""
    made = Queue()
    monkeypatch.setattr(bootstrap, "task_queue", lambda: made)
    return made
