"""`make rotate`: another value is stored unseen and put in force by number; the functions' login changes without one of them refused."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pg8000.native
import pytest

from infra import environment, rotate
from infra.deploy import folder_lock, tfvars_check, variable_files
from infra.deploy.problems import Refused
from infra.deploy.steps import prerequisites
from infra.google import secrets, sql
from infra.google.client import Google
from tests.integration.infra.conftest import PASSWORD, as_superuser
from tests.sandbox.google import made
from tests.unit.deploy import fakes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.google import Google as StandIn
    from sandbox.postgres.server import Postgres

SECRETS = {
    "CRYPTOPAY_TOKEN": "12345:AAmarkedmarkedmarkedmarkedmarkedmar",
    "DATABASE_URL": f"postgresql://atlas_functions:marked-functions@/atlas?host=/cloudsql/{made.PROJECT}:{made.REGION}:atlas",
    "HEALTH_KEY": "marked-health-key-0000000000000000",
    "TELEGRAM_WEBHOOK_SECRET": "marked-webhook-secret",
}


class _Killed(BaseException):
    """As the kernel does it: nothing of the command runs after it."""


def _killed(*_: object) -> None:
    raise _Killed


ANOTHER = "12345:BBmarkedmarkedmarkedmarkedmarkedmar"


@pytest.fixture
def run(cloud: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run the command on `dev`, whose secrets each have a first version; its code and what it said, which holds no secret."""
    part = made.foundation()
    part["google_secret_manager_secret"] = [
        {"secret_id": one.lower().replace("_", "-")} for one in (*SECRETS, "MIGRATE_DATABASE_URL")
    ]
    made.write(tmp_path / "terraform.tfstate", part)
    for name, value in SECRETS.items():
        secrets.add_version(Google(made.PROJECT), name.lower().replace("_", "-"), value)
    place = tmp_path / "dev" / "terraform.tfvars.json"
    variables = json.loads(place.read_text())
    place.write_text(
        json.dumps(variables | {"secret_versions": dict.fromkeys((*SECRETS, "MIGRATE_DATABASE_URL"), "1")})
    )

    def again(name: str, part: str = "begin") -> tuple[int, str]:
        code = rotate.main(["--env", "dev", "--name", name, "--part", part, "--yes"])
        said = capsys.readouterr()
        assert "marked" not in said.out + said.err
        assert PASSWORD not in said.out + said.err
        return code, said.out + said.err

    assert cloud.url
    return again


def _value(name: str) -> str:
    return environment.load("dev").secret(name)


def test_a_list_has_both_values_until_it_is_finished(run: Callable[..., tuple[int, str]]) -> None:
    old = SECRETS["TELEGRAM_WEBHOOK_SECRET"]
    assert run("TELEGRAM_WEBHOOK_SECRET", "finish")[0] == 1
    assert run("TELEGRAM_WEBHOOK_SECRET")[0] == 0
    new, _, kept = _value("TELEGRAM_WEBHOOK_SECRET").partition(",")
    assert (kept, len(new) >= 32) == (old, True)
    assert "PART=finish first" in run("TELEGRAM_WEBHOOK_SECRET")[1]
    assert run("TELEGRAM_WEBHOOK_SECRET", "finish")[0] == 0
    assert _value("TELEGRAM_WEBHOOK_SECRET") == new


def _deployed(place: Path, **numbers: str) -> None:
    """What a service has: setting = number of its version."""
    part = {
        "google_cloud_run_v2_service": [made.service("health", "x", **numbers)],
        "google_cloud_run_v2_job": [made.job("x", MIGRATE_DATABASE_URL="1")],
    }
    kept = {"google_secret_manager_secret": [{"secret_id": one.lower().replace("_", "-")} for one in numbers]}
    made.write(place, made.foundation() | kept, part)


