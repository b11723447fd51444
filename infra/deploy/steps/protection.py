"""Whether this environment may be taken down, and its protection off; the first of two parts, nothing is deleted by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.deploy.engine import Change
from infra.deploy.problems import Problem, Refused

if TYPE_CHECKING:
    from infra.deploy.world import World

NAME = "protection"
TITLE = "Protection against deletion"

UNPROTECTED = {"protected": "false"}
# Whatever has a protection (modules/platform, var.protected; a test compares).
PROTECTED_TYPES = (
    "google_cloud_tasks_queue",
    "google_sql_database_instance",
    "google_secret_manager_secret",
    "google_storage_bucket",
)


def look(world: World) -> Change | None:
    """Prod is taken down only when a person has written `protected = false` into its variables and applied it.

    Raises:
        Refused: it is prod, and still protected.
    """
    addresses = world.terraform.addresses()
    guarded = [address for address in addresses if any(f".{kind}." in f".{address}" for kind in PROTECTED_TYPES)]
    if not guarded:
        return None
    if world.environment == "prod":
        if world.inputs.get("protected") is not False:
            raise Refused(
                Problem(
                    "prod is protected: customers, payments and books are in it",
                    f"protected = false in {world.folder / 'terraform.tfvars'}, then make deploy ENV=prod, then this command again",
                )
            )
        if world.changes(guarded) is not None:
            raise Refused(
                Problem(
                    "protected = false is written down and not applied", "make deploy ENV=prod, then this command again"
                )
            )
        return None
    found = world.changes(guarded, UNPROTECTED)
    if found is None:
        return None
    told, apply = found
    return Change(told, apply)
