"""A copy of this repository whose code runs in the local system: this one, or an earlier commit's beside it (`make bench`)."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lib import function_table
from lib.db.migrate import migrate
from sandbox.processes.child import bare_environment

ROOT = Path(__file__).resolve().parents[2]


class CheckoutError(RuntimeError):
    """Its own code refused what it was started for; the text is what it printed."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """Functions, their table, migrations and node service of one commit. The stand-ins around them are this process's own.

    Attributes:
        root: the folder with `main.py`.
        python: has the packages that this commit pins.
    """

    root: Path
    python: Path

    @property
    def framework(self) -> str:
        """The command that serves a function."""
        return str(self.python.with_name("functions-framework"))

    @property
    def table(self) -> function_table.Table:
        """Its functions and queues."""
        return function_table.load(self.root / function_table.PATH) if self != HERE else function_table.load()

    def migrate(self, url: str) -> list[str]:
        """Bring the database to this commit's newest schema; the migrations applied now, unnamed for another commit's.

        Raises:
            CheckoutError, lib.db.DatabaseError, lib.db.migrate.MigrationChanged
        """
        if self == HERE:
            return migrate(url, "local")
        module = (
            "lib.migrate" if (self.root / "lib" / "migrate.py").exists() else "lib.db.migrate"
        )  # where it was before
        settings = {"MIGRATE_DATABASE_URL": url, "DATABASE_URL": url, "ENVIRONMENT": "local"}
        run = subprocess.run(
            [str(self.python), "-m", module],
            cwd=self.root,
            env=bare_environment(settings),
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode:
            raise CheckoutError(run.stderr[-2000:])
        return []


HERE = Checkout(ROOT, Path(sys.executable))
