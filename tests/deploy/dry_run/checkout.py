"""A fresh checkout to deploy from: what git knows of this one, the environment of Python that is there already, nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
_PARTS = (
    "Makefile",
    "README.md",
    "main.py",
    "functions",
    "infra",
    "lib",
    "docs/runbooks",
    "sandbox/state",
    "sandbox/__init__.py",
    "xray_api/requirements.txt",
)
_WRITTEN = shutil.ignore_patterns(
    "__pycache__", ".terraform", "*.tfstate*", "*.tfvars", "*.auto.tfvars.json", ".terraform.lock.hcl"
)


def fresh(to: Path, *, functions: frozenset[str] = frozenset()) -> Path:
    """Copy it below `to`, with these rows of the table of functions alone, when any are said; state stays in the folder of its environment, for there is no bucket that Terraform could reach."""
    for part in (*_PARTS, *(path.name for path in ROOT.glob("requirements*.txt")), "pyproject.toml"):
        source, target = ROOT / part, to / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=_WRITTEN)
        else:
            shutil.copy2(source, target)
    if functions:
        path = to / "functions" / "table.json"
        table = json.loads(path.read_text())
        table["functions"] = {target: row for target, row in table["functions"].items() if target in functions}
        path.write_text(json.dumps(table))
    (to / ".venv").symlink_to(Path(sys.prefix).resolve())
    for environment in ("dev", "prod"):
        override = to / "infra" / "terraform" / "environments" / environment / "offline_override.tf"
        override.write_text('terraform {\n  backend "local" {}\n}\n')
    (to / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    origin = to.with_name(f"{to.name}-origin.git")
    git(to, "init", "-q", "-b", "main")
    git(to, "add", "-A")
    commit(to, "A checkout")
    git(to, "clone", "-q", "--bare", str(to), str(origin))
    git(to, "remote", "add", "origin", str(origin))
    git(to, "fetch", "-q")
    git(to, "branch", "-q", "--set-upstream-to=origin/main")
    return to


def git(folder: Path, *command: str) -> str:
    """Run git there."""
    done = subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, message: str) -> None:
    """Keep everything that differs, under a name that is of no person."""
    identity = ["-c", "user.name=Dry Run", "-c", "user.email=dry-run@example.org"]
    git(folder, *identity, "commit", "-q", "-a", "-m", message)
