"""Migrations that take away what only the code before needed, once none of it has traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.deploy import migration_runs
from infra.deploy.engine import Change
from infra.deploy.world import migrations

if TYPE_CHECKING:
    from infra.deploy.world import World

NAME = "migrate_post"
TITLE = "Migrations after the old code"


def look(world: World) -> Change | None:
    """Whether there are any at all; the job knows which have run."""
    files = [name for name in migrations(world.checkout) if "_post_" in name]
    if not files:
        return None
    return Change(
        [f"runs what of {', '.join(files)} has not run"], lambda: migration_runs.run(world, "post"), asks=False
    )
