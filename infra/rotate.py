"""`make rotate ENV=prod NAME=HEALTH_KEY`: another value of a secret, stored without being shown; `make deploy` then puts it in force.

A setting that is a list takes the new value in front of the one in force, so that both are accepted; `PART=finish` leaves the new one
alone, `PART=disable` takes versions that nothing uses any more out of use. Of the database's two logins the owner's gets another password at
once; the functions change to the other of two logins, so that none of them is ever refused. What there is to do outside is in
docs/runbooks/rotate-secrets.md.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import hmac
import http.client
import os
import secrets as random_secrets
import sys
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from infra import environment
from infra.deploy import folder_lock, variable_files
from infra.deploy.problems import Declined, Refused
from infra.deploy.steps.secret_values import MADE, READERS
from infra.deploy.talk import Talk
from infra.environment import Deployed, NoDatabase, NoEnvironment
from infra.google import secrets, sql
from infra.google.client import BadEndpoint, GoogleError, NotLoggedIn
from infra.google.waiting import TookTooLong

if TYPE_CHECKING:
    from collections.abc import Iterator

_OVERLAP: Final = frozenset({"CRYPTOPAY_TOKEN", "NODE_MASTER_KEYS", "TELEGRAM_WEBHOOK_SECRET", "TOKEN_KEYS"})
"""Settings that are lists, the first one current."""

_NEVER: Final = {"PSEUDONYM_KEY": "its loss forgets bans and trial marks of the deleted, and so would another value"}
_FUNCTIONS: Final = environment.FUNCTIONS_SECRET
_OF_GOOGLE, _OURS = "atlas_functions", "atlas_functions_b"
"""The functions' two logins. Cloud SQL made the first for Terraform, so it alone may change it: since PostgreSQL 16 a role is its maker's.
The second is made here, by the owner."""

_PARTS: Final = ("begin", "finish", "disable")
_PASSWORD_BYTES: Final = 24
_SCRAM_ROUNDS: Final = 4096
_GROUP: Final = "atlas_app"


class _NotNow(Exception):
    """It can't be done, or not yet; nothing was changed. The text says why."""


def main(arguments: list[str] | None = None) -> int:
    """0 when it is done, 1 when not and it was said why, 2 for what can't be asked."""
    parser = argparse.ArgumentParser(prog="python -m infra.rotate", description="Another value of a secret.")
    parser.add_argument("--env", required=True, help="dev or prod")
    parser.add_argument("--name", default="", help="the setting")
    parser.add_argument("--part", default="", help="begin (unless said), finish or disable")
    parser.add_argument("--yes", action="store_true", help="ask nothing; a value comes from the environment")
    given = parser.parse_args(arguments)
    part, talk = given.part or "begin", Talk(yes=given.yes)
    try:
        found = environment.load(given.env, among=environment.DEPLOYED)
        wrong = _problems(found, given.name, part)
        if wrong or not isinstance(found, Deployed):
            return _complain(wrong, 2)
        with folder_lock.held(found.folder):
            found = _as_it_is_now(found)
            {"begin": _begin, "finish": _finish, "disable": _disable}[part](found, given.name, talk)
    except (NoEnvironment, BadEndpoint, Declined, Refused, _NotNow) as error:
        return _complain(str(error).splitlines(), 1 if isinstance(error, (NoDatabase, _NotNow)) else 2)
    except (GoogleError, NotLoggedIn, TookTooLong, secrets.DamagedValue) as error:
        return _complain(str(error).splitlines(), 1)
    return 0


def _as_it_is_now(found: Deployed) -> Deployed:
    """With the numbers that the command before this one wrote."""
    again = environment.load(found.name)
    assert isinstance(again, Deployed)  # noqa: S101 -- of the same name
    return again


