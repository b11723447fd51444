"""A `Deployment` of an environment as every operators' command sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.doctor.check import NotCheckedError, WrongError
from infra.doctor.deployment import Deployment
from infra.doctor.google_cloud import GoogleCloud
from infra.doctor.platform import LocalPlatform
from infra.environment import Deployed, Local, NoEnvironment, NoSecret
from infra.google.client import BadEndpoint, GoogleError, NotLoggedIn

if TYPE_CHECKING:
    from infra.environment import Environment

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
    return made
