"""`make terraform-check` itself: current tables, a named skip without Terraform, a failure in CI, red when something is off."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from infra.terraform import check, document

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).resolve().parents[2]
TERRAFORM = ROOT / "infra/terraform"


def _check(tmp_path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """The check on a machine without Terraform."""
    return subprocess.run(
        [sys.executable, "-m", "infra.terraform.check"],
        cwd=ROOT,
        env={"PATH": str(tmp_path), **env},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_tables_of_variables_are_current() -> None:
    assert document.written(document.README.read_text()) == document.README.read_text()


def test_every_variable_is_typed_and_described() -> None:
    for module in ("modules/platform", "modules/function", "environments/dev", "environments/prod"):
        entries = document.described(TERRAFORM / module)
        assert entries
        assert all(entry.type for entry in entries if entry.kind == "variable"), module


def test_a_project_has_no_default() -> None:
    for module in ("modules/platform", "environments/dev", "environments/prod"):
        defaults = {entry.name: entry.default for entry in document.described(TERRAFORM / module)}
        assert (defaults["project_id"], defaults["region"]) == (None, None)


def test_both_environments_take_the_same_variables_and_differ_in_main_alone() -> None:
    dev, prod = (TERRAFORM / "environments" / name for name in ("dev", "prod"))
    for name in ("variables.tf", "outputs.tf", "versions.tf"):
        assert (dev / name).read_text() == (prod / name).read_text()


def test_without_terraform_it_is_a_named_skip_and_a_failure_in_ci(tmp_path: Path) -> None:
    skipped = _check(tmp_path)
    assert (skipped.returncode, skipped.stderr) == (0, "terraform-check: SKIPPED: no terraform (>= 1.11) on PATH\n")
    failed = _check(tmp_path, CI="true")
    assert (failed.returncode, failed.stderr) == (1, "terraform-check: FAILED: no terraform (>= 1.11) on PATH\n")


# Writes its own file, then waits for the other one's: alone, it would end by its deadline.
_MEETS = """
import pathlib, sys, time
own, other = map(pathlib.Path, sys.argv[1:])
own.touch()
ends = time.monotonic() + 60
while not other.exists():
    if time.monotonic() > ends:
        sys.exit("the other one never began")
"""


def test_steps_run_side_by_side_and_every_complaint_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    met = [
        check.Step("one", [sys.executable, "-c", _MEETS, one, two], tmp_path),
        check.Step("two", [sys.executable, "-c", _MEETS, two, one], tmp_path),
    ]
    wrong = [
        check.Step(name, [sys.executable, "-c", f"raise SystemExit('{name} is wrong')"], tmp_path) for name in "ab"
    ]
    monkeypatch.setattr(shutil, "which", lambda _name: "terraform")
    monkeypatch.setattr(check, "_begun", lambda *_: [])
    monkeypatch.setattr(check, "_together", lambda *_: met)
    assert check.main() == 0
    monkeypatch.setattr(check, "_together", lambda *_: [*wrong, *met])
    capsys.readouterr()
    assert check.main() == 1
    told = capsys.readouterr()
    assert all(f"{name} is wrong" in told.err and f"FAILED {name}" in told.err for name in "ab")
    assert "terraform-check: one (" in told.out


def test_a_table_out_of_date_is_red(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = tmp_path / "README.md"
    stale.write_text(document.README.read_text().replace("| alert_emails |", "| alert_mails |", 1))
    monkeypatch.setattr(document, "README", stale)
    assert check.main() == 1
    assert "tables of variables" in capsys.readouterr().err


def test_every_policy_exception_has_its_reason() -> None:
    skips = [
        line for path in TERRAFORM.rglob("*.tf") for line in path.read_text().splitlines() if "checkov:skip" in line
    ]
    assert skips
    assert all(re.search(r"checkov:skip=CKV2?_GCP_\d+:\S.{20,}", line) for line in skips), skips
    assert "skip-check" not in (ROOT / ".checkov.yaml").read_text()


def test_neither_state_nor_an_environments_own_values_are_committed() -> None:
    listed = subprocess.run(["git", "ls-files", "infra"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert not re.search(r"tfstate|\.tfvars$|\.tfvars\.json$", listed, re.MULTILINE)
    for name in ("terraform.tfvars", "release.auto.tfvars.json"):
        path = f"infra/terraform/environments/prod/{name}"
        assert not subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False).returncode, path


def test_the_providers_version_is_locked_in_both_environments_alike() -> None:
    """Its checksums too, once an `init` that could reach the registry has added them; never those of a stand-in."""
    texts = {(TERRAFORM / "environments" / name / ".terraform.lock.hcl").read_text() for name in ("dev", "prod")}
    (text,) = texts
    assert re.search(r'"registry\.terraform\.io/hashicorp/google" \{\n  version     = "8\.\d+\.\d+"\n', text)
    assert "hashes" not in text or '"zh:' in text
