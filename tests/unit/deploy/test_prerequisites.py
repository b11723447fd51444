"""What is missing is told at once, each with what mends it, and nothing is changed; what Terraform says elsewhere is said alike here."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from infra.deploy import tfvars_check
from infra.deploy.problems import Problem, Refused
from infra.deploy.steps import prerequisites, protection, secret_values
from infra.google.client import GoogleError, NotLoggedIn
from tests.unit.deploy import fakes

if TYPE_CHECKING:
    from pathlib import Path

    from infra.deploy.cloud import Project

PLATFORM = fakes.ROOT / "infra" / "terraform" / "modules" / "platform"


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fakes.Setting:
    """Variables that are good as they are: they have tests of their own."""
    monkeypatch.setattr(tfvars_check, "problems", lambda *_, **__: [])
    return fakes.world(tmp_path)


def problems(setting: fakes.Setting) -> tuple[Problem, ...]:
    with pytest.raises(Refused) as refused:
        prerequisites.look(setting.world)
    assert setting.cloud.changed == []
    assert all(problem.mend for problem in refused.value.problems)
    return refused.value.problems


def test_all_is_there(setting: fakes.Setting) -> None:
    assert prerequisites.look(setting.world) is None
    assert "project atlas-dev-000001, region europe-west1, as you@example.org" in setting.said


def test_everything_that_is_missing_is_told_at_once(setting: fakes.Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes.FakeTerraform, "version", lambda _: (1, 9, 0))
    (setting.world.folder / "offline_override.tf").touch()
    (setting.world.folder / "terraform.tfvars").write_text(
        fakes.VARIABLES.replace("https://telegram.example.org", "http://telegram.example.org")
    )
    setting.cloud.billing = False
    setting.cloud.here = frozenset({"us-central1"})
    words = [problem.what for problem in problems(setting)]
    assert len(words) == 5, words
    for told in (
        "1.9.0 is too old",
        "offline_override.tf",
        "TELEGRAM_API_BASE must be https",
        "billing",
        "europe-west1",
    ):
        assert any(told in one for one in words), told


def test_without_terraform_the_rest_is_looked_at_all_the_same(
    setting: fakes.Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fakes.FakeTerraform, "version", lambda _: None)
    setting.cloud.billing = False
    assert len(problems(setting)) == 2


def test_without_a_login_no_more_is_asked(setting: fakes.Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object) -> str:
        raise NotLoggedIn("No usable Google login")

    monkeypatch.setattr(fakes.FakeCloud, "login", refused)
    (problem,) = problems(setting)
    assert problem.mend == "gcloud auth application-default login"


@pytest.mark.parametrize("lacks", ["no file", "a syntax error", "no region", "no project", "no Terraform"])
def test_what_else_is_wrong_is_told_whatever_the_variables_lack(
    lacks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = fakes.world(tmp_path)
    monkeypatch.setattr(tfvars_check, "_refused_by_rules", lambda *_: ["the rules were asked"])
    monkeypatch.setattr(fakes.FakeTerraform, "version", lambda _: None if lacks == "no Terraform" else (1, 12, 0))
    for name in ("variables.tf", "terraform.tfvars.example"):
        shutil.copy(PLATFORM.parents[1] / "environments" / "dev" / name, setting.world.folder)
    path = setting.world.folder / "terraform.tfvars"
    text = path.read_text()
    match lacks:
        case "no file":
            path.unlink()
        case "a syntax error":
            path.write_text(text + "region = \n")
        case "no region" | "no project":
            name = "region" if lacks == "no region" else "project_id"
            path.write_text(re.sub(rf"(?m)^{name}\b.*\n", "", text))

    def refused(_: object) -> str:
        raise NotLoggedIn("No usable Google login")

    monkeypatch.setattr(fakes.FakeCloud, "login", refused)
    words = [problem.what for problem in problems(setting)]
    assert "No usable Google login" in words
    assert len(words) > 1, words
    assert ("the rules were asked" in words) == lacks.startswith(("no region", "no project")), words


@pytest.mark.parametrize("reason", ["PERMISSION_DENIED", "NOT_FOUND"])
def test_a_project_that_cannot_be_seen_is_told_with_its_name(
    setting: fakes.Setting, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    def refused(_: object) -> Project:
        raise GoogleError("projects.get", 403, reason, "")

    monkeypatch.setattr(fakes.FakeCloud, "project", refused)
    (problem,) = problems(setting)
    assert "project atlas-dev-000001 can't be seen" in problem.what


def test_a_new_project_whose_apis_are_off_is_none_that_is_wrong(
    setting: fakes.Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disabled(_: object) -> None:
        raise GoogleError("it", 403, "SERVICE_DISABLED", "")

    for method in ("project", "billing_enabled", "regions"):
        monkeypatch.setattr(fakes.FakeCloud, method, disabled)
    assert prerequisites.look(setting.world) is None


def test_secrets_that_may_be_absent_are_the_platforms() -> None:
    text = (PLATFORM / "locals.tf").read_text()
    (listed,) = re.findall(r"optional_secrets\s*=\s*\[([^\]]*)\]", text)
    assert set(re.findall(r'"([A-Z_]+)"', listed)) == secret_values.OPTIONAL


def test_what_is_protected_is_what_the_platform_protects() -> None:
    found = set()
    for path in sorted(PLATFORM.glob("*.tf")):
        for block in re.split(r"^(?=resource )", path.read_text(), flags=re.MULTILINE):
            if "var.protected" in block.partition("\n}\n")[0] and block.startswith("resource"):
                found.add(block.split('"')[1])
    assert found == set(protection.PROTECTED_TYPES)
