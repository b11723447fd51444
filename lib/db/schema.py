"""Which schema this code needs, and what a database has: numbers of migrations that run before the code that needs them.

A release's code may meet a database that its migrations have not reached yet, and after a rollback one that is newer. Newer is
fine: pre files only add, and post files wait until the code before has no traffic (lib/db/migrate.py).
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "migrations"
FILE = re.compile(r"^(\d{4})_(pre|post)_[a-z0-9_]+\.sql$")
HELD = "select coalesce(max(number), 0) from atlas.schema_migrations where split_part(name, '_', 2) = 'pre'"
"""The newest pre file that a database has."""
MISSING = "42P01"
"""SQLSTATE of `HELD` where nothing was ever migrated."""


@cache
def needed() -> int:
    """The number of this code's newest pre file: its files are the one place that says it."""
    found = (FILE.match(path.name) for path in FOLDER.iterdir())
    return max(int(match[1]) for match in found if match is not None and match[2] == "pre")
