"""Which tests prove which id, as pytest itself collects them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def proofs(root: Path | None = None) -> dict[str, list[str]]:
    """Acceptance id -> node ids of its tests.

    Raises:
        RuntimeError: the tests can't be collected.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "proves.json"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"],
            cwd=root or Path(__file__).resolve().parents[2],
            env={**os.environ, "ATLAS_ACCEPTANCE_FILE": str(path)},
            capture_output=True,
            text=True,
            check=False,
        )
        if not path.exists():
            raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
        found: dict[str, list[str]] = json.loads(path.read_text())
        return found