def _problems(found: environment.Environment, name: str, part: str) -> list[str]:
    if not isinstance(found, Deployed):
        return ["ENV must be dev or prod: the local system makes its secrets by itself"]
    wrong = []
    known = sorted(environment.secret_names())
    if name not in known:
        wrong.append(f"NAME must be one of {', '.join(one for one in known if one in READERS and one not in _NEVER)}")
    elif name in _NEVER:
        wrong.append(f"{name} is never rotated: {_NEVER[name]}")
    elif name not in READERS:
        wrong.append(f"{name}: nothing reads it yet")
    elif not found.has_secret(name):
        wrong.append(
            found.no_record or f"{name} has no version in force: make deploy ENV={found.name} asks for its first value"
        )
    if part not in _PARTS:
        wrong.append(f"PART must be one of {', '.join(_PARTS)}")
    elif (
        part == "finish"
        and name in known
        and name not in _OVERLAP | (set() if found.has_own_database else {_FUNCTIONS})
    ):
        wrong.append(f"{name} is one value, so there is nothing to finish: PART=disable, once it is deployed")
    return wrong


# -- another value ---------------------------------------------------------------------------------------------------------


def _begin(found: Deployed, name: str, talk: Talk) -> None:
    if name == _FUNCTIONS and not found.has_own_database:
        _other_login(found, talk)
        return
    _refuse_newer_deployed(found, name)
    seen = _look(found, name, talk)
    now = found.secret(name)
    if name in _OVERLAP and "," in now:
        raise _NotNow(f"{name} holds two values already: PART=finish first, once both ends know the new one")
    new = _new_value(found, name, talk)
    talk.agree(f"{name} gets another value{', in front of the one in force' if name in _OVERLAP else ''}?")
    with _storing(found, name, f"{new},{now}" if name in _OVERLAP else new, seen) as number:
        _write_down(found, name, number, talk)
        if name == environment.OWNER_SECRET and not found.has_own_database:
            address = environment.parsed(new)
            sql.set_password(found.google, found.instance.name, address.user, address.password or "")
            talk.say(f"{address.user} has the new password from now on.")
    talk.say(f"Next: make deploy ENV={found.name}    (docs/runbooks/rotate-secrets.md)")


def _new_value(found: Deployed, name: str, talk: Talk) -> str:
    """Made where no person needs to know it, else given, and read by what will read it.

    Raises:
        _NotNow: nothing was given, or it can't be read; the text quotes nothing of it.
    """
    if name in MADE:
        return MADE[name]()
    if name == environment.OWNER_SECRET and not found.has_own_database:
        return _with_login(found.secret(name), None, random_secrets.token_hex(_PASSWORD_BYTES))
    value = talk.secret(name)
    if not value:
        raise _NotNow(
            f"{name} needs a value: at the terminal, where it is not shown, or as a variable of the environment"
        )
    try:
        READERS[name](value)
    except ValueError as error:
        raise _NotNow(f"{name}: {error}") from None
    if value in found.secret(name).split(","):
        raise _NotNow(f"{name}: that is the value in force")
    return value


def _look(found: Deployed, name: str, talk: Talk) -> int:
    """Number of the newest version there is, whatever its state.

    An enabled one after the one in force here is another machine's, unless a command that was stopped here left it: that one goes.

    Raises:
        _NotNow: another machine's rotation is not deployed yet: one more would take its place.
    """
    secret_id, here = found.secret_id(name), int(found.secret_versions[name])
    there = secrets.versions(found.google, secret_id)
    newer = [one for one in there if one.state == "ENABLED" and int(one.number) > here]
    begun = variable_files.begun_rotations(found.folder).get(name)
    for one in newer:
        if begun is None or begun != _digest(secrets.access(found.google, secret_id, one.number)):
            raise _NotNow(
                f"{name}: version {one.number} was stored at {one.made_at} and is in force nowhere: a rotation on another machine,"
                f" whose make deploy ENV={found.name} comes first; if that one was given up,"
                f" gcloud secrets versions disable {one.number} --secret={secret_id} --project={found.project}, then this again"
            )
        secrets.disable(found.google, secret_id, one.number)
        talk.say(f"{name}: version {one.number}, of a command that was stopped here, is disabled.")
    return max((int(one.number) for one in there), default=0)


