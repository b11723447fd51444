"""`make restore`: the database as it was at a moment is in force afterwards, and nothing was destroyed on the way."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from infra import environment, restore
from infra.deploy.terraform import Terraform as Deploying
from infra.google import secrets
from infra.google.client import Google
from sandbox.google import Google as StandIn
from tests.terraform.conftest import PASSWORDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.terraform.planned import Terraform, Values

NEW = "atlas-2"
INSTANCE = "module.platform.google_sql_database_instance.main[0]"


def _moment(ago: timedelta) -> str:
    return (datetime.now(UTC) - ago).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def applied(own_prod: Terraform, values: Values, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    """The prod environment, all of it made, and a cloud that holds it with the secrets' values."""
    own_prod.apply(variables={"database_passwords": PASSWORDS, "database_password_version": 1})
    folder = own_prod.folder
    (folder / "terraform.tfvars.json").write_text(json.dumps(values))
    project = values["project_id"]
    with StandIn(tmp_path / "google", project, terraform_state=folder / "terraform.tfstate") as google:
        for name, value in google.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(environment, "TERRAFORM", folder.parent)
        monkeypatch.setenv("CONFIRM", NEW)
        for setting, user in (("MIGRATE_DATABASE_URL", "owner"), ("DATABASE_URL", "functions")):
            url = (
                f"postgresql://atlas_{user}:{PASSWORDS[user]}@/atlas?host=/cloudsql/{project}:{values['region']}:atlas"
            )
            for _ in range(int(values["secret_versions"][setting])):
                secrets.add_version(Google(project), setting.lower().replace("_", "-"), url)
        yield google


def _read(folder: Path) -> dict[str, dict[str, Any]]:
    """What the state file says of Cloud SQL: type and name = attributes."""
    state = json.loads((folder / "terraform.tfstate").read_text())
    return {
        f"{one['type']}.{one['name']}": one["instances"][0]["attributes"]
        for one in state["resources"]
        if one["type"].startswith("google_sql_")
    }


def _read_by_the_provider(folder: Path, before: dict[str, dict[str, Any]]) -> None:
    """What the real provider reads of the copy when it takes it in, and the offline one can't: all that was so in the first."""
    path = folder / "terraform.tfstate"
    state = json.loads(path.read_text())
    for one in state["resources"]:
        known = before.get(f"{one['type']}.{one['name']}")
        if known is not None:
            kept = json.loads(json.dumps(known).replace(':atlas"', f':{NEW}"'))
            own = {name: NEW for name in ("instance",) if name in kept}
            own |= {"name": NEW} if one["type"] == "google_sql_database_instance" else {}
            one["instances"][0]["attributes"] = kept | own | {"id": one["instances"][0]["attributes"]["id"]}
    path.write_text(json.dumps(state | {"serial": state["serial"] + 1}))


@pytest.mark.full
def test_a_moment_is_brought_back_under_a_new_name_and_nothing_is_destroyed(
    applied: StandIn, own_prod: Terraform, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {one for one in own_prod.state() if ".google_sql_" in one}
    known = _read(own_prod.folder)
    given = ["--env", "prod", "--to", NEW, "--at", _moment(timedelta(hours=1))]
    taken: list[str] = []
    whole = Deploying.take_in

    def stopped(terraform: Deploying, address: str, name: str) -> None:
        """Killed after the first of them."""
        if taken:
            raise KeyboardInterrupt
        taken.append(address)
        whole(terraform, address, name)

    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(Deploying, "take_in", stopped)
        restore.main(given)
    assert taken == [INSTANCE]
    assert restore.main(given) == 0, capsys.readouterr().err
    assert {one for one in own_prod.state() if ".google_sql_" in one} == before
    found = environment.load("prod")
    assert isinstance(found, environment.Deployed)
    assert found.instance.name == NEW
    assert found.secret("DATABASE_URL").endswith(f":{NEW}")
    assert PASSWORDS["functions"] in found.secret("DATABASE_URL")
    _read_by_the_provider(own_prod.folder, known)
    numbers = {"secret_versions": dict(found.secret_versions), "database_name": NEW}
    plan = own_prod.plan(variables=numbers)
    assert plan.of("google_sql_database_instance")[INSTANCE]["name"] == NEW
    assert not {name: actions for name, actions in plan.changed.items() if "delete" in actions}
    volume = plan.service("health")["template"][0]["volumes"][0]["cloud_sql_instance"][0]
    assert volume["instances"] == [f"{found.project}:{found.region}:{NEW}"]
    capsys.readouterr()
    assert restore.main(given) == 2
    assert f"{NEW} is the name of the database in force" in capsys.readouterr().err
    assert not list(own_prod.folder.glob("restore.*"))
    said = "".join(path.read_text() for path in own_prod.folder.glob("*.json"))
    assert not [one for one in PASSWORDS.values() if one in said]
    assert not [one for one in PASSWORDS.values() if one in (own_prod.folder / "terraform.tfstate").read_text()]
    assert applied.url
