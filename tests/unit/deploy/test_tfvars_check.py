"""Every variable that can't be what it is for is refused before the cloud is asked, with all others that are wrong."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from infra import bundle
from infra.deploy import tfvars_check
from tests.terraform.conftest import kit
from tests.unit.deploy import fakes

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["kit"]

GOOD = """
project_id   = "atlas-prod-123456"
region       = "europe-west1"
domain       = "vpn.atlas.example"
bundle_path  = "../../../../dist/source.zip"
alert_emails = ["oncall@atlas.example"]
runbooks_url = "https://atlas.example/runbooks"
settings = {
  TELEGRAM_BOT_USERNAME = "atlas_bot"
}
"""


@pytest.fixture
def folder(kit: None, tmp_path: Path) -> Path:  # noqa: ARG001 -- it skips where there is no Terraform
    """The prod environment with a fresh folder for its variables."""
    root = tmp_path / "terraform"
    shutil.copytree(fakes.ROOT / "infra/terraform/environments/prod", root / "environments/prod", ignore=_own)
    (root / "modules/platform").mkdir(parents=True)
    for name in ("variables.tf", "locals.tf", "connections.tf"):
        shutil.copy(fakes.ROOT / "infra/terraform/modules/platform" / name, root / "modules/platform")
    return root / "environments" / "prod"


def _own(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.endswith((".tfvars", ".json")) or name.startswith(".terraform")]


def refused(folder: Path, text: str) -> list[str]:
    (folder / "terraform.tfvars").write_text(text)
    return [problem.what for problem in tfvars_check.problems(folder, fakes.ROOT)]


def test_good_ones_pass_and_the_example_needs_only_what_is_left_open(folder: Path) -> None:
    assert refused(folder, GOOD) == []
    left = refused(folder, (folder / "terraform.tfvars.example").read_text())
    assert {words.partition(" ")[0] for words in left} == {
        "alert_emails",
        "budget.billing_account",
        "paging_channels",
        "project_id",
        "runbooks_url",
        "settings.SUPPORT_URL",
        "settings.TELEGRAM_BOT_USERNAME",
    }
    assert all("is still the example's" in words for words in left)


def test_a_project_of_two_environments_is_told(folder: Path) -> None:
    other = folder.parent / "dev"
    other.mkdir()
    (other / "terraform.tfvars").write_text(GOOD)
    assert refused(folder, GOOD) == ["project_id is dev's as well: one project holds one environment"]


def test_a_missing_file_is_told_with_the_command_that_makes_it(folder: Path) -> None:
    (problem,) = tfvars_check.problems(folder, fakes.ROOT)
    assert problem.mend.startswith("cp ")


def test_all_that_is_wrong_is_told_at_once(folder: Path) -> None:
    settings = """
  LOG_LEVEL    = "verbose"
  ADMIN_IDS    = "bob"
  DISPLAY_TZ   = "Mars/Base"
  TARIFFS_PATH = "/etc/tariffs.toml"
  XRAY_API_URL = "http://"
}
"""
    words = "\n".join(
        refused(
            folder,
            GOOD.replace("atlas-prod-123456", "Atlas")
            .replace('"oncall@atlas.example"', "")
            .replace("vpn.atlas.example", "https://vpn")
            .replace("europe-west1", "EU")
            .replace("\n}\n", settings)
            + "tier = 1\n",
        )
    )
    for told in (
        "project_id must be",
        "alert_emails needs at least one",
        "domain must be",
        "region must be",
        "there is no variable tier",
        "LOG_LEVEL",
        "ADMIN_IDS",
        "DISPLAY_TZ",
        "TARIFFS_PATH: /etc/tariffs.toml is not among what is deployed",
        "XRAY_API_URL",
    ):
        assert told in words, told


def test_overrides_sums_and_unknown_names_are_told_at_once_and_by_name(folder: Path) -> None:
    """What a plan would tell only once APIs and buckets are made, or never: Terraform drops parts that a type does not have."""
    words = refused(
        folder,
        GOOD.replace("TELEGRAM_BOT_USERNAME", "TELEGRAM_BOT_NAME")
        + """
budget    = { billing_account = "012345-6789AB-CDEF01", amount = 300, curency = "EUR" }
database  = { tier = "db-custom-1-3840", backup_kept = 3 }
overrides = {
  healt        = { min_instances = 1 }
  private      = { connections = 4 }
  task_settle  = { max_instance = 9, min_instances = 50 }
  task_notify  = { connections = 90 }
}
""",
    )
    for told in (
        "TELEGRAM_BOT_NAME: no setting of this name",
        "budget has no curency; it has amount, billing_account, currency",
        "database has no backup_kept; it has ",
        "overrides.task_settle has no max_instance; it has concurrency, connections, cpu, max_instances,",
        "overrides: healt is no function of functions/table.json",
        "overrides: private is no function of functions/table.json (private is one of size small alone)",
        "min_instances <= max_instances and connections >= 2; not so: task_settle",
        "Too many connections: db-custom-1-3840 takes 100",
    ):
        assert [one for one in words if told in one], (told, words)
    assert len(words) == 8, words


def test_what_size_small_has_may_be_overridden_there(folder: Path) -> None:
    assert refused(folder, GOOD + 'size = "small"\noverrides = { private = { memory_mib = 1024 } }\n') == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('region       = "europe-west1"', "", "region"),
        ('"oncall@atlas.example"', '"oncall"', "alert_emails"),
        ("https://atlas.example/runbooks", "https://atlas.example/runbooks/", "runbooks_url"),
        ("vpn.atlas.example", "a.run.app", "domain"),
        ('["oncall@atlas.example"]', "7", "alert_emails"),
        ("TELEGRAM_BOT_USERNAME", "DATABASE_URL", "settings: DATABASE_URL: no setting of this name"),
        ('"atlas_bot"', '"@atlas_bot"', "TELEGRAM_BOT_USERNAME"),
        ('"atlas_bot"', '"atlas_bot', "does not end on its line"),
    ],
)
def test_one_that_is_wrong_is_told(folder: Path, old: str, new: str, told: str) -> None:
    assert GOOD.count(old) == 1
    words = refused(folder, GOOD.replace(old, new))
    assert any(told in one for one in words), words


def test_what_a_person_and_a_command_wrote_differently_is_told(folder: Path) -> None:
    (folder / "secrets.auto.tfvars.json").write_text('{"secret_versions": {"HEALTH_KEY": "2"}}')
    words = refused(folder, GOOD + 'secret_versions = { HEALTH_KEY = "1" }\n')
    assert any("take it out of terraform.tfvars" in one for one in words), words


def test_a_lock_that_is_not_of_the_pins_is_told_with_what_makes_it(folder: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for name in [*bundle.names(), bundle.LOCK]:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.ROOT / name, checkout / name)
    pins = checkout / bundle.PINS
    pins.write_text(pins.read_text().replace("segno==1.6.6", "segno==1.6.7"))
    (folder / "terraform.tfvars").write_text(GOOD)
    (found,) = tfvars_check.problems(folder, checkout)
    assert (
        found.what == "infra/requirements.lock is not of requirements.txt: segno is locked as 1.6.6 and pinned as 1.6.7"
    )
    assert found.mend.startswith("make lock")
