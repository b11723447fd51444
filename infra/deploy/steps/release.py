"""Everything else: the functions get the new image, and whatever the table, the settings and the code of Terraform ask for is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.deploy.engine import Change

if TYPE_CHECKING:
    from infra.deploy.world import World

NAME = "release"
TITLE = "The platform: functions, queues, schedules, alerts"

_ADDRESS = 'module.platform.module.function["{target}"].google_cloud_run_v2_service.main'


def look(world: World) -> Change | None:
    """The whole plan. A function that never came up is made anew: Terraform sees nothing to change in it, and nothing is lost with it."""
    names = set(map(str, (world.terraform.outputs().get("services") or {}).values()))
    dead = [one.name for one in world.cloud.services() if one.name in names and one.settled and not one.ever_ready]
    found = world.changes(replace=[_ADDRESS.format(target=name.replace("-", "_")) for name in dead])
    if found is None:
        return None
    told, apply = found
    return Change([*(f"{name} never came up, so it is made anew" for name in dead), *told], apply)
