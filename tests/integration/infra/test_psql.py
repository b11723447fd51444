"""`make psql ENV=`: in the cloud one reads as oneself, through Google's certificates; the owner's rights ask for a reason and leave it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import deque
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pg8000.native
import pytest

from infra import environment, psql
from infra.deploy import releases, variable_files
from infra.deploy.google_cloud import GoogleCloud
from infra.environment import NoDatabase
from infra.google import secrets, storage
from infra.google.client import Google
from sandbox.google.database_end import DatabaseEnd
from sandbox.google.refusals import Refused
from tests.integration.infra.conftest import OPERATOR, PASSWORD, READER, as_superuser
from tests.sandbox.google import made

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.google import Google as StandIn
    from sandbox.postgres.server import Postgres

ROOT = Path(__file__).resolve().parents[3]
REASON = "an order hangs, see page 7"
READ = "select count(*) > 0 as migrated, current_setting('search_path') as path from schema_migrations;\n"
# As `make psql` runs it, but for where the instance's end and the variables are.
PROGRAM = """
import sys
from pathlib import Path
from infra import environment, psql
from infra.google import database
database.SERVER_PORT, environment.TERRAFORM = int(sys.argv[1]), Path(sys.argv[2])
sys.exit(psql.main(sys.argv[3:]))
"""


def _typed(monkeypatch: pytest.MonkeyPatch, *lines: str, terminal: bool = False) -> None:
    """What is entered, on a machine without psql."""
    waiting = list(lines)

    def entered(_question: str = "") -> str:
        if not waiting:
            raise EOFError
        return waiting.pop(0)

    monkeypatch.setattr("builtins.input", entered)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: terminal)
    monkeypatch.setattr(shutil, "which", lambda _name: None)


def _logged(server: Postgres) -> list[dict[str, Any]]:
    """What the audit log says of opened databases, emptied of it."""
    with as_superuser(server, "atlas") as session:
        rows = session.run("select after from atlas.audit_log where action = 'database.opened' order by id")
    return [row[0] for row in rows]


def test_one_reads_as_oneself_by_a_certificate_of_google_s(cloud: StandIn, end: DatabaseEnd) -> None:
    with closing(environment.load("dev").connect("readonly")) as session:
        assert session.run("select cast(session_user as text)")[0][0] == READER
        assert session.run("show search_path")[0][0] == "atlas"
        with pytest.raises(pg8000.native.DatabaseError) as caught:
            session.run("update deployment set clock_offset = interval '1 s'")
        assert caught.value.args[0]["C"] == "25006"
    assert end.logins == [OPERATOR]
    assert "secretmanager.projects.secrets.versions.access" not in cloud.requests


@pytest.mark.full
def test_the_owner_comes_by_the_password_whose_reading_google_logs(cloud: StandIn, end: DatabaseEnd) -> None:
    with closing(environment.load("dev").connect("owner")) as session:
        assert session.run("select cast(session_user as text)")[0][0] == "atlas_owner"
    assert end.logins == [""]
    assert "secretmanager.projects.secrets.versions.access" in cloud.requests


@pytest.mark.full
def test_a_prompt_reads(cloud: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert cloud.url
    _typed(monkeypatch, READ)
    assert psql.main(["--env", "dev"]) == 0
    said = capsys.readouterr()
    assert f"{READER} may read" in said.out
    assert "migrated\tpath" in said.out
    assert "True\tatlas" in said.out or "t\tatlas" in said.out


def test_the_owner_s_prompt_leaves_who_and_why_in_the_audit_log(
    cloud: StandIn, server: Postgres, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cloud.url
    before = len(_logged(server))
    _typed(monkeypatch, REASON, made.PROJECT, "select 1 as one;", terminal=True)
    assert psql.main(["--env", "dev", "--role", "owner"]) == 0
    said = capsys.readouterr()
    assert "MAY CHANGE EVERYTHING" in said.out
    assert PASSWORD not in said.out + said.err
    assert _logged(server)[before:] == [{"role": "owner", "by": OPERATOR, "reason": REASON}]


REFUSED: dict[str, tuple[list[str], list[str]]] = {
    "nothing said": ([], ["REASON must say", "CONFIRM must be"]),
    "no confirmation": (["--reason", REASON], ["CONFIRM must be"]),
    "another project": (["--reason", REASON, "--confirm", "atlas-prod"], ["CONFIRM must be"]),
    "too short a reason": (["--reason", "because", "--confirm", made.PROJECT], ["REASON must say"]),
    "a reason of two lines": (["--reason", f"{REASON}\nx", "--confirm", made.PROJECT], ["REASON must say"]),
}


@pytest.mark.full
@pytest.mark.parametrize("name", REFUSED)
def test_the_owner_s_rights_are_refused_with_everything_that_is_missing(
    name: str,
    cloud: StandIn,
    server: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given, wanted = REFUSED[name]
    before = len(_logged(server))
    _typed(monkeypatch)
    assert psql.main(["--env", "dev", "--role", "owner", *given]) == 2
    said = capsys.readouterr().err
    assert "Nothing was opened." in said
    assert [one for one in ("REASON must say", "CONFIRM must be") if one in said] == wanted
    assert len(_logged(server)) == before
    assert not [one for one in cloud.requests if one.endswith("access")]


@pytest.mark.full
def test_another_answer_at_the_terminal_opens_nothing(
    cloud: StandIn, server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(_logged(server))
    _typed(monkeypatch, REASON, "yes", terminal=True)
    assert psql.main(["--env", "dev", "--role", "owner"]) == 2
    _typed(monkeypatch, terminal=True)
    assert psql.main(["--env", "dev", "--role", "owner"]) == 2
    assert len(_logged(server)) == before
    assert cloud.url


@pytest.mark.full
def test_a_database_that_can_t_take_the_line_is_opened_all_the_same(
    cloud: StandIn, server: Postgres, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cloud.url
    with as_superuser(server, "atlas") as session:
        session.run("alter table atlas.audit_log rename to audit_log_away")
        try:
            _typed(monkeypatch, "select 1 as one;")
            given = ["--env", "dev", "--role", "owner", "--reason", REASON, "--confirm", made.PROJECT]
            assert psql.main(given) == 0
        finally:
            session.run("alter table atlas.audit_log_away rename to audit_log")
    said = capsys.readouterr()
    assert "WARNING: the audit log did not take the line (SQLSTATE 42P01)" in said.err
    assert "(1 rows)" in said.out


@pytest.fixture
def real_psql(cloud: StandIn, end: DatabaseEnd, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command with the real psql, its statements from standard input."""
    if shutil.which("psql") is None:
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail("no psql on PATH")
        pytest.skip("psql: not on PATH")
    assert cloud.url

    def run(statements: str, *given: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, str(end.port), str(tmp_path), "--env", "dev", *given],
            input=statements,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_psql_itself_talks_through_the_certificate(
    real_psql: Callable[..., subprocess.CompletedProcess[str]], end: DatabaseEnd
) -> None:
    # More than fits into the buffers on the way, and a second connection of the same psql.
    ended = real_psql(
        f"{READ}select length(repeat('x', 5000000)), repeat('y', 3000000) as much;\n\\c\nselect 7 as seven;\n"
    )
    assert ended.returncode == 0, ended.stderr
    assert "atlas" in ended.stdout
    assert ended.stdout.count("y") > 3_000_000
    assert "seven" in ended.stdout.rpartition("You are now connected")[2]
    assert end.logins == [OPERATOR] * 3
    assert not list(Path("/tmp").glob("atlas-psql-*/.s.PGSQL.5432"))  # noqa: S108 - looked at, not used


