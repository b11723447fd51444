"""The doctor's look at a database without a running system: whom the functions log in as."""

from __future__ import annotations

import pg8000.native
import pytest

from infra.doctor.check import State
from infra.doctor.deployment import Deployment
from infra.doctor.examine import examine
from infra.doctor.registry import BY_NAME
from lib.db.address import DatabaseAddress


@pytest.mark.proves("N-60.schema")
async def test_functions_that_log_in_as_the_owner_of_the_books_are_wrong(database_url: str) -> None:
    address = DatabaseAddress.parse(database_url)

    def connect() -> pg8000.native.Connection:
        return pg8000.native.Connection(**address.driver_arguments(), startup_params={"search_path": "atlas"})

    async def look(user: str) -> tuple[State, tuple[str, ...]]:
        url = f"postgresql://{user}:marked@127.0.0.1:5432/atlas"
        deployment = Deployment("test", {"DATABASE_URL": url}, connect=connect)
        try:
            (found,) = await examine(deployment, [BY_NAME["database-roles"]])
            return found.state, found.problems
        finally:
            await deployment.close()

    assert await look("atlas_app") == (State.OK, ())
    assert await look("of_another_server") == (State.OK, ())
    assert await look(address.user) == (
        State.WRONG,
        (f"functions log in as {address.user}, which owns the tables: it may change and delete everything",),
    )