def test_the_new_value_stands_alone_only_once_functions_have_it(
    run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    assert run("TELEGRAM_WEBHOOK_SECRET")[0] == 0
    _deployed(tmp_path / "terraform.tfstate", TELEGRAM_WEBHOOK_SECRET="1")
    code, said = run("TELEGRAM_WEBHOOK_SECRET", "finish")
    assert (code, "version 1 is still deployed" in said) == (1, True)
    assert "," in _value("TELEGRAM_WEBHOOK_SECRET")
    _deployed(tmp_path / "terraform.tfstate", TELEGRAM_WEBHOOK_SECRET="2")
    assert run("TELEGRAM_WEBHOOK_SECRET", "finish")[0] == 0


def test_numbers_of_an_earlier_day_are_no_ground_for_another_value(
    run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    secrets.add_version(Google(made.PROJECT), "telegram-webhook-secret", "marked-of-another-machine")
    _deployed(tmp_path / "terraform.tfstate", TELEGRAM_WEBHOOK_SECRET="2")
    code, said = run("TELEGRAM_WEBHOOK_SECRET")
    assert (code, "version 1 here, and 2 is deployed" in said) == (1, True)
    assert len(secrets.versions(Google(made.PROJECT), "telegram-webhook-secret")) == 2


def test_two_rotations_at_once_lose_no_number(
    run: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with folder_lock.held(tmp_path / "dev"):
        code, said = run("HEALTH_KEY")
    assert (code, "is at work in" in said) == (2, True)
    assert len(secrets.versions(Google(made.PROJECT), "health-key")) == 1

    held, numbers = folder_lock.held, {"MIGRATE_DATABASE_URL": "1", "TELEGRAM_WEBHOOK_SECRET": "1", "HEALTH_KEY": "1"}

    def after_another(folder: Path) -> Any:  # it ends between this one's first look and its own turn
        secrets.add_version(Google(made.PROJECT), "telegram-webhook-secret", "marked-another")
        variable_files.write_secret_versions(folder, numbers | {"TELEGRAM_WEBHOOK_SECRET": "2"})
        return held(folder)

    monkeypatch.setattr(folder_lock, "held", after_another)
    assert run("HEALTH_KEY")[0] == 0
    assert variable_files.secret_versions(tmp_path / "dev") == numbers | {
        "TELEGRAM_WEBHOOK_SECRET": "2",
        "HEALTH_KEY": "2",
    }


def _states(secret_id: str) -> dict[str, str]:
    return {one.number: one.state for one in secrets.versions(Google(made.PROJECT), secret_id)}


def test_a_rotation_that_another_machine_has_not_deployed_is_named_and_not_overtaken(
    run: Callable[..., tuple[int, str]],
) -> None:
    for name in ("HEALTH_KEY", "TELEGRAM_WEBHOOK_SECRET", "MIGRATE_DATABASE_URL"):
        secret_id = name.lower().replace("_", "-")
        secrets.add_version(Google(made.PROJECT), secret_id, "marked-of-another-machine")
        code, said = run(name)
        assert (code, f"{name}: version 2 was stored at" in said) == (1, True)
        assert f"gcloud secrets versions disable 2 --secret={secret_id} --project={made.PROJECT}" in said
        assert _states(secret_id) == {"1": "ENABLED", "2": "ENABLED"}
    secrets.disable(Google(made.PROJECT), "health-key", "2")  # given up there
    assert run("HEALTH_KEY")[0] == 0
    assert _states("health-key") == {"1": "ENABLED", "2": "DISABLED", "3": "ENABLED"}


@pytest.mark.parametrize("name", ["HEALTH_KEY", "TELEGRAM_WEBHOOK_SECRET", "MIGRATE_DATABASE_URL"])
def test_of_two_machines_at_once_the_first_to_store_counts_and_the_other_changes_nothing(
    name: str, run: Callable[..., tuple[int, str]], cloud: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, secret_id = secrets.add_version, name.lower().replace("_", "-")

    def after_another(google: Google, where: str, value: str) -> secrets.Version:
        add(google, where, "marked-of-another-machine")
        return add(google, where, value)

    monkeypatch.setattr(secrets, "add_version", after_another)
    code, said = run(name)
    assert (code, "another machine stored version 2 at the same moment" in said) == (1, True)
    assert _states(secret_id) == {"1": "ENABLED", "2": "ENABLED", "3": "DISABLED"}
    assert environment.load("dev").secret(name) != "marked-of-another-machine"
    assert variable_files.secret_versions(tmp_path / "dev") is None
    assert variable_files.begun_rotations(tmp_path / "dev") == {}
    assert "sql.users.update" not in cloud.requests


def test_one_that_was_killed_after_storing_goes_on_when_it_is_said_again(
    run: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(rotate, "_write_down", _killed)
        with pytest.raises(_Killed):
            run("HEALTH_KEY")
    assert variable_files.secret_versions(tmp_path / "dev") is None
    code, said = run("HEALTH_KEY")
    assert (code, "version 2, of a command that was stopped here, is disabled" in said) == (0, True)
    assert _states("health-key") == {"1": "ENABLED", "2": "DISABLED", "3": "ENABLED"}
    assert variable_files.begun_rotations(tmp_path / "dev") == {}


def test_an_owner_whose_new_password_the_database_may_not_have_is_told_by_the_next_deploy(
    run: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = fakes.world(tmp_path / "deploy")
    monkeypatch.setattr(tfvars_check, "problems", lambda *_, **__: [])
    setting.cloud.billing = False  # something else is wrong as well, and both are said

    def told() -> list[str]:
        with pytest.raises(Refused) as caught:
            prerequisites.look(setting.world)
        return [one.mend for one in caught.value.problems if "MIGRATE_DATABASE_URL" in one.what]

    with monkeypatch.context() as killed:
        killed.setattr(sql, "set_password", _killed)
        with pytest.raises(_Killed):
            run("MIGRATE_DATABASE_URL")
    assert run("HEALTH_KEY")[0] == 0  # another one's end is not this one's
    begun = variable_files.begun_rotations(tmp_path / "dev")
    assert set(begun) == {"MIGRATE_DATABASE_URL"}
    variable_files.write_begun_rotations(setting.world.folder, begun)
    assert told() == ["make rotate ENV=dev NAME=MIGRATE_DATABASE_URL, then this again"]
    setting.world.migrates = False
    assert told() == []  # a rollback must not wait for it
    setting.world.migrates = True
    assert run("MIGRATE_DATABASE_URL")[0] == 0
    variable_files.write_begun_rotations(setting.world.folder, variable_files.begun_rotations(tmp_path / "dev"))
    assert told() == []


@pytest.mark.full
def test_one_value_takes_the_place_of_the_other(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    assert run("HEALTH_KEY")[0] == 0
    assert _value("HEALTH_KEY") not in {"", SECRETS["HEALTH_KEY"]}
    assert (
        json.loads((tmp_path / "dev" / "secrets.auto.tfvars.json").read_text())["secret_versions"]["HEALTH_KEY"] == "2"
    )
    assert "nothing to finish" in run("HEALTH_KEY", "finish")[1]


@pytest.mark.full
def test_a_value_that_others_make_is_read_before_it_is_stored(
    run: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for given, said in (
        (None, "needs a value"),
        ("marked nonsense", "CRYPTOPAY_TOKEN: "),
        (SECRETS["CRYPTOPAY_TOKEN"], "in force"),
    ):
        if given is None:
            monkeypatch.delenv("CRYPTOPAY_TOKEN", raising=False)
        else:
            monkeypatch.setenv("CRYPTOPAY_TOKEN", given)
        code, told = run("CRYPTOPAY_TOKEN")
        assert (code, said in told) == (1, True)
    assert _value("CRYPTOPAY_TOKEN") == SECRETS["CRYPTOPAY_TOKEN"]
    monkeypatch.setenv("CRYPTOPAY_TOKEN", ANOTHER)
    assert run("CRYPTOPAY_TOKEN")[0] == 0
    assert _value("CRYPTOPAY_TOKEN") == f"{ANOTHER},{SECRETS['CRYPTOPAY_TOKEN']}"


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "part", "wanted"),
    [
        ("", "", ["NAME must be one of"]),
        ("SUPPORT_URL", "undo", ["NAME must be one of", "PART must be one of"]),
        ("PSEUDONYM_KEY", "begin", ["is never rotated"]),
        ("XRAY_API_KEY", "begin", ["has no version in force"]),
    ],
)
def test_what_can_t_be_is_refused_with_everything(
    name: str, part: str, wanted: list[str], run: Callable[..., tuple[int, str]], cloud: StandIn
) -> None:
    cloud.requests.clear()
    code, said = run(name, part)
    assert code == 2
    assert [one for one in wanted if one not in said] == []
    assert ("PSEUDONYM_KEY" in said) == (name == "PSEUDONYM_KEY")  # what can't be asked for is not offered
    assert cloud.requests == []


@pytest.mark.full
def test_the_owner_has_another_password_at_once(run: Callable[..., tuple[int, str]], cloud: StandIn) -> None:
    assert run("MIGRATE_DATABASE_URL")[0] == 0
    url = _value("MIGRATE_DATABASE_URL")
    assert url.endswith(f"@/atlas?host=/cloudsql/{made.PROJECT}:{made.REGION}:atlas")
    assert PASSWORD not in url
    assert cloud.requests.count("sql.users.update") == 1


@pytest.mark.full
def test_functions_change_to_the_other_login_and_back(
    run: Callable[..., tuple[int, str]], server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def session(url: str) -> Any:
        parts = urlsplit(url)
        return closing(
            pg8000.native.Connection(
                parts.username, host="127.0.0.1", port=server.port, password=parts.password, database="atlas"
            )
        )

    def deployed(found: environment.Environment) -> None:
        assert isinstance(found, environment.Deployed)
        number = found.secret_versions["DATABASE_URL"]
        part = {
            "google_cloud_run_v2_service": [made.service("health", "x", DATABASE_URL=number)],
            "google_cloud_run_v2_job": [made.job("x", MIGRATE_DATABASE_URL="1")],
        }
        kept = {
            "google_secret_manager_secret": [{"secret_id": one} for one in ("database-url", "migrate-database-url")]
        }
        made.write(tmp_path / "terraform.tfstate", made.foundation() | kept, part)

    def by_the_admin_api(_google: object, _instance: str, user: str, password: str) -> None:
        with as_superuser(server) as superuser:
            superuser.run(f"alter role {user} password '{password}'")

    monkeypatch.setattr(sql, "set_password", by_the_admin_api)
    with as_superuser(server) as superuser:
        superuser.run("create role atlas_functions login password 'marked-functions' in role atlas_app")
        try:
            for old, new in (("atlas_functions", "atlas_functions_b"), ("atlas_functions_b", "atlas_functions")) * 2:
                before = _value("DATABASE_URL")
                deployed(environment.load("dev"))
                assert run("DATABASE_URL")[0] == 0
                after = _value("DATABASE_URL")
                for part in ("begin", "finish"):  # functions are still at work as the one before
                    code, said = run("DATABASE_URL", part)
                    assert (code, "is still deployed" in said) == (1, True)
                deployed(environment.load("dev"))
                assert (urlsplit(before).username, urlsplit(after).username) == (old, new)
                with session(before) as still, session(after) as now:  # both, until it is finished
                    assert still.run("select pg_has_role('atlas_app', 'member')")[0][0]
                    assert now.run("select pg_has_role('atlas_app', 'member')")[0][0]
                    for part in ("begin", "finish"):
                        code, said = run("DATABASE_URL", part)
                        assert (code, f"still {old}'s" in said) == (1, True)
                assert run("DATABASE_URL", "finish")[0] == 0
                with pytest.raises(pg8000.native.DatabaseError) as caught, session(before):
                    pass
                assert caught.value.args[0]["C"] in {"28000", "28P01"}
                with session(after) as now:
                    assert now.run("select 1")[0][0] == 1
        finally:
            superuser.run("drop role if exists atlas_functions, atlas_functions_b")


@pytest.mark.full
def test_only_versions_that_nothing_uses_are_disabled(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    assert run("HEALTH_KEY")[0] == 0

    def deployed(number: str) -> None:
        part = {
            "google_cloud_run_v2_service": [made.service("health", "x", HEALTH_KEY=number)],
            "google_cloud_run_v2_job": [made.job("x", MIGRATE_DATABASE_URL="1")],
        }
        secret = {"google_secret_manager_secret": [{"secret_id": "health-key"}]}
        made.write(tmp_path / "terraform.tfstate", made.foundation() | secret, part)

    deployed("1")
    code, said = run("HEALTH_KEY", "disable")
    assert (code, "version 1 is still deployed" in said) == (1, True)
    deployed("2")
    assert run("HEALTH_KEY", "disable")[0] == 0
    states = {one.number: one.state for one in secrets.versions(Google(made.PROJECT), "health-key")}
    assert states == {"1": "DISABLED", "2": "ENABLED"}
    assert "alone is enabled" in run("HEALTH_KEY", "disable")[1]
