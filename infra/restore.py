"""`make restore ENV=prod TO=atlas-2 AT=2026-11-30T03:20:00Z`: the database as it was at a moment, under a new name, in force.

Cloud SQL brings a moment back as a second instance. What names the first one follows here: both database secrets, the variable
`database_name`, and Terraform's state, which takes the second instance in and lets the first go without touching it. Each part is looked
for before it is done, so the command may be stopped anywhere and said again: `restore.begun.json` says until the end what was asked for. `make deploy` then puts it in front of the functions.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from infra import environment
from infra.deploy import folder_lock, variable_files
from infra.deploy.problems import Declined, Refused
from infra.deploy.talk import Talk
from infra.deploy.terraform import Terraform, TerraformFailed, discard, is_initialised
from infra.environment import Deployed, NoEnvironment
from infra.google import secrets, sql
from infra.google.client import BadEndpoint, GoogleError, NotLoggedIn
from infra.google.waiting import TookTooLong

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,60}[a-z0-9]")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_VARIABLES: Final = variable_files.DATABASE
_PENDING: Final = "restore.pending.json"
_BEGUN: Final = "restore.begun.json"
_SECRETS: Final = (environment.OWNER_SECRET, environment.FUNCTIONS_SECRET)
_INSTANCE: Final = "google_sql_database_instance"
_IDS: Final[dict[str, str]] = {
    _INSTANCE: "projects/{project}/instances/{instance}",
    "google_sql_database": "projects/{project}/instances/{instance}/databases/{name}",
    "google_sql_user": "{project}/{instance}/{name}",
}
"""What Terraform imports each by, as the provider's pages say."""

_PASSWORDS: Final = "module.platform.terraform_data.passwords"
_TYPE: Final = re.compile(r"(?:^|\.)(?P<type>google_sql_database_instance|google_sql_database|google_sql_user)\.")


@dataclass(frozen=True)
class Asked:
    """What is asked for: the instance `to`, as the one in force was at `moment` (RFC 3339, UTC)."""

    to: str
    moment: str


def main(arguments: list[str] | None = None) -> int:
    """0 when it is done, 1 when not and it was said why, 2 for what can't be asked."""
    parser = argparse.ArgumentParser(prog="python -m infra.restore", description="A database as it was at a moment.")
    parser.add_argument("--env", required=True, help="dev or prod")
    parser.add_argument("--to", default="", help="name of the instance that is made; a new one")
    parser.add_argument("--at", default="", help="the moment, such as 2026-11-30T03:20:00Z")
    given = parser.parse_args(arguments)
    talk = Talk()
    try:
        found = environment.load(given.env, among=environment.DEPLOYED)
        if not isinstance(found, Deployed):
            return _complain(["ENV must be dev or prod: the local system has no backups"], 2)
        asked = Asked(given.to, given.at)
        terraform = Terraform(found.folder, lambda line: talk.say(f"      {line}"))
        wrong = [*problems(found, asked), *_terraform_problems(found)]
        if wrong:
            return _complain(wrong, 2)
        with folder_lock.held(found.folder):
            again = environment.load(given.env)  # what the command before this one wrote
            assert isinstance(again, Deployed)  # noqa: S101 -- of the same name
            restore(again, asked, terraform, talk)
    except (NoEnvironment, BadEndpoint, Declined, Refused) as error:
        return _complain(str(error).splitlines(), 2)
    except (GoogleError, NotLoggedIn, TerraformFailed, TookTooLong, secrets.DamagedValue) as error:
        return _complain(
            [*str(error).splitlines(), "Say it again: what is done is found, and it goes on from there."], 1
        )
    return 0


