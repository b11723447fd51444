"""Terraform made ready here, and the commands' files of variables put back where this machine has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.deploy import releases, variable_files
from infra.deploy.engine import Change
from infra.deploy.problems import Problem, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.deploy.world import World

NAME = "state"
TITLE = "Terraform's providers, state, and what runs now"


def look(world: World) -> Change:
    """Done each time: it costs seconds and changes nothing on the platform."""
    return Change([f"state in {_where(world)}"], lambda: _ready(world), asks=False)


def _where(world: World) -> str:
    return str(world.folder) if world.terraform.keeps_state_here else f"gs://{world.bucket}"


def _refuse_older(world: World, serving: Mapping[str, str]) -> None:
    """A file of an earlier day would put secrets back that another machine has rotated since.

    Raises:
        Refused: for each such secret.
    """
    here = variable_files.secret_versions(world.folder) or {}
    older = [
        Problem(
            f"{setting}: version {here[setting]} here, and the release that serves has {number}",
            f"rm {world.folder / variable_files.SECRETS}: it is put back from the record; to go back to an older value on purpose, add it as a new version",
        )
        for setting, number in sorted(serving.items())
        if setting in here and int(here[setting]) < int(number)
    ]
    if older:
        raise Refused(*older)


def _ready(world: World) -> None:
    world.terraform.init(world.bucket)
    known = releases.read(world.cloud, world.bucket, world.environment)
    if not known:
        world.talk.say("    no release is recorded")
        return
    last = known[-1]
    world.talk.say(f"    release {last.id} serves since {last.at}")
    _refuse_older(world, last.secret_versions)
    # Another machine deployed it, or the file was lost. What lies here is newer than the record and stays.
    if variable_files.secret_versions(world.folder) is None:
        variable_files.write_secret_versions(world.folder, last.secret_versions)
    if last.database and not variable_files.database_name(world.folder):
        variable_files.write_database_name(world.folder, last.database)
    if variable_files.release(world.folder) is None:
        variable_files.write_release(world.folder, variable_files.Release(last.id, last.image))
