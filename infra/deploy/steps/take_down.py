"""Everything that Terraform made, taken away in the order of what hangs on what; and what the commands themselves remember of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.deploy import releases, variable_files
from infra.deploy.engine import Change
from infra.deploy.plan_words import lines
from infra.deploy.steps.protection import UNPROTECTED

if TYPE_CHECKING:
    from infra.deploy.world import World

NAME = "take_down"
TITLE = "Everything that was made"


def look(world: World) -> Change | None:
    """What would go; the project's id has to be typed."""
    there = world.terraform.addresses()
    known = releases.read(world.cloud, world.bucket, world.environment)
    files = [world.folder / name for name in (variable_files.SECRETS, variable_files.RELEASE)]
    if not there and not known and not any(path.exists() for path in files):
        return None
    if not there:
        return Change(["nothing is left but what is remembered of it"], lambda: _forget(world), asks=False)
    saved = world.terraform.plan(variables=UNPROTECTED, destroy=True)
    world.open_plans.append(saved.path)
    told = lines(saved.plan)

    def destroy() -> None:
        world.talk.confirm(f"Everything of {world.environment} goes, with all customers and books.", world.project)
        world.terraform.apply(saved)
        _forget(world)

    return Change(told, destroy, asks=False)


def _forget(world: World) -> None:
    for name in (variable_files.SECRETS, variable_files.RELEASE, variable_files.BEGUN_ROTATIONS):
        (world.folder / name).unlink(missing_ok=True)
    releases.forget(world.cloud, world.bucket, world.environment)
