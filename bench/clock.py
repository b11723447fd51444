"""The database's clock as deployed. The one that a local environment may move costs 28 microseconds a call, which no customer pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.system.system import System


async def as_deployed(system: System) -> None:
    """Put it in place, for commits that have one."""
    file = system.checkout.root / "lib" / "db" / "migrations" / "clock.sql"
    if file.exists():
        await system.sql(file.read_text("utf-8"))
