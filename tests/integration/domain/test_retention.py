"""Pruning reads what is past its time and no more."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from lib.domain import retention

if TYPE_CHECKING:
    from lib.db import Database, Transaction


@pytest.mark.parametrize("rule", retention.RULES, ids=lambda rule: rule.table)
async def test_what_is_to_be_pruned_is_found_by_an_index(db: Database, rule: retention.Rule) -> None:
    """An empty table is scanned whole unless that is forbidden; a page out of a large one must not be."""

    def plan(tx: Transaction) -> list[str]:
        tx.execute("set local enable_seqscan = off")
        return tx.values(f"explain (costs off) {rule.sql}", days=rule.days, page=500)

    inner = "\n".join(await db.run(plan))
    assert "Sort" not in inner, inner
    assert re.search(r"Index Cond: \((done|ended)_at < ", inner), inner
