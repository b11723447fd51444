"""`make restore` refuses what can't be, all of it at once, and begins nothing before its word is typed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from infra import environment, restore, rotate
from sandbox.google import Google as StandIn
from tests.sandbox.google import made

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

READING = {"sql.instances.get", "storage.objects.get"}
HOUR_AGO = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
LONG_AGO = (datetime.now(UTC) - timedelta(days=9)).strftime("%Y-%m-%dT%H:%M:%SZ")
AHEAD = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """A project with a database."""
    folder = tmp_path_factory.mktemp("restore")
    made.write(folder / "terraform.tfstate", made.foundation())
    with StandIn(folder / "google", made.PROJECT, terraform_state=folder / "terraform.tfstate") as one:
        yield one


@pytest.fixture
def given(google: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write the variables of `dev`, and be logged in."""
    for name, value in google.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(environment, "TERRAFORM", tmp_path)
    monkeypatch.delenv("CONFIRM", raising=False)
    google.requests.clear()
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    made_by_init = tmp_path / "dev" / ".terraform"
    (made_by_init / "modules").mkdir(parents=True)
    (made_by_init / "modules" / "modules.json").touch()
    (made_by_init / "providers").mkdir()

    def write(**changed: Any) -> None:
        variables = {
            "project_id": made.PROJECT,
            "region": made.REGION,
            "secret_versions": {"MIGRATE_DATABASE_URL": "1", "DATABASE_URL": "1"},
        }
        (tmp_path / "dev" / "terraform.tfvars.json").write_text(json.dumps(variables | changed))

    write()
    return write


REFUSED: dict[str, tuple[dict[str, Any], str, str, list[str]]] = {
    "nothing": ({}, "", "", ["TO must be", "AT must be"]),
    "a name that none has": ({}, "Atlas_2", HOUR_AGO, ["TO must be"]),
    "no moment": ({}, "atlas-2", "yesterday", ["AT must be"]),
    "no day of the calendar": ({}, "atlas-2", "2026-02-30T00:00:00Z", ["AT must be"]),
    "another zone": ({}, "atlas-2", "2026-11-30T03:20:00+03:00", ["AT must be"]),
    "the future": ({}, "atlas-2", AHEAD, ["AT lies ahead"]),
    "before the log": ({}, "atlas-2", LONG_AGO, ["further back than the 7 days"]),
    "the name in force": ({}, "atlas", HOUR_AGO, ["atlas is the name of the database in force"]),
    "the name in force, said by a restore": (
        {"database_name": "atlas-2"},
        "atlas-2",
        HOUR_AGO,
        ["name of the database"],
    ),
    "neither is there": ({"database_name": "gone"}, "atlas-2", HOUR_AGO, ["no instance gone to copy, and no atlas-2"]),
    "no record of secrets": ({"secret_versions": {}}, "atlas-2", HOUR_AGO, ["no record of secret versions"]),
    "no secrets": (
        {"secret_versions": {"HEALTH_KEY": "1"}},
        "atlas-2",
        HOUR_AGO,
        ["MIGRATE_DATABASE_URL: ", "DATABASE_URL: "],
    ),
    "all of it": (
        {"secret_versions": {"DATABASE_URL": "1"}},
        "2",
        "x",
        ["TO must", "AT must", "MIGRATE_DATABASE_URL: "],
    ),
    "a name in the variables": ({"database": {"name": "atlas"}}, "atlas-2", HOUR_AGO, ["take that out"]),
    "a Postgres of one's own": ({"database": {"url_secret": "x"}}, "atlas-2", HOUR_AGO, ["Postgres of its own"]),
}