@contextlib.contextmanager
def _storing(found: Deployed, name: str, value: str, seen: int) -> Iterator[str]:
    """The number of a new version with this value, while what else belongs to it is done.

    Numbers count up one by one for all machines, so of two commands at once one alone gets the number after the one that both saw. Until
    the block ends a file says what was begun: the same command goes on from there, and a deploy says so where it must not come first.

    Raises:
        _NotNow: another machine was first; the value was put out of use, and nothing else was changed.
    """
    others = variable_files.begun_rotations(found.folder)
    before = {name: others.pop(name)} if name in others else {}
    variable_files.write_begun_rotations(found.folder, others | {name: _digest(value)})
    try:
        number = secrets.add_version(found.google, found.secret_id(name), value).number
    except GoogleError as error:
        if error.status is not None and error.status < http.client.INTERNAL_SERVER_ERROR:  # surely not stored
            variable_files.write_begun_rotations(found.folder, others | before)
        raise
    if int(number) != seen + 1:
        secrets.disable(found.google, found.secret_id(name), number)
        variable_files.write_begun_rotations(found.folder, others | before)
        raise _NotNow(
            f"{name}: another machine stored version {seen + 1} at the same moment, and that one counts: deploy there, not here;"
            f" version {number}, of this command, was disabled"
        )
    yield number
    variable_files.write_begun_rotations(found.folder, others)


def _digest(value: str) -> str:
    return hashlib.sha256(value.strip().encode()).hexdigest()


def _write_down(found: Deployed, name: str, number: str, talk: Talk) -> None:
    """The number of what is stored: a command that was stopped before this has changed nothing that is in force."""
    variable_files.write_secret_versions(found.folder, dict(found.secret_versions) | {name: number})
    talk.say(f"{name}: version {number} is stored and will be in force.")


def _finish(found: Deployed, name: str, talk: Talk) -> None:
    if name == _FUNCTIONS:
        _end_login(found, talk)
        return
    now = found.secret(name)
    if "," not in now:
        raise _NotNow(f"{name} holds one value: there is nothing to finish")
    _refuse_undeployed(found, name)  # what is at work still knows the old value alone
    seen = _look(found, name, talk)
    talk.agree(f"From the next deploy on {name} is its first value alone?")
    with _storing(found, name, now.partition(",")[0], seen) as number:
        _write_down(found, name, number, talk)
    talk.say(f"Next: make deploy ENV={found.name}    (docs/runbooks/rotate-secrets.md)")


# -- the functions' login --------------------------------------------------------------------------------------------------


def _other_login(found: Deployed, talk: Talk) -> None:
    _refuse_undeployed(found, _FUNCTIONS)  # functions may be at work as the very login that would change
    seen = _look(found, _FUNCTIONS, talk)
    now = found.secret(_FUNCTIONS)
    user = environment.parsed(now).user
    other = _other_than(user)
    _refuse_at_work(found, other)
    talk.agree(f"Functions log in as {other} from the next deploy on, {user} until then and while it lasts?")
    password = random_secrets.token_hex(_PASSWORD_BYTES)
    with _storing(found, _FUNCTIONS, _with_login(now, other, password), seen) as number:
        _set_login(found, other, password)  # no function has it yet
        _write_down(found, _FUNCTIONS, number, talk)
    talk.say(f"Next: make deploy ENV={found.name}    (docs/runbooks/rotate-secrets.md)")


def _set_login(found: Deployed, login: str, password: str) -> None:
    if login == _OF_GOOGLE:
        sql.set_password(found.google, found.instance.name, login, password)
        return
    with contextlib.closing(found.connect("owner")) as session:
        there = session.run("select 1 from pg_roles where rolname = :name", name=login)
        # The server is told what it keeps anyway: its log of such statements holds no password.
        session.run(f"{'alter' if there else 'create'} role {login} login password '{_verifier(password)}'")
        session.run(f"grant {_GROUP} to {login}")


def _end_login(found: Deployed, talk: Talk) -> None:
    user = environment.parsed(found.secret(_FUNCTIONS)).user
    old = _other_than(user)
    _refuse_undeployed(found, _FUNCTIONS)
    _refuse_at_work(found, old)
    with contextlib.closing(found.connect("owner")) as session:
        if not session.run("select 1 from pg_roles where rolname = :name", name=old):
            raise _NotNow(f"there is no {old}: nothing to finish")
        talk.agree(f"{old} can log in no more?")
        if old == _OURS:
            session.run(f"alter role {old} nologin")
    if old == _OF_GOOGLE:  # by a password that no one has
        sql.set_password(found.google, found.instance.name, old, random_secrets.token_hex(_PASSWORD_BYTES))
    talk.say(f"{old} can log in no more. Next: make rotate ENV={found.name} NAME={_FUNCTIONS} PART=disable")


