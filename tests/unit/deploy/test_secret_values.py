"""Secrets are made, asked for or taken; stored before their number is written down; shown nowhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from infra.deploy import variable_files
from infra.deploy.problems import Refused
from infra.deploy.steps import foundation, secret_values
from lib.settings import plain, values
from tests.unit.deploy import fakes

if TYPE_CHECKING:
    from pathlib import Path


def _store(setting: fakes.Setting) -> None:
    change = secret_values.look(setting.world)
    assert change is not None
    for line in change.lines:
        setting.world.talk.say(line)
    change.carry_out()


def test_a_first_deploy_makes_what_is_ours_and_takes_what_is_given(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    _store(setting)
    numbers = variable_files.secret_versions(setting.world.folder)
    assert numbers is not None
    assert set(numbers) == set(fakes.SECRETS) - {"CRYPTOPAY_TOKEN", "TELEGRAM_PROVIDER_TOKEN", "XRAY_API_KEY"}
    stored = {name: versions[-1][0] for name, versions in setting.cloud.versions.items()}
    assert stored["telegram-bot-token"] == fakes.TOKEN
    values.webhook_secrets(stored["telegram-webhook-secret"])
    values.master_keys(stored["node-master-keys"])
    for name, user in (("database-url", "atlas_functions"), ("migrate-database-url", "atlas_owner")):
        plain.database_url(stored[name])
        assert urlsplit(stored[name]).username == user
        assert len(secret_values.password(stored[name])) >= 24
    assert secret_values.password(stored["database-url"]) != secret_values.password(stored["migrate-database-url"])


def test_no_value_is_said_or_written(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    _store(setting)
    written = "".join(path.read_text() for path in setting.world.folder.iterdir()) + setting.said + repr(setting.world)
    for versions in setting.cloud.versions.values():
        value = versions[-1][0]
        assert value not in written
        assert secret_values.password(value) == "" or secret_values.password(value) not in written


@pytest.mark.proves("N-61")
def test_a_run_that_was_stopped_after_storing_takes_what_is_there_and_makes_nothing_twice(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    _store(setting)
    before = {name: list(versions) for name, versions in setting.cloud.versions.items()}
    (setting.world.folder / variable_files.SECRETS).unlink()  # the kill came before this was written
    setting.cloud.versions["health-key"].clear()  # and before this one was stored
    _store(setting)
    assert {name: len(versions) for name, versions in setting.cloud.versions.items()} == dict.fromkeys(before, 1)
    assert secret_values.look(setting.world) is None


def test_all_that_is_missing_or_unfit_is_said_at_once_and_nothing_is_stored(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path, environment={"CRYPTOPAY_TOKEN": "no token", "XRAY_API_KEY": "two words"})
    with pytest.raises(Refused) as refused:
        secret_values.look(setting.world)
    assert {problem.what.partition(" ")[0].rstrip(":") for problem in refused.value.problems} == {
        "TELEGRAM_BOT_TOKEN",
        "CRYPTOPAY_TOKEN",
        "XRAY_API_KEY",
    }
    assert "no token" not in str(refused.value)
    assert setting.cloud.versions == {}


def test_a_bot_of_another_name_is_refused(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    setting.telegram.username = "another_bot"
    with pytest.raises(Refused, match="TELEGRAM_BOT_USERNAME says @atlas_bot"):
        secret_values.look(setting.world)


def test_a_version_in_force_that_is_disabled_is_said_and_not_replaced(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    _store(setting)
    value, _ = setting.cloud.versions["health-key"][0]
    setting.cloud.versions["health-key"] = [(value, False)]
    with pytest.raises(Refused, match="gcloud secrets versions enable 1 --secret=health-key"):
        secret_values.look(setting.world)


def test_a_value_in_the_environment_never_replaces_one_in_force(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    _store(setting)
    setting.world.talk.environment = {"TELEGRAM_BOT_TOKEN": "700002:BBBB-another-bot"}
    assert secret_values.look(setting.world) is None


def test_passwords_go_to_terraform_from_secret_manager_and_only_while_a_user_is_missing(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    _store(setting)
    setting.world.made_secrets.clear()  # another run
    setting.terraform.planned.append({"resource_changes": [fakes.changed("google_sql_user", "atlas_owner", "create")]})
    change = foundation.look(setting.world)
    assert change is not None
    change.carry_out()
    given = json.loads(setting.terraform.applied[-1]["database_passwords"])
    assert given["owner"] == secret_values.password(setting.cloud.versions["migrate-database-url"][-1][0])
    assert given["functions"] == secret_values.password(setting.cloud.versions["database-url"][-1][0])
    assert given["owner"] not in setting.said
    setting.cloud.read.clear()
    setting.terraform.state.extend(f"module.platform.{user}" for user in foundation.USERS)
    assert foundation.look(setting.world) is None
    assert setting.cloud.read == []


def test_a_postgres_of_ones_own_is_asked_for_its_addresses(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    setting.terraform.told["database_urls"] = None
    with pytest.raises(Refused) as refused:
        secret_values.look(setting.world)
    assert [problem.what.partition(" ")[0] for problem in refused.value.problems] == [
        "DATABASE_URL",
        "MIGRATE_DATABASE_URL",
    ]