@pytest.mark.parametrize(
    "name", ["all of it", *(pytest.param(one, marks=pytest.mark.full) for one in REFUSED if one != "all of it")]
)
def test_everything_that_is_wrong_is_told_at_once(
    name: str, given: Callable[..., None], google: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    changed, to, moment, wanted = REFUSED[name]
    given(**changed)
    assert restore.main(["--env", "dev", "--to", to, "--at", moment]) == 2
    lines = capsys.readouterr().err.splitlines()[1:]
    assert len(lines) == len(wanted)
    assert [said for said, line in zip(wanted, lines, strict=True) if said not in line] == []
    assert set(google.requests) <= READING


@pytest.mark.parametrize("missing", ["on PATH", "terraform init was never run"])
def test_what_would_stop_it_after_the_long_copy_is_told_before_it(
    missing: str,
    given: Callable[..., None],
    google: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given(secret_versions={})
    monkeypatch.setenv("CONFIRM", "atlas-2")
    if missing == "on PATH":
        monkeypatch.setattr("shutil.which", lambda _: None)
    else:
        (environment.TERRAFORM / "dev" / ".terraform" / "providers").rmdir()
    assert restore.main(["--env", "dev", "--to", "atlas-2", "--at", HOUR_AGO]) == 2
    lines = capsys.readouterr().err.splitlines()[1:]
    assert "no record of secret versions: run make deploy ENV=dev here first" in lines[0]
    assert missing in lines[1]
    assert set(google.requests) <= READING


@pytest.mark.full
def test_a_database_without_a_log_is_told_of_its_backups(
    given: Callable[..., None], google: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given()
    state = google.folder.parent / "terraform.tfstate"
    part = made.foundation()
    part["google_sql_database_instance"][0]["settings"][0]["backup_configuration"] = [{"enabled": True}]
    made.write(state, part)
    assert restore.main(["--env", "dev", "--to", "atlas-2", "--at", HOUR_AGO]) == 2
    assert "restore a backup" in capsys.readouterr().err
    made.write(state, made.foundation())
    assert sorted(path.name for path in (tmp_path / "dev").iterdir()) == [".terraform", "terraform.tfvars.json"]


@pytest.mark.full
@pytest.mark.parametrize("word", ["", "yes", "atlas"])
def test_without_its_word_nothing_is_begun(
    word: str,
    given: Callable[..., None],
    google: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given()
    monkeypatch.setenv("CONFIRM", word)
    assert restore.main(["--env", "dev", "--to", "atlas-2", "--at", HOUR_AGO]) == 2
    assert "Nothing was changed" in capsys.readouterr().err
    assert set(google.requests) <= READING
    assert sorted(path.name for path in (environment.TERRAFORM / "dev").glob("[!.]*")) == ["terraform.tfvars.json"]


@pytest.mark.parametrize("name", ["staging", "local"])
def test_the_local_system_has_none(name: str, given: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    given()
    for asked in (restore.main, rotate.main):
        assert asked(["--env", name]) == 2
        assert f"ENV={name}: it is one of dev, prod" in capsys.readouterr().err


def test_a_copy_that_is_under_way_is_waited_for_and_not_made_twice(
    given: Callable[..., None], google: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    given()
    found = environment.load("dev")
    assert isinstance(found, environment.Deployed)
    asked = restore.Asked("atlas-3", HOUR_AGO)
    assert restore._clone(found, asked)
    google.cloud.set_facts(instance_state="PENDING_CREATE")
    looks: list[float] = []

    def made_meanwhile(pause: float) -> None:
        looks.append(pause)
        if len(looks) == 3:
            google.cloud.set_facts(instance_state="RUNNABLE")

    monkeypatch.setattr("infra.google.waiting.time.sleep", made_meanwhile)
    assert not restore._clone(found, asked)
    assert len(looks) == 3
    assert google.requests.count("sql.instances.clone") == 1


def test_the_name_in_force_is_refused_and_an_instance_that_is_gone_is_not_asked_for(
    given: Callable[..., None], google: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A backup was restored into `atlas` here, and the instance in force, `gone`, was deleted."""
    given()
    assert restore.main(["--env", "dev", "--to", "atlas", "--at", HOUR_AGO]) == 2
    assert "TO must be one that was never used" in capsys.readouterr().err
    begun = tmp_path / "dev" / "restore.begun.json"
    begun.write_text(json.dumps({"to": "atlas", "at": HOUR_AGO}))  # stopped after its name was written down
    found = environment.load("dev")
    assert isinstance(found, environment.Deployed)
    assert restore.problems(found, restore.Asked("atlas", HOUR_AGO)) == []
    begun.unlink()
    given(database_name="gone")
    found = environment.load("dev")
    assert isinstance(found, environment.Deployed)
    assert restore.problems(found, restore.Asked("atlas", HOUR_AGO)) == []
    assert not restore._clone(found, restore.Asked("atlas", HOUR_AGO))
    assert ["no instance gone" in one for one in restore.problems(found, restore.Asked("atlas-9", HOUR_AGO))] == [True]
    assert google.requests.count("sql.instances.clone") == 0
