from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from lib.db import Database
from lib.db.migrate import migrate
from lib.payments import registry
from sandbox.postgres.server import Postgres
from tests.integration import by_the_owner, money_watch
from tests.integration.database_proxy import DatabaseProxy
from tests.integration.databases import Databases

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_TEMPLATE = "atlas_template"
FUNCTIONS = "functions_in_tests"
"""What functions are: a login that may what `atlas_app` may, and nothing more."""


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("postgres"), durable=False)
    server.start()
    server.create_database(_TEMPLATE)
    migrate(server.url(_TEMPLATE), "local", providers=registry.providers("local"))
    money_watch.install(server.url(_TEMPLATE))
    by_the_owner.install(server.url(_TEMPLATE))
    server.allow_login(FUNCTIONS, member_of="atlas_app")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def databases(postgres: Postgres) -> Iterator[Databases]:
    pool = Databases(postgres, _TEMPLATE)
    yield pool
    pool.close()


@pytest.fixture
def database_url(databases: Databases, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh, migrated database; its invariants are checked after every test that proves an id (S4-15)."""
    url = databases.take()
    by_hand = request.node.get_closest_marker("posts_by_hand") is not None
    if by_hand:
        money_watch.knows_rows(url, knows=False)
    yield url
    if by_hand:
        money_watch.knows_rows(url, knows=True)
    if request.node.get_closest_marker("proves") and not request.node.get_closest_marker("breaks_invariants"):
        assert databases.violations(url) == []
    databases.give_back(url)


@pytest.fixture
def functions_url(postgres: Postgres, database_url: str) -> str:
    """The same database by the login of the functions, who may no more than `atlas_app`."""
    return postgres.url(urlsplit(database_url).path.removeprefix("/"), FUNCTIONS)


@pytest.fixture
async def db(functions_url: str) -> AsyncIterator[Database]:
    """Four connections, the first attempt of every transaction refused with 40001, results compared."""
    database = Database(functions_url, connections=4, application="test", guards=True, compare=True)
    yield database
    await database.close()


@pytest.fixture
def proxy(database_url: str) -> Iterator[DatabaseProxy]:
    proxy = DatabaseProxy(database_url)
    yield proxy
    proxy.close()


@pytest.fixture
async def racing_db(functions_url: str) -> AsyncIterator[Database]:
    """As `db`, for races: what others commit between two attempts may well change a result, so none are compared."""
    database = Database(functions_url, connections=8, application="test", guards=True)
    yield database
    await database.close()
