"""What the doctor says of drift, by Terraform itself over a resource that needs no cloud."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from infra.doctor.check import WrongError
from infra.doctor.google_cloud import GoogleCloud
from infra.environment import Deployed
from infra.google.client import Google

if TYPE_CHECKING:
    from pathlib import Path

WANTED = 'resource "terraform_data" "queue" {\n  input = "8 a second"\n}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An environment's folder, applied."""
    if shutil.which("terraform") is None:
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail("no terraform (>= 1.11) on PATH")
        pytest.skip("terraform: not on PATH")
    (tmp_path / "main.tf").write_text(WANTED)
    for command in (["init", "-input=false"], ["apply", "-input=false", "-auto-approve"]):
        subprocess.run(["terraform", *command], cwd=tmp_path, capture_output=True, check=True)
    for made in ("modules", "providers"):  # which init makes where there are any
        (tmp_path / ".terraform" / made).mkdir(parents=True, exist_ok=True)
    (tmp_path / ".terraform" / "modules" / "modules.json").write_text('{"Modules":[]}')
    return tmp_path


@pytest.mark.proves("N-60.cloud")
def test_what_terraform_would_change_is_named_and_nothing_is_changed(folder: Path) -> None:
    cloud = GoogleCloud(Deployed("dev", "p", "europe-west1", folder, {}, Google("p")))

    def state() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}

    before = state()
    assert cloud.drift() == []
    assert state() == before
    (folder / "main.tf").write_text(WANTED.replace("8", "9"))
    before = state()
    assert cloud.drift() == ["terraform_data.queue (update)"]
    assert state() == before
    (folder / "main.tf").write_text(WANTED + 'output "x" {\n  value = no_such.thing\n}\n')
    with pytest.raises(WrongError, match="terraform plan can't be made: Reference to undeclared resource"):
        cloud.drift()
