"""`make terraform-check`: format, validation, tests, policies and tables of variables; no cloud, no credentials.

Everything happens in a copy in a temporary folder, so a check leaves neither providers nor their checksums in the tree.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra.terraform import document

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
_VALIDATED = ("environments/dev", "environments/prod")
_TESTED = ("modules/function", "modules/platform")
_SCANNER = ROOT / ".venv-terraform"
_PINNED = ROOT / "infra" / "terraform" / "requirements-check.txt"


class CheckFailed(Exception):
    """A step failed; its output is the text."""


def copied(to: Path) -> Path:
    """What Terraform reads, below `to`: the modules, the table of functions and their probes, the runbooks. The folder of Terraform."""
    left_out = shutil.ignore_patterns(".terraform", "*.tfstate*", "__pycache__", "*.tfvars", "*.auto.tfvars.json")
    shutil.copytree(ROOT / "infra" / "terraform", to / "infra" / "terraform", ignore=left_out)
    shutil.copytree(ROOT / "docs" / "runbooks", to / "docs" / "runbooks")
    (to / "functions").mkdir()
    for name in ("table.json", "probes.json"):
        shutil.copy(ROOT / "functions" / name, to / "functions")
    return to / "infra" / "terraform"


def environment() -> dict[str, str]:
    """Terraform's: no questions, no check for news, downloads kept between runs."""
    env = os.environ | {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
    if "TF_CLI_CONFIG_FILE" not in env and "TF_PLUGIN_CACHE_DIR" not in env:
        cache = ROOT / ".local" / "terraform-plugins"
        cache.mkdir(parents=True, exist_ok=True)
        # The lock file is a copy, so nothing can be broken by taking a provider from the cache.
        env |= {"TF_PLUGIN_CACHE_DIR": str(cache), "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE": "1"}
    return env


def _run(*command: str, cwd: Path) -> str:
    """Run a step and return what it printed.

    Raises:
        CheckFailed: its exit code is not 0.
    """
    ended = subprocess.run(  # noqa: S603 -- the arguments are this file's
        command, cwd=cwd, env=environment(), check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if ended.returncode:
        raise CheckFailed(ended.stdout)
    return ended.stdout


def _scanner() -> str:
    """The policy scanner, installed when it is not there or pinned anew."""
    stamp = _SCANNER / ".ready"
    wanted = _PINNED.read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        sys.stdout.write("  installing the policy scanner into .venv-terraform (once; about a minute) ...\n")
        venv.create(_SCANNER, with_pip=True, clear=True)
        _run(str(_SCANNER / "bin" / "pip"), "install", "--quiet", "--requirement", str(_PINNED), cwd=ROOT)
        stamp.write_text(wanted)
    return str(_SCANNER / "bin" / "checkov")


@dataclass(frozen=True)
class Step:
    """One of the things that are checked: a command in a folder."""

    name: str
    command: Sequence[str]
    folder: Path


def _begun(terraform: str, folder: Path) -> list[Step]:
    """What has to be there first, one after the other: Terraform's cache of providers takes no two at once."""
    init = [terraform, "init", "-backend=false", "-input=false", "-no-color"]
    steps = [Step("format", [terraform, "fmt", "-check", "-diff", "-recursive"], folder)]
    return steps + [Step(f"init {part}", init, folder / part) for part in (*_VALIDATED, *_TESTED)]


def _together(terraform: str, folder: Path) -> list[Step]:
    """The rest, none of which changes anything that another one reads; what takes longest comes first."""
    scan = [_scanner(), "--config-file", str(ROOT / ".checkov.yaml"), "--directory", "."]
    tests = [Step(f"test {part}", [terraform, "test", "-no-color"], folder / part) for part in _TESTED]
    steps = [*reversed(tests), Step("policies", scan, folder)]
    return steps + [
        Step(f"validate {part}", [terraform, "validate", "-no-color"], folder / part) for part in _VALIDATED
    ]


def _failed(step: Step) -> bool:
    """Run it and say how long it took, or what it complains of."""
    started = time.monotonic()
    try:
        _run(*step.command, cwd=step.folder)
    except CheckFailed as error:
        sys.stderr.write(f"{error}\nterraform-check: FAILED {step.name}\n")
        return True
    sys.stdout.write(f"terraform-check: {step.name} ({time.monotonic() - started:.1f} s)\n")
    return False


def main() -> int:
    """Run every step and say how long each took; 1 when one failed. Without Terraform: a skip, in CI a failure."""
    if document.written(document.README.read_text()) != document.README.read_text():
        sys.stderr.write("terraform-check: FAILED tables of variables: python -m infra.terraform.document\n")
        return 1
    terraform = shutil.which("terraform")
    if terraform is None:
        in_ci = os.environ.get("CI", "").lower() in {"1", "true"}
        sys.stderr.write(f"terraform-check: {'FAILED' if in_ci else 'SKIPPED'}: no terraform (>= 1.11) on PATH\n")
        return 1 if in_ci else 0
    with tempfile.TemporaryDirectory(prefix="atlas-terraform-") as scratch:
        folder = copied(Path(scratch))
        if any(_failed(step) for step in _begun(terraform, folder)):
            return 1
        # As many at once as the machine has cores; all are run, so that all complaints are told.
        with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1)) as pool:
            return int(any(list(pool.map(_failed, _together(terraform, folder)))))


if __name__ == "__main__":
    sys.exit(main())
