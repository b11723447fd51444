"""When breadth is run: what a stand-in can do beyond what Atlas calls, what Terraform refuses, whether the benchmarks run.

What Atlas itself calls is proved in every run, through the real clients (`CONTRACT`). All else that a stand-in can do changes only
when the stand-in does, and so it is with Terraform's refusals and the benchmarks: their tests are skipped as long as `proved.json`
holds the digest of the very files they passed with. A run that includes them and passes writes the file; it is committed with the
change. No history is asked, so a fresh clone knows too.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parents[1]
RECORD = Path(__file__).with_name("proved.json")

# Modules with a test for each method of the product, and what a run of any size must not be without.
CONTRACT = frozenset(
    {
        "tests/sandbox/telegram/test_aiogram.py",
        "tests/sandbox/telegram/test_response_calls.py",
        "tests/sandbox/cryptopay/test_webhooks.py",
        "tests/sandbox/cloudtasks/test_google_client.py",
        "tests/sandbox/cloudtasks/test_iam.py",
        "tests/browser/test_chat_opens.py",
        "tests/sandbox/google/test_deploy_calls.py",
        "tests/sandbox/google/test_doctor_calls.py",
        "tests/sandbox/google/test_modules.py",
    }
)
_PINS = ("requirements.txt", "requirements-dev.txt", "requirements-test.txt")


@dataclass(frozen=True)
class Part:
    """Tests, and the files whose change makes them worth running."""

    tests: tuple[str, ...]
    files: tuple[str, ...]

    def digest(self) -> str:
        """SHA-256 over the names and contents of its files; tests belong to them."""
        found = hashlib.sha256()
        for path in sorted(_files((*self.files, *self.tests, *_PINS))):
            content = path.read_bytes()
            found.update(f"{path.relative_to(ROOT).as_posix()} {len(content)}\n".encode() + content)
        return found.hexdigest()


PARTS = {
    "telegram": Part(("tests/sandbox/telegram",), ("sandbox/telegram", "sandbox/stand_in")),
    "cryptopay": Part(("tests/sandbox/cryptopay",), ("sandbox/cryptopay", "sandbox/stand_in")),
    "cloudtasks": Part(("tests/sandbox/cloudtasks",), ("sandbox/cloud", "sandbox/stand_in")),
    "google": Part(("tests/sandbox/google",), ("sandbox/google", "sandbox/stand_in")),
    "postgres": Part(("tests/sandbox/postgres",), ("sandbox/postgres", "sandbox/processes")),
    "bridge": Part(("tests/sandbox/bridge",), ("sandbox",)),
    "runner": Part(
        (
            *("tests/e2e/test_demo.py", "tests/e2e/test_runner.py", "tests/e2e/test_runner_ends.py"),
            *("tests/e2e/test_runner_gateway.py", "tests/e2e/test_runner_ports.py", "tests/sandbox/processes"),
        ),
        ("sandbox", "Makefile"),
    ),
    "pages": Part(("tests/browser",), ("sandbox",)),
    "terraform": Part(
        (
            *("tests/terraform/test_lifecycle.py", "tests/terraform/test_refusals.py", "tests/terraform/test_sizes.py"),
            *("tests/terraform/conftest.py", "tests/terraform/planned.py"),
        ),
        ("infra/terraform", "functions/table.json"),
    ),
    "bench": Part(("tests/bench",), ("bench",)),
}


def _files(names: tuple[str, ...]) -> set[Path]:
    found = set()
    for name in names:
        path = ROOT / name
        inside = path.rglob("*") if path.is_dir() else (path,)
        found |= {one for one in inside if one.is_file() and "__pycache__" not in one.parts}
    return found


def part_of(module: str) -> str | None:
    """The part whose breadth a test module (its path in the repository) belongs to; None when it runs always."""
    if module in CONTRACT:
        return None
    return next(
        (
            name
            for name, part in PARTS.items()
            if any(module == one or module.startswith(f"{one}/") for one in part.tests)
        ),
        None,
    )


def unproved() -> list[str]:
    """Parts that changed since their tests last passed."""
    proved = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    return [name for name, part in PARTS.items() if proved.get(name) != part.digest()]


def record(names: Iterable[str]) -> None:
    """Write down that the breadth of these parts passed with the files as they are."""
    proved = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    proved |= {name: PARTS[name].digest() for name in names}
    RECORD.write_text(json.dumps({name: proved[name] for name in sorted(proved)}, indent=2) + "\n")
