"""What every test gets: a local environment with the test guards on, before anything of Atlas is imported."""

from __future__ import annotations

import os

os.environ["ENVIRONMENT"] = "local"
os.environ.setdefault("ATLAS_TEST_GUARDS", "1")
