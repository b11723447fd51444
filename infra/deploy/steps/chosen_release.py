"""Which release a rollback goes back to, and whether it can: its image is there, and no migration took away what its code needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra import bundle
from infra.deploy import releases, variable_files
from infra.deploy.engine import Change
from infra.deploy.problems import Problem, Refused

if TYPE_CHECKING:
    from infra.deploy.releases import Recorded
    from infra.deploy.world import World

NAME = "chosen_release"
TITLE = "The release to go back to"


def look(world: World) -> Change | None:
    """RELEASE= if it is said; else the last one that served before what this folder says runs.

    Raises:
        Refused: there is none, or it can't serve any more.
    """
    known = releases.read(world.cloud, world.bucket, world.environment)
    chosen = _chosen(world, known)
    if problems := _unfit(world, known[-1], chosen):
        raise Refused(*problems)
    if not world.bundle.exists():  # Terraform names it; nothing is built of it
        bundle.build(world.bundle, world.checkout)
    wanted = variable_files.Release(chosen.id, chosen.image, known[-1].id if chosen.id != known[-1].id else "")
    if variable_files.release(world.folder) == wanted:
        world.talk.say(f"    {chosen.id} of commit {chosen.commit or 'unknown'}")
        return None
    return Change(
        [f"goes back to release {chosen.id} of commit {chosen.commit or 'unknown'}, which served on {chosen.at}"],
        lambda: variable_files.write_release(world.folder, wanted),
    )


def _chosen(world: World, known: list[Recorded]) -> Recorded:
    if world.wanted_release:
        for one in reversed(known):
            if one.id == world.wanted_release:
                return one
        ids = ", ".join(dict.fromkeys(one.id for one in reversed(known)))
        raise Refused(
            Problem(f"no release {world.wanted_release} has served here", f"RELEASE= one of: {ids or 'none yet'}")
        )
    if not known:
        raise Refused(Problem("no release has served here yet", f"make deploy ENV={world.environment}"))
    here = variable_files.release(world.folder)
    last = known[-1]
    if here is not None and here.id != last.id:
        if here.back_from == last.id and (earlier := [one for one in known if one.id == here.id]):
            return earlier[-1]  # this very rollback was stopped
        # A deploy from here did not come to its end, or other machines have deployed since the last one from here.
        world.talk.say(f"    {last.id} served last, and {here.id} was last at work here; RELEASE= names another one")
        return last
    if last.back_from:  # said twice, or stopped after it was recorded: not there and back again
        world.talk.say(f"    {last.id} serves since the rollback from {last.back_from}; RELEASE= names another one")
        return last
    for one in reversed(known):
        if one.id != last.id:
            return one
    raise Refused(Problem(f"{last.id} is the only release that has served here", "mend it and make deploy"))


def _unfit(world: World, last: Recorded, chosen: Recorded) -> list[Problem]:
    found = []
    if world.cloud.image_digest(chosen.image) is None:
        found.append(
            Problem(
                f"the image of release {chosen.id} is not in the registry any more",
                f"git checkout {chosen.commit.rstrip('+') or '<its commit>'}, then make deploy ENV={world.environment}",
            )
        )
    gone = sorted(name for name in last.schema if "_post_" in name and name not in chosen.migrations)
    if gone:
        found.append(
            Problem(
                f"release {chosen.id} needs what {', '.join(gone)} took away",
                "mend forward: a migration that gives it back, or a fix of the newest code, then make deploy",
            )
        )
    return found
