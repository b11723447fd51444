"""What every test gets: a local environment with the test guards on, before anything of Atlas is imported."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

os.environ["ENVIRONMENT"] = "local"
os.environ.setdefault("ATLAS_TEST_GUARDS", "1")


def pytest_collection_finish(session: pytest.Session) -> None:
    """For `make acceptance`: write which tests prove which id."""
    path = os.environ.get("ATLAS_ACCEPTANCE_FILE")
    if path is None:
        return
    proves: dict[str, list[str]] = {}
    for item in session.items:
        for marker in item.iter_markers("proves"):
            proves.setdefault(marker.args[0], []).append(item.nodeid)
    Path(path).write_text(json.dumps(proves))
