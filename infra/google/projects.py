"""Cloud Resource Manager: the project itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra.google.client import Google


@dataclass(frozen=True, slots=True)
class Project:
    """A project that exists.

    Attributes:
        number: as texts of addresses and agents' accounts have it.
        active: neither deleted nor about to be.
    """

    id: str
    number: str
    name: str
    active: bool


def get(google: Google) -> Project:
    """The project.

    Raises:
        infra.google.client.GoogleError: 403 as well where there is none: Google does not tell a stranger which exist.
    """
    answer = google.execute(google.api("cloudresourcemanager").projects().get(name=f"projects/{google.project}"))
    return Project(
        id=answer["projectId"],
        number=answer["name"].removeprefix("projects/"),
        name=answer.get("displayName", ""),
        active=answer.get("state") == "ACTIVE",
    )
