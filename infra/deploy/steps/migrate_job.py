"""The job that migrates, alone, with the new image: it can run before any function changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.deploy.engine import Change

if TYPE_CHECKING:
    from infra.deploy.world import World

NAME = "migrate_job"
TITLE = "The job that migrates, with the new image"

TARGET = "module.platform.google_cloud_run_v2_job.migrate"


def look(world: World) -> Change | None:
    """Whether it runs the new image."""
    found = world.changes([TARGET])
    if found is None:
        return None
    told, apply = found
    return Change(told, apply)
