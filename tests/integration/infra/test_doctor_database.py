"""The doctor's look at the database, where rights were taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra import environment
from infra.doctor.examine import examine
from infra.doctor.of_environment import deployment_of
from infra.doctor.registry import BY_NAME
from tests.integration.infra.conftest import as_superuser

if TYPE_CHECKING:
    from infra.doctor.check import Finding
    from sandbox.google import Google as StandIn
    from sandbox.postgres.server import Postgres


async def _look() -> Finding:
    deployment = deployment_of(environment.load("dev"))
    try:
        (found,) = await examine(deployment, [BY_NAME["database"]])
        return found
    finally:
        await deployment.close()


async def test_functions_that_may_not_write_after_a_restore_s_revoke_are_named(
    cloud: StandIn, server: Postgres
) -> None:
    assert cloud.url
    assert (await _look()).problems == ()
    with as_superuser(server, "atlas") as session:
        try:
            session.run("begin")
            session.run("revoke insert, update, delete on atlas.updates from atlas_app")
            session.run("commit")
            problems = (await _look()).problems
        finally:
            session.run("grant insert, update, delete on atlas.updates to atlas_app")
    assert [problem.partition(":")[0] for problem in problems] == [
        "the functions' login may not insert updates",
        "the functions' login may not update updates",
    ]
