"""What an image needs, and the database's users with the passwords that Secret Manager already holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from infra.deploy.engine import Change
from infra.deploy.steps import secret_values

if TYPE_CHECKING:
    from infra.deploy.world import World

NAME = "foundation"
TITLE = "What an image is built with and where it lies; the database's users"

TARGET = "module.platform.terraform_data.foundation"
USERS = ("google_sql_user.owner", "google_sql_user.functions")


def look(world: World) -> Change | None:
    """A password goes along only while a user is missing; later plans need none."""
    found = world.changes([TARGET], _passwords(world))
    if found is None:
        return None
    told, apply = found
    return Change(told, apply)


def _passwords(world: World) -> dict[str, str]:
    urls = world.terraform.outputs().get("database_urls") or {}
    there = world.terraform.addresses()
    if not urls or all(
        any(address.endswith(user) or f".{user}[" in f".{address}" for address in there) for user in USERS
    ):
        return {}
    passwords = {
        "owner": secret_values.password(world.secret("MIGRATE_DATABASE_URL")),
        "functions": secret_values.password(world.secret("DATABASE_URL")),
    }
    return {"database_passwords": json.dumps(passwords), "database_password_version": "1"}
