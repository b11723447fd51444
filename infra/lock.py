"""`make lock`: infra/requirements.lock, which is requirements.txt with the SHA-256 of every file of every pinned version.

The index that uv is set up with is asked, and is named nowhere in the file. All files of a version are in, so that one lock serves
every Python and machine; the resolver checks that the image's Python needs no package beside the pinned ones and that each of them
comes as a wheel.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from infra import bundle

PYTHON: Final = "3.13"  # the image's: `python_version` of Terraform
PLATFORM: Final = "x86_64-manylinux_2_28"  # older than the builder's glibc
_UV: Final = bundle.ROOT / ".venv-lock" / "bin" / "uv"
_TIMEOUT_S: Final = 300


class LockFailed(Exception):
    """No lock was made; the text says why, and the old one stands."""


def lock(root: Path = bundle.ROOT, uv: Path = _UV) -> bool:
    """Write the lock anew; whether it changed.

    Raises:
        LockFailed: the pins can't be had together, lack what one of them needs, or the index does not answer.
    """
    target = root / bundle.LOCK
    with tempfile.TemporaryDirectory(prefix="atlas-lock-") as scratch:
        fresh = Path(scratch) / target.name  # apart from the old one, whose hashes would be taken over unasked
        try:
            ended = subprocess.run(  # noqa: S603 -- the arguments are this file's
                [
                    *(str(uv), "pip", "compile", "--quiet", "--no-config", "--generate-hashes", "--no-annotate"),
                    *("--python-version", PYTHON, "--python-platform", PLATFORM),
                    *("--only-binary", ":all:", "--emit-build-options"),
                    *("--custom-compile-command", "make lock", "--output-file", str(fresh), bundle.PINS),
                ],
                cwd=root,
                check=False,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired as error:
            raise LockFailed(f"no answer within {_TIMEOUT_S} s") from error
        if ended.returncode:
            raise LockFailed(ended.stderr.strip())
        text = fresh.read_text()
        if found := bundle.differences((root / bundle.PINS).read_text(), text):
            raise LockFailed(f"{bundle.PINS} is not closed: {'; '.join(found)}")
        if target.is_file() and target.read_text() == text:
            return False
        whole = target.with_name(f"{target.name}.new")
        whole.write_text(text)
        whole.replace(target)
        return True


def main() -> int:
    """0 when the lock is of requirements.txt, whether or not it was before; 1 and a sentence when it can't be made."""
    try:
        changed = lock()
    except LockFailed as error:
        sys.stderr.write(f"lock: {error}\n")
        return 1
    sys.stdout.write(f"{bundle.LOCK} {'is written anew: commit it' if changed else 'is as it was'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
