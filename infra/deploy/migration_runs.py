"""One run of the job that migrates, waited for; one that is under way already is waited for instead of starting a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from infra.deploy.problems import Problem, Refused

if TYPE_CHECKING:
    from infra.deploy.cloud import Running
    from infra.deploy.world import World

_SLACK_S = 120
"""For the start of the container and the last look."""


def run(world: World, kind: Literal["pre", "post"]) -> None:
    """Migrate and wait for the end.

    Raises:
        Refused: it failed or did not end; no function has been changed since.
    """
    job = world.terraform.outputs()["migrate_job"]
    name, args = str(job["name"]), tuple(map(str, job["args"][kind]))
    under_way = [one for one in world.cloud.job_runs(name) if one.outcome == "running"]
    for one in under_way:  # of a command that was stopped; two would only wait for each other's lock
        world.talk.say(f"    {one.name} is under way since before")
        _wait(world, one.name, int(job["timeout_s"]))
    started = world.cloud.run_job(name, args)
    end = _wait(world, started, int(job["timeout_s"]))
    if end.outcome != "done":
        traffic = (
            "no function has been changed: what served goes on, and is safe on what was migrated"
            if kind == "pre"
            else "the new code serves; what only the old code needed is still there"
        )
        raise Refused(
            Problem(
                f"the migration failed: {end.words or 'its log says why'}; {traffic}",
                f"read its log ({end.log or started}), mend, make deploy ENV={world.environment};"
                f" where it says `wrong user or password`: make rotate ENV={world.environment} NAME=MIGRATE_DATABASE_URL first",
            )
        )


def _wait(world: World, run_name: str, timeout_s: int) -> Running:
    end: list[Running] = []

    def ended() -> bool:
        end.append(world.cloud.job_run(run_name))
        return end[-1].outcome != "running"

    if not world.wait("the migration", timeout_s + _SLACK_S, ended):
        raise Refused(
            Problem(f"{run_name} has not ended", f"make deploy ENV={world.environment}: it is waited for again")
        )
    return end[-1]
