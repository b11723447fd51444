"""The bucket that holds Terraform's state and the record of releases; versioned, so that both can be put back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.deploy.engine import Change

if TYPE_CHECKING:
    from infra.deploy.world import World

NAME = "state_bucket"
TITLE = "The bucket of the state"


def look(world: World) -> Change | None:
    """Whether it is there."""
    if world.cloud.has_bucket(world.bucket):
        return None
    return Change(
        [f"makes gs://{world.bucket} in {world.region}: private, versioned"],
        lambda: world.cloud.make_bucket(world.bucket, world.region),
    )
