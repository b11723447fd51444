"""What holds values: the secrets, still empty, and the database without its users; so that passwords can be kept before they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.deploy.engine import Change

if TYPE_CHECKING:
    from infra.deploy.world import World

NAME = "storage"
TITLE = "Secrets without values, the database without users"

TARGETS = ("module.platform.google_secret_manager_secret.main", "module.platform.google_sql_database.main")


def look(world: World) -> Change | None:
    """Looked at in the first deploy, and when the table asks for a further secret."""
    found = world.changes(TARGETS)
    if found is None:
        return None
    told, apply = found
    return Change(told, apply)