def problems(found: Deployed, asked: Asked) -> list[str]:
    """Everything that is wrong with what is asked for.

    Raises:
        GoogleError, NotLoggedIn
    """
    wrong = []
    if found.has_own_database:
        return [
            f"ENV={found.name} has a Postgres of its own: restore it as its provider says (docs/runbooks/restore.md)"
        ]
    if not _NAME.fullmatch(asked.to):
        wrong.append("TO must be the new instance's name: lower-case letters, digits and hyphens, such as atlas-2")
    now = datetime.now(UTC)
    if not _MOMENT.fullmatch(asked.moment) or (moment := _read(asked.moment)) is None:
        wrong.append("AT must be a moment in UTC, such as 2026-11-30T03:20:00Z")
    elif moment > now:
        wrong.append(f"AT lies ahead: it is {now:%Y-%m-%dT%H:%M:%SZ}")
    elif found.instance.name != asked.to:
        wrong += _of_the_log(found, asked, now - moment)
    if asked.to and found.instance.name == asked.to and _begun(found.folder) != asked:
        wrong.append(
            f"{asked.to} is the name of the database in force: TO must be one that was never used, such as atlas-2"
        )
    said = (found.variables.get("database") or {}).get("name")
    if said and said != asked.to:
        wrong.append(
            f"terraform.tfvars says database.name = {said}: take that out, database_name in {_VARIABLES} says it from now on"
        )
    if found.no_record:
        return [*wrong, found.no_record]
    missing = [name for name in _SECRETS if not found.has_secret(name)]
    return wrong + [f"{name}: secret_versions names no version of it" for name in missing]


def _of_the_log(found: Deployed, asked: Asked, ago: timedelta) -> list[str]:
    """What stands against a copy; nothing, when `asked.to` is there already and needs none."""
    if _exists(found, asked.to):
        return []
    name = found.instance.name
    try:
        days = sql.instance(found.google, name).recovery_days
    except GoogleError as error:
        if not error.missing:
            raise
        return [
            f"there is no instance {name} to copy, and no {asked.to}: restore a backup into {asked.to or 'a new one'} first (docs/runbooks/restore.md)"
        ]
    if days == 0:
        return [f"{name} keeps no log to bring a moment back from: restore a backup (docs/runbooks/restore.md)"]
    return [f"AT lies further back than the {days} days whose log is kept"] if ago > timedelta(days=days) else []


def _exists(found: Deployed, name: str) -> bool:
    if not _NAME.fullmatch(name):
        return False
    try:
        sql.instance(found.google, name)
    except GoogleError as error:
        if not error.missing:
            raise
        return False
    return True


