"""Everything else: the functions get the new image, and whatever the table, the settings and the code of Terraform ask for is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.deploy.engine import Change

if TYPE_CHECKING:
    from infra.deploy.world import World

NAME = "release"
TITLE = "The platform: functions, queues, schedules, alerts"


def look(world: World) -> Change | None:
    """The whole plan."""
    found = world.changes()
    if found is None:
        return None
    told, apply = found
    return Change(told, apply)
