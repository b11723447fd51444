"""A `Deployment` of an environment as every operators' command sees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from infra.doctor.check import NotCheckedError, WrongError
from infra.doctor.deployment import Deployment
from infra.doctor.google_cloud import GoogleCloud
from infra.doctor.platform import LocalPlatform
from infra.environment import Deployed, Local, NoEnvironment, NoSecret, UnreadableProject
from infra.google.client import GoogleError, NotLoggedIn
from lib import json_reader

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pg8000.native

    from infra.doctor.deployment import Json
    from infra.environment import Environment

_TABLE = Path(__file__).resolve().parents[2] / "functions" / "table.json"
BOT_TOKEN = "TELEGRAM_BOT_TOKEN"  # noqa: S105 - the setting's name


def deployment_of(environment: Environment) -> Deployment:
    """To be made inside the event loop that the checks run in, and closed.

    Raises:
        NotLoggedIn, BadEndpoint, infra.environment.UnreadableProject: nothing can be asked at all.
    """
    settings, trouble = _settings(environment)
    unknown = environment.no_record if isinstance(environment, Deployed) else ""

    def secret(name: str) -> str | None:
        is_real_bots = name == BOT_TOKEN and isinstance(environment, Local)
        if unknown:  # whether it is set can't be told, so it is not said to be unset
            raise NotCheckedError(unknown)
        if not environment.has_secret(name) and not is_real_bots:
            return None
        try:
            return environment.secret(name)
        except (NoSecret, NotLoggedIn) as error:
            if is_real_bots:  # nothing is wrong with a system that does not write it down
                raise NotCheckedError(str(error)) from None
            raise WrongError(str(error)) from None

    def connect() -> pg8000.native.Connection:
        if unknown and isinstance(environment, Deployed) and environment.has_own_database:
            raise NotCheckedError(unknown)  # its address is a secret
        return environment.connect("readonly")

    made = Deployment(environment.name, settings, connect=connect, secret=secret, trouble=trouble)
    match environment:
        case Local():
            parent = f"projects/{environment.project}/locations/{environment.region}"
            made.platform = LocalPlatform(made.settings.get("TASKS_ENDPOINT", ""), environment.scheduler, parent)
            made.folder = str(environment.home)
            made.fetches_updates = not environment.has_secret(BOT_TOKEN)
        case Deployed():
            made.platform = made.cloud = GoogleCloud(environment)
            size = _sizes().get(str(environment.variables.get("size") or ""), {})
            made.together = "private" if size.get("private") else ""
            made.most_instances = size.get("every_function", {}).get("max_instances")
    return made


def _settings(environment: Environment) -> tuple[Mapping[str, str], str]:
    """The settings, or why they can't be had while other things still may be."""
    try:
        return environment.settings, ""
    except UnreadableProject:
        raise
    except (NoEnvironment, GoogleError) as error:
        return {}, str(error)


def _sizes() -> dict[str, Json]:
    """What each size of a shop has otherwise, by the table that Terraform reads."""
    found: dict[str, Json] = json_reader.read_object(_TABLE.read_bytes()).get("sizes", {})
    return found
