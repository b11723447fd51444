"""A `Deployment` of an environment as every operators' command sees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from infra.doctor.check import NotCheckedError, WrongError
from infra.doctor.deployment import Deployment
from infra.doctor.google_cloud import GoogleCloud
from infra.doctor.platform import LocalPlatform
from infra.environment import Deployed, Local, NoEnvironment, NoSecret
from infra.google.client import BadEndpoint, GoogleError, NotLoggedIn
from lib import json_reader

if TYPE_CHECKING:
    from infra.doctor.deployment import Json
    from infra.environment import Environment

_TABLE = Path(__file__).resolve().parents[2] / "functions" / "table.json"
BOT_TOKEN = "TELEGRAM_BOT_TOKEN"  # noqa: S105 - the setting's name


def deployment_of(environment: Environment) -> Deployment:
    """To be made inside the event loop that the checks run in, and closed."""

    def secret(name: str) -> str | None:
        is_real_bots = name == BOT_TOKEN and isinstance(environment, Local)
        if not environment.has_secret(name) and not is_real_bots:
            return None
        try:
            return environment.secret(name)
        except (NoSecret, NotLoggedIn) as error:
            if is_real_bots:  # nothing is wrong with a system that does not write it down
                raise NotCheckedError(str(error)) from None
            raise WrongError(str(error)) from None

    made = Deployment(environment.name, {}, connect=lambda: environment.connect("readonly"), secret=secret)
    try:
        made.settings = environment.settings
    except (NoEnvironment, GoogleError, NotLoggedIn, BadEndpoint) as error:
        made.trouble = str(error)
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


def _sizes() -> dict[str, Json]:
    """What each size of a shop has otherwise, by the table that Terraform reads."""
    found: dict[str, Json] = json_reader.read_object(_TABLE.read_bytes()).get("sizes", {})
    return found
