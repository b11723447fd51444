"""The release written down, before migrations take away what the one before needs: a rollback has to know of those."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from infra.deploy import releases, variable_files
from infra.deploy.engine import Change
from infra.deploy.problems import Problem, Refused
from infra.deploy.world import migrations

if TYPE_CHECKING:
    from infra.deploy.world import World

NAME = "record"
TITLE = "The record of releases"


def look(world: World) -> Change | None:
    """Whether what serves is the newest entry."""
    release = variable_files.release(world.folder)
    if release is None:
        raise Refused(Problem("it is not known here what runs", f"make deploy ENV={world.environment}"))
    known = releases.read(world.cloud, world.bucket, world.environment)
    before = next((one for one in reversed(known) if one.id == release.id), None)
    knows = before.migrations if before is not None else migrations(world.checkout)
    schema = sorted({*knows, *(known[-1].schema if known else ())})
    entry = releases.Recorded(
        id=release.id,
        image=release.image,
        commit=before.commit if before is not None else world.commit(),
        secret_versions=world.secret_versions(),
        migrations=knows,
        schema=tuple(schema),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        back_from=known[-1].id if world.goes_back and known else "",
        database=variable_files.database_name(world.folder),
    )
    if known and releases.same(known[-1], entry):
        return None
    return Change(
        [f"writes down release {release.id}"],
        lambda: _add(world, entry),
        asks=False,
    )


def _add(world: World, entry: releases.Recorded) -> None:
    releases.add(world.cloud, world.bucket, world.environment, entry)