@pytest.mark.full
def test_psql_as_the_owner_and_its_exit_code(real_psql: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    ended = real_psql(
        "\\set ON_ERROR_STOP on\nselect session_user;\nselect 1 / 0;\n",
        *("--role", "owner", "--reason", REASON, "--confirm", made.PROJECT),
    )
    assert ended.returncode == 3
    assert "atlas_owner" in ended.stdout
    assert "division by zero" in ended.stderr
    assert PASSWORD not in ended.stdout + ended.stderr


def test_a_script_ends_at_its_first_error_and_the_exit_code_says_so(
    real_psql: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    script = "select 1 / 0;\nselect 'after' as it;\n"
    ended = real_psql(script)
    assert ended.returncode == 3
    assert "after" not in ended.stdout


@pytest.mark.parametrize("code", [3, 0])
def test_the_small_prompt_does_so_too_and_a_person_goes_on(
    code: int, cloud: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cloud.url
    terminal = code == 0
    _typed(monkeypatch, "select 1 / 0;", "select 'after' as it;", terminal=terminal)
    assert psql.main(["--env", "dev"]) == code
    assert ("after" in capsys.readouterr().out) == terminal


@pytest.mark.parametrize(
    ("given", "exported", "module"),
    [
        (["ENV="], None, 'infra.psql --env ""'),
        (["ENV=dev"], None, 'infra.psql --env "dev"'),
        ([], "prod", "sandbox psql"),
        ([], "", "sandbox psql"),
        ([], None, "sandbox psql"),
    ],
)
def test_only_an_env_that_make_is_given_counts_and_an_empty_one_is_refused(
    given: list[str], exported: str | None, module: str
) -> None:
    environment_of_make = {name: value for name, value in os.environ.items() if name not in {"ENV", "MAKEFLAGS"}}
    environment_of_make |= {} if exported is None else {"ENV": exported}
    shown = subprocess.run(
        ["make", "-n", "psql", *given], cwd=ROOT, env=environment_of_make, capture_output=True, text=True, check=True
    ).stdout
    assert f"-m {module}" in shown
    assert ("-m sandbox psql" in shown) == (module == "sandbox psql")


def test_an_empty_env_is_refused_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert psql.main(["--env", ""]) == 2
    assert "ENV=(nothing): it is one of local, dev, prod" in capsys.readouterr().err


@pytest.mark.full
def test_an_instance_that_is_not_there_is_told(cloud: StandIn, tmp_path: Path) -> None:
    made.write(tmp_path / "terraform.tfstate", made.foundation() | {"google_sql_database_instance": []})
    with pytest.raises(NoDatabase, match=r"404.*The Cloud SQL instance does not exist"):
        environment.load("dev").connect("readonly")
    assert cloud.url


def test_sessions_of_one_command_share_a_certificate(cloud: StandIn, end: DatabaseEnd) -> None:
    """The doctor opens one for nearly every check: each with a key and a call of its own, the last would wait past its time."""
    found = environment.load("dev")
    for _ in range(3):
        with closing(found.connect("readonly")) as session:
            assert session.run("select 1") == [[1]]
    assert end.logins == [OPERATOR] * 3
    assert cloud.requests.count("sql.connect.generateEphemeral") == 1


def _recorded(*databases: str) -> None:
    """Releases of `dev`, each with the instance that was in force."""
    google, where = Google(made.PROJECT), releases.bucket(made.PROJECT)
    storage.make_bucket(google, where, made.REGION)
    port = GoogleCloud(google, made.REGION)
    for number, name in enumerate(databases):
        one = releases.Recorded(f"{number:016x}", "image", "", {}, (), (), "2026-11-30T12:00:00+00:00", database=name)
        releases.add(port, where, "dev", one)


def _in_force() -> tuple[str, str]:
    found = environment.load("dev")
    assert isinstance(found, environment.Deployed)
    return found.instance.name, found.instance_remark


@pytest.mark.parametrize(
    ("recorded", "here", "in_force"),
    [
        ((), "", "atlas"),
        (("", ""), "", "atlas"),
        (("", "atlas-2"), "", "atlas-2"),
        (("", "atlas-2"), "atlas-2", "atlas-2"),
        (("", "atlas-2", "atlas-3"), "atlas-2", "atlas-3"),
        (("", "atlas-2"), "atlas-3", "atlas-3"),  # restored here, and not deployed yet
    ],
)
def test_the_record_says_which_instance_is_the_database(
    recorded: tuple[str, ...], here: str, in_force: str, cloud: StandIn, tmp_path: Path
) -> None:
    assert cloud.url
    _recorded(*recorded)
    if here:
        variable_files.write_database_name(tmp_path / "dev", here)
    found, remark = _in_force()
    assert found == in_force
    assert ("git pull" in remark) == (found != (here or "atlas"))


def test_a_checkout_that_was_not_pulled_since_a_restore_comes_to_the_database_all_the_same(
    cloud: StandIn,
    end: DatabaseEnd,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    part = made.foundation()
    part["google_sql_database_instance"][0]["name"] = "atlas-2"  # the old one is gone
    made.write(tmp_path / "terraform.tfstate", part)
    _recorded("", "atlas-2")
    _typed(monkeypatch, READ)
    assert psql.main(["--env", "dev"]) == 0
    assert (
        "psql: atlas-2 is the database since it was restored, and this checkout names atlas" in capsys.readouterr().err
    )
    assert end.logins == [OPERATOR]
    assert cloud.url


def test_a_record_that_may_not_be_read_is_said_and_the_checkout_s_name_taken(cloud: StandIn) -> None:
    _recorded("", "atlas-2")
    cloud.cloud.faults.refusals["storage.objects.get"] = deque([Refused(403, "no storage.objects.get")])
    found, remark = _in_force()
    assert found == "atlas"
    assert "can't be told" in remark
    assert "403" in remark


def test_an_end_with_another_authority_is_not_trusted(cloud: StandIn, server: Postgres) -> None:
    with DatabaseEnd(("127.0.0.1", server.port)) as other:
        cloud.cloud.database_end = other  # whose certificates are handed out, while the first one listens
        with pytest.raises(NoDatabase, match="does not let us in"):
            environment.load("dev").connect("readonly")
        assert other.logins == []


def test_a_postgres_of_one_s_own_needs_no_google_but_for_its_address(
    cloud: StandIn,
    server: Postgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = tmp_path / "dev" / "terraform.tfvars.json"
    given = json.loads(place.read_text()) | {
        "database": {"url_secret": "x"},
        "secret_versions": {"MIGRATE_DATABASE_URL": "2"},
    }
    place.write_text(json.dumps(given))
    parts = urlsplit(server.url("atlas"))
    url = f"postgresql://atlas_owner:{PASSWORD}@127.0.0.1:{parts.port}/atlas"
    secrets.add_version(Google(made.PROJECT), "migrate-database-url", url)
    cloud.requests.clear()
    _typed(monkeypatch, "select current_user as me;")
    assert psql.main(["--env", "dev"]) == 0
    assert "atlas_readonly" in capsys.readouterr().out
    assert cloud.requests == ["secretmanager.projects.secrets.versions.access"]
