"""Health is public and only looks: its sessions can't change anything, whatever would ask them to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lib import bootstrap
from lib.db import Unavailable
from lib.domain import health_snapshot
from lib.settings import plain

if TYPE_CHECKING:
    from lib.db import Transaction


@pytest.mark.parametrize(("target", "may"), [("health", False), ("task_settle", True)])
async def test_what_a_function_may_do(
    functions_url: str, monkeypatch: pytest.MonkeyPatch, target: str, *, may: bool
) -> None:
    monkeypatch.setenv("DATABASE_URL", functions_url)
    monkeypatch.setenv("FUNCTION_TARGET", target)
    plain.database.cache_clear()
    bootstrap._for_others.cache_clear()
    database = bootstrap.database()

    def change(tx: Transaction) -> int:
        return tx.execute("insert into flags (name, enabled) values ('payments', false)")

    try:
        assert (await database.run(health_snapshot.take)).waiting.schema_version > 0
        if may:
            assert await database.run(change) == 1
        else:
            with pytest.raises(Unavailable, match="25006"):
                await database.run(change)
    finally:
        await database.close()
        plain.database.cache_clear()
        bootstrap._for_others.cache_clear()
