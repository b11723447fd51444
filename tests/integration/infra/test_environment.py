"""An environment's settings, secrets and sessions: what each holds, and what it keeps back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pg8000.exceptions
import pytest

from infra import environment
from infra.environment import NoDatabase, NoEnvironment, NoSecret
from infra.google import secrets
from sandbox.state.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRETS = {
    "DATABASE_URL": "postgresql://f:marked-functions@127.0.0.1/atlas",
    "TELEGRAM_BOT_TOKEN": "1:marked-bot-token",
    "HEALTH_KEY": "marked-health-key",
    "TELEGRAM_PROVIDER_TOKEN": "marked-provider",
}
SETTINGS = {"ENVIRONMENT": "local", "TASKS_PROJECT": "local", "TASKS_LOCATION": "here", "SUPPORT_URL": "https://t.me/x"}


@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Iterator[Path]:
    """The folder of a system that says it is up."""
    path = tmp_path / ".local"
    one = Home(path)
    one.take()
    one.announce({"url": "http://127.0.0.1:1", "database": database_url, "settings": SETTINGS | SECRETS})
    yield path
    one.let_go()


def _own_database(folder: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> environment.Environment:
    given = {
        "project_id": "atlas-dev-1",
        "region": "europe-west1",
        "database": {"url_secret": "x"},
        "secret_versions": {"MIGRATE_DATABASE_URL": "2"},
    }
    (folder / "terraform.tfvars.json").write_text(json.dumps(given))
    asked: list[tuple[str, str]] = []

    def access(_google: object, secret_id: str, number: str) -> str:
        asked.append((secret_id, number))
        return f"{url}\n"

    monkeypatch.setattr(secrets, "access", access)
    found = environment.load("dev", folder=folder)
    assert found.secret("MIGRATE_DATABASE_URL") == url
    assert asked == [("migrate-database-url", "2")]
    assert isinstance(found, environment.Deployed)
    assert (found.secret_id("DATABASE_URL"), found.secret_id("HEALTH_KEY")) == ("x", "health-key")
    return found


@pytest.fixture(params=["local", "dev"])
def loaded(
    request: pytest.FixtureRequest, home: Path, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> environment.Environment:
    """The same database as the local system's, and as a Postgres of one's own."""
    if request.param == "local":
        return environment.load("local", folder=home)
    return _own_database(tmp_path, monkeypatch, database_url)


def _value(session: Any, statement: str) -> Any:
    return session.run(statement)[0][0]


def _refused(session: Any, statement: str) -> str:
    with pytest.raises(pg8000.exceptions.DatabaseError) as caught:
        session.run(statement)
    return str(caught.value.args[0]["C"])


def test_a_reader_reads_and_changes_nothing(loaded: environment.Environment) -> None:
    session = loaded.connect("readonly")
    try:
        assert _value(session, "select current_user") == "atlas_readonly"
        assert _value(session, "select count(*) from schema_migrations") > 0
        assert _refused(session, "insert into accounts (telegram_id) values (1)") == "25006"
        session.run("set transaction_read_only = off")
        session.run("set default_transaction_read_only = off")
        assert _refused(session, "update deployment set clock_offset = interval '1 s'") == "42501"
        assert _refused(session, "select destination from withdrawals") == "42501"
    finally:
        session.close()


def test_the_owner_may_change_the_schema(loaded: environment.Environment) -> None:
    session = loaded.connect("owner")
    try:
        session.run("begin")
        session.run("create table made_by_hand (id int)")
        assert _value(session, "select cast(to_regclass('atlas.made_by_hand') as text)") == "made_by_hand"
        session.run("rollback")
    finally:
        session.close()


def test_settings_hold_no_secret_and_a_repr_neither(home: Path, database_url: str) -> None:
    local = environment.load("local", folder=home)
    assert dict(local.settings) == SETTINGS
    assert {name: local.secret(name) for name in SECRETS} == SECRETS
    assert local.secret("MIGRATE_DATABASE_URL") == database_url
    shown = repr(local)
    assert not [value for value in (*SECRETS.values(), database_url) if value in shown]


def test_what_is_no_secret_is_not_had_as_one(home: Path) -> None:
    local = environment.load("local", folder=home)
    assert not local.has_secret("CRYPTOPAY_TOKEN")
    for name in ("CRYPTOPAY_TOKEN", "SUPPORT_URL", "NO_SUCH_THING"):
        with pytest.raises(NoSecret, match=name):
            local.secret(name)


def test_a_real_bot_s_token_comes_from_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Home(home)
    without = {name: value for name, value in SECRETS.items() if name != "TELEGRAM_BOT_TOKEN"}
    one.announce({"url": "x", "database": "x", "settings": SETTINGS | without})
    monkeypatch.delenv("TELEGRAM_BOT_TOKEN", raising=False)
    with pytest.raises(NoSecret, match="give it in the environment"):
        environment.load("local", folder=home).secret("TELEGRAM_BOT_TOKEN")
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "1:real")
    assert environment.load("local", folder=home).secret("TELEGRAM_BOT_TOKEN") == "1:real"


def test_a_system_that_is_not_up_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoEnvironment, match="make run"):
        environment.load("local", folder=tmp_path / "nothing")


@pytest.mark.parametrize("name", ["", "Prod", "staging", "../prod"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(NoEnvironment, match="one of local, dev, prod"):
        environment.load(name)


def test_everything_that_variables_lack_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(NoEnvironment, match=r"has no terraform\.tfvars"):
        environment.load("prod", folder=tmp_path)
    (tmp_path / "terraform.tfvars").write_text("region = 3\n")
    with pytest.raises(NoEnvironment) as caught:
        environment.load("prod", folder=tmp_path)
    assert [line.rpartition(" ")[2] for line in str(caught.value).splitlines()] == ["project_id", "region"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://o:marked@127.0.0.1:1/atlas", "does not answer"),
        ("postgresql://o:marked@/atlas?host=/cloudsql/p:r:atlas", "is on the platform"),
        ("postgresql://o:mar/ked@127.0.0.1/atlas", "encode"),
    ],
)
def test_a_database_that_can_t_be_had_is_told_without_its_password(
    url: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _own_database(tmp_path, monkeypatch, url)
    with pytest.raises(NoDatabase, match=said) as caught:
        found.connect("owner")
    assert "mar" not in str(caught.value)


def test_a_wrong_password_is_told_by_its_code(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme, _, rest = database_url.partition("://")
    wrong = f"{scheme}://{rest.partition(':')[0]}:marked-wrong@{rest.rpartition('@')[2]}"
    with pytest.raises(NoDatabase, match="SQLSTATE 28P01") as caught:
        _own_database(tmp_path, monkeypatch, wrong).connect("readonly")
    assert "marked" not in str(caught.value)