def _begun(folder: Path) -> Asked | None:
    """What a command that was stopped here had begun."""
    try:
        said = json.loads((folder / _BEGUN).read_text())
        return Asked(said["to"], said["at"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _terraform_problems(found: Deployed) -> list[str]:
    """What would stop it after the copy, which takes up to an hour."""
    if found.has_own_database:
        return []
    if shutil.which("terraform") is None:
        return ["there is no Terraform on PATH, and its state must follow the database"]
    if not is_initialised(found.folder):
        return [
            f"terraform init was never run in {found.folder}, and its state must follow the database: make deploy ENV={found.name} does it"
        ]
    return []


def restore(found: Deployed, asked: Asked, terraform: Terraform, talk: Talk) -> None:
    """Do what is not done yet, telling each part.

    Raises:
        Declined: the person said no; nothing was changed.
        GoogleError, NotLoggedIn, TerraformFailed, TookTooLong
    """
    if _begun(found.folder) != asked and _exists(found, asked.to):
        talk.say(f"{found.name} ({found.project}): {asked.to} is there already, and becomes the database as it is.")
    else:
        talk.say(f"{found.name} ({found.project}): {asked.to} becomes the database, as it was at {asked.moment}.")
    talk.say("  What was written after that is not in it. The instance in force stays as it is, and is used no more.")
    talk.confirm(f"{asked.to} is to be the database of {found.name}.", asked.to)
    _write(found.folder / _BEGUN, json.dumps({"to": asked.to, "at": asked.moment}) + "\n")
    parts: tuple[tuple[str, Callable[[], bool]], ...] = (
        (f"{asked.to} is made of the log (20 to 60 minutes)", lambda: _clone(found, asked)),
        ("both database secrets name it", lambda: _secrets(found, asked.to)),
        (f"{_VARIABLES} names it", lambda: _variable(found.folder, asked.to)),
        ("Terraform's state holds it", lambda: _state(found, asked.to, terraform)),
        ("Terraform knows that its users have passwords", lambda: _passwords(found, terraform)),
    )
    for title, do in parts:
        talk.say(f"- {title} ...")
        talk.say("  done" if do() else "  was so already")
    (found.folder / _BEGUN).unlink()
    talk.say(f"Next: make deploy ENV={found.name}    then: make doctor ENV={found.name}    (docs/runbooks/restore.md)")


def _read(moment: str) -> datetime | None:
    try:
        return datetime.fromisoformat(moment)
    except ValueError:
        return None


def _clone(found: Deployed, asked: Asked) -> bool:
    try:
        sql.instance(found.google, asked.to)
    except GoogleError as error:
        if not error.missing:
            raise
    else:
        sql.wait_until_it_serves(found.google, asked.to)  # begun by a command that was stopped
        return False
    sql.clone(found.google, found.instance.name, asked.to, asked.moment)
    return True


def _secrets(found: Deployed, to: str) -> bool:
    """Each URL as it was but for the socket's folder; the number is written down after the value is stored."""
    numbers = dict(found.secret_versions)
    changed = False
    for name in _SECRETS:
        value = found.secret(name)
        moved = re.sub(
            rf"(/cloudsql/{re.escape(found.project)}:{re.escape(found.region)}:)[a-z0-9-]+", rf"\g<1>{to}", value
        )
        if moved != value:
            numbers[name] = secrets.add_version(found.google, found.secret_id(name), moved).number
            variable_files.write_secret_versions(found.folder, numbers)
            changed = True
    return changed


def _variable(folder: Path, to: str) -> bool:
    path = folder / _VARIABLES
    wanted = json.dumps({"database_name": to}, indent=2) + "\n"
    if path.exists() and path.read_text() == wanted:
        return False
    _write(path, wanted)
    return True


def _state(found: Deployed, to: str, terraform: Terraform) -> bool:
    """Let go of what is in another instance, and take in the same things of this one.

    What is let go is written down first: a command that was stopped in between finds there what is still to be taken in.
    """
    path = found.folder / _PENDING
    pending: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    held = terraform.held()
    for address, attributes in held.items():
        kind = _TYPE.search(address)
        if kind is None:
            continue
        name = str(attributes["name"])
        instance = name if kind["type"] == _INSTANCE else str(attributes["instance"])
        if instance != to:
            pending[address] = _IDS[kind["type"]].format(project=found.project, instance=to, name=name)
    if not pending:
        return False
    _write(path, json.dumps(pending, indent=2) + "\n")
    old = [address for address in pending if address in held and _instance_of(address, held[address]) != to]
    if old:
        terraform.forget(old)
    for address in sorted(pending, key=lambda one: _INSTANCE not in one):  # the instance first
        if address in old or address not in held:
            terraform.take_in(address, pending[address])
    path.unlink()
    return True


def _instance_of(address: str, attributes: dict[str, Any]) -> str:
    return str(attributes["name" if f"{_INSTANCE}." in address else "instance"])


def _passwords(found: Deployed, terraform: Terraform) -> bool:
    """The copy has its users with their passwords, which Terraform asks for once an instance."""
    given = {name: environment.parsed(found.secret(name)).password or "" for name in _SECRETS}
    passwords = {"owner": given[environment.OWNER_SECRET], "functions": given[environment.FUNCTIONS_SECRET]}
    saved = terraform.plan(
        targets=[_PASSWORDS],
        variables={"database_passwords": json.dumps(passwords), "database_password_version": "1"},
    )
    if saved.plan.empty:
        discard(saved.path)
        return False
    terraform.apply(saved)
    return True


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text)
    os.replace(draft, path)  # noqa: PTH105 - the same, said once


def _complain(lines: list[str], code: int) -> int:
    sys.stderr.write("restore:\n" + "".join(f"  {line}\n" for line in lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
