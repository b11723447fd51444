"""What the organisation forbids, as far as it would stop a deploy half-way; and, now that its API is on, the region."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.deploy.problems import Problem, Refused
from infra.google.client import GoogleError

if TYPE_CHECKING:
    from infra.deploy.cloud import Policy
    from infra.deploy.engine import Change
    from infra.deploy.world import World

NAME = "policies"
TITLE = "Policies of the organisation, and the region"

# Yes/no constraints that stop what Atlas needs: what would fail, and when.
FORBIDS = {
    "iam.disableServiceAccountCreation": "each function has an account of its own",
    "run.managed.requireInvokerIam": "Telegram and Crypto Pay come without a Google login",
    "sql.restrictPublicIp": "functions reach the database's address through the connector (no network is let in)",
}
LOCATIONS = "gcp.resourceLocations"
INGRESS = "run.allowedIngress"


def look(world: World) -> Change | None:
    """Nothing is changed here.

    Raises:
        Refused: with every policy in the way.
    """
    found = [problem for constraint in (*FORBIDS, LOCATIONS, INGRESS) if (problem := _in_the_way(world, constraint))]
    regions = world.cloud.regions()
    if world.region not in regions:
        found.append(Problem(f"functions can't run in {world.region}", f"take one of: {', '.join(sorted(regions))}"))
    if found:
        raise Refused(*found)
    return None


def _in_the_way(world: World, constraint: str) -> Problem | None:
    try:
        policy = world.cloud.policy(constraint)
    except GoogleError as error:
        # A project without an organisation has none, and who may not read them may still deploy.
        world.talk.say(f"    not checked: {constraint} ({error.status} {error.reason})")
        return None
    mend = f"ask who administers the organisation for an exception: gcloud org-policies describe {constraint} --effective --project={world.project}"
    if constraint in FORBIDS:
        return Problem(f"{constraint} is enforced: {FORBIDS[constraint]}", mend) if policy.enforced else None
    if constraint == INGRESS:
        return (
            None
            if _lets(policy, {"all"})
            else Problem(f"{constraint} does not allow `all`: the two webhooks are called from outside", mend)
        )
    names = {world.region, f"in:{world.region}-locations", f"in:{world.region.split('-')[0]}-locations"}
    if world.region.startswith("europe-"):
        names |= {"in:eu-locations"}
    return None if _lets(policy, names) else Problem(f"{constraint} does not allow {world.region}", mend)


def _lets(policy: Policy, names: set[str]) -> bool:
    """Whether a list constraint lets one of these names, which all mean the same, through."""
    if policy.denied is None or names & policy.denied:
        return False
    return policy.allowed is None or bool({name.removeprefix("is:") for name in policy.allowed} & names)
