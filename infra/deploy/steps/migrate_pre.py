"""Migrations that the new code needs, while the old code serves. A failure ends the deploy here: no function has been changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.deploy import migration_runs, releases
from infra.deploy.engine import Change
from infra.deploy.world import migrations

if TYPE_CHECKING:
    from infra.deploy.world import World

NAME = "migrate_pre"
TITLE = "Migrations before the new code"


def look(world: World) -> Change:
    """Run each time: a database at the newest schema is left as it is, and one that was put back from a backup is not."""
    recorded = releases.read(world.cloud, world.bucket, world.environment)
    known = set(recorded[-1].schema) if recorded else set()
    new = [name for name in migrations(world.checkout) if "_pre_" in name and name not in known]
    return Change(
        [f"runs {name}" for name in new] or ["none is new; the job looks for itself"],
        lambda: migration_runs.run(world, "pre"),
        asks=bool(new),
    )