def _refuse_at_work(found: Deployed, login: str) -> None:
    with contextlib.closing(found.connect("owner")) as session:
        count = session.run("select count(*) from pg_stat_activity where usename = :name", name=login)[0][0]
    if count:
        raise _NotNow(
            f"{count} sessions are still {login}'s: deploy first, then wait until its last instances have ended"
        )


def _other_than(user: str) -> str:
    return _OURS if user == _OF_GOOGLE else _OF_GOOGLE


def _with_login(url: str, user: str | None, password: str) -> str:
    """The URL with another password, and maybe another user."""
    scheme, _, rest = url.partition("://")
    address = environment.parsed(url)
    return f"{scheme}://{quote(user or address.user, safe='')}:{password}@{rest.partition('@')[2]}"


def _verifier(password: str) -> str:
    """What Postgres keeps of a password (SCRAM-SHA-256, RFC 5803): made here, so that the password itself is not sent."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ROUNDS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    encoded = (base64.b64encode(one).decode() for one in (salt, stored, server))
    return "SCRAM-SHA-256${}:{}${}:{}".format(_SCRAM_ROUNDS, *encoded)


# -- versions that nothing uses any more -----------------------------------------------------------------------------------


def _disable(found: Deployed, name: str, talk: Talk) -> None:
    in_force = _refuse_undeployed(found, name)
    old = [
        one.number
        for one in secrets.versions(found.google, found.secret_id(name))
        if one.state == "ENABLED" and int(one.number) < int(in_force)
    ]
    if not old:
        talk.say(f"{name}: version {in_force} alone is enabled.")
        return
    talk.agree(f"{name}: version {', '.join(old)} can be read no more?")
    for number in old:
        secrets.disable(found.google, found.secret_id(name), number)
    talk.say(f"{name}: version {', '.join(old)} disabled; `gcloud secrets versions enable` would bring one back.")


def _refuse_undeployed(found: Deployed, name: str) -> str:
    """The number of the version in force, which nothing that is deployed names another one beside.

    Raises:
        _NotNow: something does.
    """
    in_force = found.secret_versions[name]
    others = _used(found, found.secret_id(name)) - {in_force}
    if others:
        raise _NotNow(f"{name}: version {', '.join(sorted(others))} is still deployed: make deploy ENV={found.name}")
    return in_force


def _refuse_newer_deployed(found: Deployed, name: str) -> None:
    """Numbers of an earlier day: what would be put beside the new value is not what functions have.

    Raises:
        _NotNow
    """
    here = int(found.secret_versions[name])
    if newer := [
        number for number in _used(found, found.secret_id(name)) if not number.isdigit() or int(number) > here
    ]:
        raise _NotNow(
            f"{name}: version {here} here, and {', '.join(sorted(newer))} is deployed, from another machine:"
            f" rm {found.folder / variable_files.SECRETS}, make deploy ENV={found.name}, then this again"
        )


def _used(found: Deployed, secret_id: str) -> set[str]:
    """Versions that services, or the job that migrates, name."""
    parent = f"projects/{found.project}/locations/{found.region}"
    locations = found.google.api("run").projects().locations()
    rows: list[dict[str, Any]] = [
        row["template"]
        for row in found.google.pages(locations.services(), locations.services().list(parent=parent), "services")
    ]
    jobs = found.google.pages(locations.jobs(), locations.jobs().list(parent=parent), "jobs")
    rows += [job["template"]["template"] for job in jobs]
    references = (
        variable["valueSource"]["secretKeyRef"]
        for row in rows
        for container in row.get("containers", ())
        for variable in container.get("env", ())
        if "secretKeyRef" in variable.get("valueSource", {})
    )
    return {one["version"] for one in references if one["secret"].rpartition("/")[2] == secret_id}


def _complain(lines: list[str], code: int) -> int:
    sys.stderr.write("rotate:\n" + "".join(f"  {line}\n" for line in lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
