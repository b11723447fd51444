"""The APIs that must be on before Terraform can plan: the first plan reads the project, and a new project has them off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.deploy.engine import Change
from infra.deploy.problems import Problem, Refused
from infra.deploy.world import listed
from infra.google.client import GoogleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.deploy.world import World

NAME = "apis"
TITLE = "APIs without which nothing can be planned"

# All others are Terraform's (modules/platform/apis.tf). One request takes at most twenty.
NEEDED = (
    "cloudresourcemanager.googleapis.com",
    "serviceusage.googleapis.com",
    "iam.googleapis.com",
    "cloudbilling.googleapis.com",
    "orgpolicy.googleapis.com",
    "cloudscheduler.googleapis.com",
    "cloudtasks.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "storage.googleapis.com",
)


_KNOWN_S = 300


def look(world: World) -> Change | None:
    """Which are off."""
    on = world.cloud.enabled_apis(NEEDED)
    off = [api for api in NEEDED if api not in on]
    if not off:
        return None
    return Change([f"turns on {listed(api.partition('.')[0] for api in off)}"], lambda: _turn_on(world, off))


def _turn_on(world: World, apis: Sequence[str]) -> None:
    world.cloud.enable_apis(apis)
    if not world.wait("them to be known everywhere", _KNOWN_S, lambda: _answer(world)):
        raise Refused(
            Problem("the APIs are on, and still answer that they are not", "the same command again in some minutes")
        )


def _answer(world: World) -> bool:
    """Whether the APIs answer: for some minutes after they were turned on, some servers do not know it yet."""
    try:
        world.cloud.project()
        world.cloud.regions()
        world.cloud.billing_enabled()
        world.cloud.has_bucket(world.bucket)
    except GoogleError as error:
        if error.api_disabled:
            return False
        raise
    return True
