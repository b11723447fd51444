"""How a client's script and the test talk: a JSON object a line, told on standard output, heard on standard input."""

from __future__ import annotations

import json
import sys
from typing import Any

URL, TOKEN = sys.argv[1:3] if len(sys.argv) > 2 else ("", "")


def tell(**report: Any) -> None:
    """Say what happened so far."""
    sys.stdout.write(json.dumps(report, default=str) + "\n")
    sys.stdout.flush()


def hear() -> dict[str, Any]:
    """Wait for the test's turn: what it paid and switched meanwhile."""
    heard: dict[str, Any] = json.loads(sys.stdin.readline())
    return heard
