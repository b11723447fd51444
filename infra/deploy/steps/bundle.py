"""The source bundle: the same tree, the same bytes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from infra import bundle
from infra.deploy.engine import Change

if TYPE_CHECKING:
    from infra.deploy.world import World

NAME = "bundle"
TITLE = "The source bundle"


def look(world: World) -> Change | None:
    """Whether the one that lies there is of this tree."""
    with tempfile.TemporaryDirectory(prefix="atlas-bundle-") as scratch:
        fresh = Path(scratch) / "source.zip"
        bundle.build(fresh, world.checkout)
        if world.bundle.exists() and world.bundle.read_bytes() == fresh.read_bytes():
            return None

    def build() -> None:
        whole = world.bundle.with_name(f"{world.bundle.name}.new")
        bundle.build(whole, world.checkout)
        whole.replace(world.bundle)

    return Change([f"writes {world.bundle} of commit {world.commit() or 'unknown'}"], build, asks=False)
