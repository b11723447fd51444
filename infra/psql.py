"""`make psql ENV=...`: a prompt in an environment's database. It reads, unless one breaks the glass.

To read, one comes in as oneself: by IAM in the cloud, with the rights of `atlas_readonly` everywhere. `ROLE=owner` may change everything,
the books as well, so it asks for a reason and for the project's name, and leaves both in the audit log before the first statement.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pg8000.exceptions
import pg8000.native

from infra import environment, parameters
from infra.environment import APPLICATION, NoDatabase, NoEnvironment
from infra.google import login
from infra.google.client import BadEndpoint, GoogleError, NotLoggedIn
from infra.google.relay import PORT, Relay
from lib.db import prompt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.environment import Environment, Login, Role

_OPENED = """
insert into audit_log (actor, action, subject_kind, subject_key, before, after, correlation_id)
values (null, 'database.opened', 'environment', :name, null, cast(:after as jsonb), 'by-hand')
"""


class _Refused(Exception):
    """It is not done; the text says why."""


def main(arguments: list[str] | None = None) -> int:
    """The exit code: psql's own, 1 when the database can't be had, 2 when asked for what can't be."""
    given = _parser().parse_args(arguments)
    role: Role = given.role or "readonly"
    try:
        found = environment.load(given.env)
        if role == "owner":
            reason = _asked_for(found, given.reason or "", given.confirm or "")
            return _opened(found, role, reason)
        return _opened(found, role, None)
    except (_Refused, BadEndpoint) as error:
        return _complain(str(error), 2)
    except NoDatabase as error:
        return _complain(f"{error}\n{_HELP}", 1)
    except NoEnvironment as error:
        return _complain(str(error), 2)
    except (NotLoggedIn, GoogleError) as error:
        return _complain(str(error), 1)


_HELP = "docs/runbooks/database-unavailable.md says what to do when the database can't be had."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.psql", description="A prompt in an environment's database.")
    parser.add_argument("--env", required=True, help="local, dev or prod")
    parser.add_argument("--role", choices=("readonly", "owner", ""), default="", help="owner: may change everything")
    parser.add_argument("--reason", default="", help="why the owner's rights are needed; kept in the audit log")
    parser.add_argument("--confirm", default="", help="the project's name, where no terminal can be asked")
    return parser


def _asked_for(found: Environment, reason: str, confirmed: str) -> str:
    """The reason, once it is sure that the owner's rights are meant. Everything that is missing is told at once.

    Raises:
        _Refused
    """
    terminal = sys.stdin.isatty()
    if terminal and not reason:
        reason = _ask("Why are the owner's rights needed? It is kept in the audit log: ")
    reason = reason.strip()
    problems = []
    if not parameters.is_reason(reason):
        problems.append(
            f"REASON must say in {parameters.LEAST_REASON} to {parameters.MOST_REASON} characters why; it is kept in the audit log."
        )
    if terminal and not confirmed and not problems:
        _say(f"The owner of {found.name} ({found.project}) may change everything, the books as well.")
        confirmed = _ask(f"Type {found.project} to go on: ")
    if confirmed.strip() != found.project and (confirmed or not terminal):
        problems.append(f"CONFIRM must be the project's name, {found.project}.")
    if problems or confirmed.strip() != found.project:
        raise _Refused("\n".join(["Nothing was opened.", *problems]))
    return reason


def _opened(found: Environment, role: Role, reason: str | None) -> int:
    way = found.login(role)
    if isinstance(found, environment.Deployed) and found.instance_remark:
        _complain(f"psql: {found.instance_remark}", 0)
    with contextlib.closing(way.open()) as session:
        if reason is not None:
            _record(session, found, reason)
        who = session.run("select cast(session_user as text)")[0][0]
        may = "may read" if role == "readonly" else "MAY CHANGE EVERYTHING"
        _say(f"{found.name} ({found.project}), database {way.database}: {who} {may}.")
        program = shutil.which("psql")
        if program is None:
            return prompt.run(session, f"{found.name}{'!' if role == 'owner' else ''}")
    return _psql(program, way)


def _record(session: pg8000.native.Connection, found: Environment, reason: str) -> None:
    """The line in the audit log. A database that is too broken to take it is opened all the same: that is what this is for."""
    after = {"role": "owner", "by": _operator(found), "reason": reason}
    try:
        session.run(_OPENED, name=found.name, after=json.dumps(after))
    except pg8000.exceptions.DatabaseError as error:
        details = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        with contextlib.suppress(pg8000.exceptions.DatabaseError):
            session.run("rollback")
        _complain(
            f"WARNING: the audit log did not take the line (SQLSTATE {details.get('C')}); write down what you do.", 0
        )
    else:
        _say("A line about this is in the audit log.")


def _operator(found: Environment) -> str:
    if isinstance(found, environment.Deployed):
        return login.email(found.google)
    return getpass.getuser()


def _psql(program: str, way: Login) -> int:
    """Run psql until its end. Ctrl-C is its own: it ends a statement there, and must not end what it talks through."""
    with contextlib.ExitStack() as stack:
        host = ""
        more: Mapping[str, str] = {}
        if way.instance is not None:
            relay = stack.enter_context(Relay(way.instance, iam=way.password is None))
            host = str(relay.folder)
            stack.callback(lambda: [_complain(one, 0) for one in relay.failures])
            port = PORT
        else:
            assert way.address is not None  # noqa: S101 - one of the two is there
            host, port = way.address.socket or way.address.host, way.address.port
            more = _tls(way)
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        stack.callback(signal.signal, signal.SIGINT, before)
        variables = {**_variables(way, host, port), **more}
        # Not as arguments: a command line is for every account of this machine to read.
        return subprocess.run([program, *prompt.psql_options()], env=variables, check=False).returncode  # noqa: S603 - found on PATH


def _variables(way: Login, host: str, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    options = " ".join(f"-c {name}={value}" for name, value in way.parameters.items())
    made = {
        "PGHOST": host,
        "PGPORT": str(port),
        "PGUSER": way.user,
        "PGDATABASE": way.database,
        "PGAPPNAME": APPLICATION,
        "PGOPTIONS": options,
        "PGSSLMODE": "disable",  # through the relay: TLS is beyond it
    }
    return kept | made | ({"PGPASSWORD": way.password} if way.password is not None else {})


def _tls(way: Login) -> Mapping[str, str]:
    """What libpq is told of TLS to a Postgres of one's own."""
    assert way.address is not None  # noqa: S101 - the caller looked
    told = {"PGSSLMODE": way.address.tls}
    if way.address.root_certificate is not None:
        told["PGSSLROOTCERT"] = way.address.root_certificate
    elif way.address.tls == "verify-full":
        told["PGSSLROOTCERT"] = "system"
    return told


def _ask(question: str) -> str:
    try:
        return input(question)
    except (EOFError, KeyboardInterrupt):
        raise _Refused("\nNothing was opened.") from None


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _complain(text: str, code: int) -> int:
    sys.stderr.write(f"{text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
