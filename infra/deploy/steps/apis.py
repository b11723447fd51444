"""The APIs that must be on before Terraform can plan: the first plan reads the project, and a new project has them off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.deploy.engine import Change
from infra.deploy.world import listed

if TYPE_CHECKING:
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


def look(world: World) -> Change | None:
    """Which are off."""
    off = [api for api in NEEDED if api not in world.cloud.enabled_apis()]
    if not off:
        return None
    return Change([f"turns on {listed(api.partition('.')[0] for api in off)}"], lambda: world.cloud.enable_apis(off))
