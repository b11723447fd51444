"""Organization Policy: what the organisation over the project forbids in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra.google.client import Google


@dataclass(frozen=True, slots=True)
class Policy:
    """What applies in the project after all that is inherited.

    Attributes:
        constraint: without `constraints/`, such as `run.allowedIngress`.
        enforced: of a constraint that is on or off.
        denies_all: of a list: nothing is allowed.
        allowed: of a list: these alone, when there are any.
        denied: of a list: these not.
    """

    constraint: str
    enforced: bool
    denies_all: bool
    allowed: tuple[str, ...]
    denied: tuple[str, ...]

    def allows(self, value: str) -> bool:
        """Whether a list constraint lets this very value through; groups of values (`in:...`) are not opened."""
        return not self.denies_all and value not in self.denied and (not self.allowed or value in self.allowed)


def effective(google: Google, constraint: str) -> Policy:
    """The effective policy. Rules under a condition are left out: what they ask of is not known here.

    Raises:
        infra.google.client.GoogleError
    """
    name = f"projects/{google.project}/policies/{constraint}"
    answer = google.execute(google.api("orgpolicy").projects().policies().getEffectivePolicy(name=name))
    rules = [rule for rule in answer.get("spec", {}).get("rules", ()) if "condition" not in rule]
    values = [rule.get("values", {}) for rule in rules]
    return Policy(
        constraint=constraint,
        enforced=any(rule.get("enforce") for rule in rules),
        denies_all=any(rule.get("denyAll") for rule in rules),
        allowed=tuple(value for one in values for value in one.get("allowedValues", ())),
        denied=tuple(value for one in values for value in one.get("deniedValues", ())),
    )
