"""The schema of the commit whose functions run: this checkout's own, or brought by the other one's migrations."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from lib.db.migrate import migrate
from lib.payments import registry
from sandbox.cloud.checkout import HERE
from sandbox.processes.child import bare_environment

if TYPE_CHECKING:
    from sandbox.cloud.checkout import Checkout


class MigrationFailedError(RuntimeError):
    """The other commit's own command refused; the text is what it printed."""


def newest(checkout: Checkout, url: str) -> list[str]:
    """Bring the database to this commit's newest schema; the migrations applied now, unnamed for another commit's.

    Raises:
        MigrationFailedError, lib.db.DatabaseError, lib.db.migrate.MigrationChanged
    """
    if checkout == HERE:
        return migrate(url, "local", providers=registry.providers("local"))
    module = (
        "lib.migrate" if (checkout.root / "lib" / "migrate.py").exists() else "lib.db.migrate"
    )  # where it was before
    run = subprocess.run(
        [str(checkout.python), "-m", module],
        cwd=checkout.root,
        env=bare_environment({"MIGRATE_DATABASE_URL": url, "DATABASE_URL": url, "ENVIRONMENT": "local"}),
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise MigrationFailedError(run.stderr[-2000:])
    return []
