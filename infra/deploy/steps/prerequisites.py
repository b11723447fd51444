"""Look before touching: tools, variables, login, project, billing, region; everything that is missing at once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from infra.deploy import terraform, tfvars_check, variable_files
from infra.deploy.problems import Problem, Refused
from infra.google.client import GoogleError, NotLoggedIn

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.deploy.engine import Change
    from infra.deploy.world import World

NAME = "prerequisites"
TITLE = "What must be there: tools, variables, login, project, billing, region"

OWNER = "MIGRATE_DATABASE_URL"
_OLDEST_PYTHON = (3, 11)


def look(world: World) -> Change | None:
    """Nothing is changed here.

    Raises:
        Refused: with everything that is missing.
    """
    found = _tools(world)
    has_terraform = not any("Terraform" in problem.what for problem in found)
    found += tfvars_check.problems(world.folder, world.checkout, rules=has_terraform)
    found += _addresses(world)
    found += _rotation(world) if world.migrates else []
    found += _place(world)
    if found:
        raise Refused(*found)
    world.talk.say(f"    project {world.project}, region {world.region}, as {world.cloud.login()}")
    return None


def _tools(world: World) -> list[Problem]:
    found = []
    if sys.version_info < _OLDEST_PYTHON:
        found.append(Problem("Python is older than 3.11", "rm -rf .venv; make setup PYTHON=python3.11"))
    version = world.terraform.version()
    wanted = ".".join(map(str, terraform.OLDEST))
    if version is None:
        found.append(
            Problem(
                "there is no Terraform on PATH",
                f"install Terraform {wanted} or newer: https://developer.hashicorp.com/terraform/install",
            )
        )
    elif version[: len(terraform.OLDEST)] < terraform.OLDEST:
        found.append(
            Problem(
                f"Terraform {'.'.join(map(str, version))} is too old",
                f"install {wanted} or newer: https://developer.hashicorp.com/terraform/install",
            )
        )
    if world.terraform.keeps_state_here and not world.offline:
        found.append(
            Problem(
                f"{terraform.OVERRIDE} lies in {world.folder}: the state would stay on this machine",
                f"rm {world.folder / terraform.OVERRIDE}",
            )
        )
    return found


def _addresses(world: World) -> list[Problem]:
    """Where tokens would go: in the clear, or to this very machine."""
    if world.offline:
        return []
    try:
        settings = world.settings
    except Refused:
        return []  # said already
    return [
        Problem(f"settings: {name} must be https: a token goes there", f"edit {world.folder / 'terraform.tfvars'}")
        for name in ("TELEGRAM_API_BASE", "CRYPTOPAY_API_BASE", "TELEGRAM_WEBHOOK_URL", "CRYPTOPAY_WEBHOOK_URL")
        if settings.get(name) and not settings[name].startswith("https://")
    ]


def _rotation(world: World) -> list[Problem]:
    """The owner's password is changed after its number is written down: in between, no migration could log in."""
    try:
        begun = variable_files.begun_rotations(world.folder)
    except Refused as error:
        return list(error.problems)
    if OWNER not in begun:
        return []
    return [
        Problem(
            f"a rotation of {OWNER} was stopped here: maybe before the database had its new password, so no migration could log in",
            f"make rotate ENV={world.environment} NAME={OWNER}, then this again",
        )
    ]


def _place(world: World) -> list[Problem]:
    """Login, project, billing, region: each is asked even when another is wrong, unless there is no one to ask as."""
    try:
        known = {name for name in ("project_id", "region") if world.inputs.get(name)}
    except Refused:
        known = set()
    if "project_id" not in known:  # said already; whether there is a login can be told all the same
        return _login(lambda: world.connect("", "").login())
    wrong = _login(world.cloud.login) or _project(world)
    return wrong or [*_billing(world), *(_region(world) if "region" in known else ())]


def _login(ask: Callable[[], str]) -> list[Problem]:
    try:
        ask()
    except (NotLoggedIn, GoogleError) as error:
        return [Problem(str(error), "gcloud auth application-default login")]
    return []


def _project(world: World) -> list[Problem]:
    project = world.project
    try:
        if world.cloud.project().active:
            return []
    except GoogleError as error:
        if error.api_disabled:  # in a new project it is off; the next step turns it on
            return []
        return [
            Problem(
                f"project {project} can't be seen ({error.status} {error.reason})",
                f"gcloud projects create {project}, or give this login the role Owner there, or mend project_id",
            )
        ]
    return [Problem(f"project {project} is being deleted", f"gcloud projects undelete {project}")]


def _billing(world: World) -> list[Problem]:
    project = world.project
    try:
        if world.cloud.billing_enabled():
            return []
    except GoogleError as error:
        if error.api_disabled:
            return []
        return [
            Problem(
                f"billing of {project} can't be read: {error}",
                "give this login the role Owner, or Project Billing Viewer",
            )
        ]
    return [
        Problem(
            f"no billing account pays for project {project}",
            f"gcloud billing projects link {project} --billing-account=<ACCOUNT> (gcloud billing accounts list)",
        )
    ]


def _region(world: World) -> list[Problem]:
    try:
        regions = world.cloud.regions()
    except GoogleError as error:
        if error.api_disabled:  # asked again once it is on (policies)
            return []
        return [Problem(f"regions can't be read: {error}", "give this login the role Owner")]
    if world.region in regions:
        return []
    return [Problem(f"functions can't run in {world.region}", f"take one of: {', '.join(sorted(regions))}")]
