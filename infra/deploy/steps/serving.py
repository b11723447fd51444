"""Every function serves the release: its newest revision is ready and takes all the traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.deploy import variable_files
from infra.deploy.problems import Problem, Refused

if TYPE_CHECKING:
    from infra.deploy.cloud import Service
    from infra.deploy.engine import Change
    from infra.deploy.world import World

NAME = "serving"
TITLE = "Every function serves this release"

_READY_S = 600


def look(world: World) -> Change | None:
    """Nothing is changed here; revisions are waited for.

    Raises:
        Refused: one does not serve, with the platform's words.
    """
    release = variable_files.release(world.folder)
    names = sorted(set(map(str, world.terraform.outputs()["services"].values())))
    if release is None:
        raise Refused(Problem("it is not known here what runs", f"make deploy ENV={world.environment}"))
    seen: dict[str, Service] = {}

    def settled() -> bool:
        seen.clear()
        seen.update({one.name: one for one in world.cloud.services()})
        return all(name not in seen or seen[name].serves or seen[name].settled for name in names)

    world.wait("the functions' revisions", _READY_S, settled)
    problems = [
        problem for name in names if (problem := _wrong(world, name, seen.get(name), release.image)) is not None
    ]
    if problems:
        raise Refused(*problems)
    world.talk.say(f"    {len(names)} functions, all traffic on {release.id}")
    return None


def _wrong(world: World, name: str, service: Service | None, image: str) -> Problem | None:
    again = f"make deploy ENV={world.environment}"
    back = f"read its log, then mend and {again}, or make rollback ENV={world.environment}"
    if service is None:
        return Problem(f"function {name} is not there", again)
    if not service.serves:
        return Problem(
            f"function {name} does not serve the new revision: {service.words or 'it is not ready'}; what served before goes on",
            back,
        )
    if service.image != image:
        return Problem(f"function {name} runs {service.image}, which is not this release", again)
    return None
