"""The release's image: built once, found by its tag afterwards, and used by its digest alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.deploy import variable_files
from infra.deploy.engine import Change
from infra.deploy.problems import Problem, Refused

if TYPE_CHECKING:
    from infra.deploy.cloud import Running
    from infra.deploy.world import World

NAME = "image"
TITLE = "The image of this release"

_BUILD_S = 1500
"""Longer than the build's own timeout, so that its end is what is told."""


def look(world: World) -> Change | None:
    """Whether the registry has it, and whether the folder says so."""
    build: dict[str, Any] = world.terraform.outputs()["build"]
    release, tagged = str(build["release"]), str(build["image"])
    digest = world.cloud.image_digest(tagged)
    if digest is not None:
        wanted = variable_files.Release(release, f"{build['repository']}@{digest}")
        if variable_files.release(world.folder) == wanted:
            world.talk.say(f"    {release}, {digest[:19]}")
            return None
        return Change(
            [f"release {release} is built: {digest}"],
            lambda: variable_files.write_release(world.folder, wanted),
            asks=False,
        )
    return Change(
        [f"builds release {release} of commit {world.commit() or 'unknown'} (some minutes)"],
        lambda: _build(world, build),
    )


def _build(world: World, build: dict[str, Any]) -> None:
    tagged, tags = str(build["image"]), build["request"]["tags"]
    earlier = world.cloud.builds(tags[0])
    name = next((one.name for one in earlier if one.outcome == "running"), None)
    if name is None:
        name = world.cloud.start_build(build["request"])
    else:
        world.talk.say("    a build of it is under way since before")
    end: list[Running] = []

    def ended() -> bool:
        end.append(world.cloud.build(name))
        return end[-1].outcome != "running"

    if not world.wait("the build", _BUILD_S, ended):
        raise Refused(
            Problem(f"the build {name} has not ended", f"make deploy ENV={world.environment}: it is waited for again")
        )
    if end[-1].outcome != "done":
        raise Refused(
            Problem(
                f"the image was not built: {end[-1].words}",
                f"read its log ({end[-1].log}), mend, make deploy ENV={world.environment}",
            )
        )
    digest = world.cloud.image_digest(tagged)
    if digest is None:
        raise Refused(
            Problem(f"the build ended well, and the registry has no {tagged}", f"read its log ({end[-1].log})")
        )
    variable_files.write_release(
        world.folder, variable_files.Release(str(build["release"]), f"{build['repository']}@{digest}")
    )
    world.talk.say(f"    {digest}")
