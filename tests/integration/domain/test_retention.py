"""Pruning reads what is past its time and no more."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from lib.domain import retention
from tests.integration.by_the_owner import travel
from tests.integration.sweeps.grants import meet

if TYPE_CHECKING:
    from lib.db import Database, Transaction


_ASKED = """
insert into withdrawals (account_id, amount, destination_kind, destination)
select id, 50000, 'card', 'card of ' || telegram_id from accounts where telegram_id = :person returning id
"""
_REJECTED = (
    "update withdrawals set status = 'rejected', ended_at = atlas.now(), ended_by = 1, reason = 'r' where id = :id"
)
_LEFT = "select destination from withdrawals where destination_erased_at is null order by id"


async def test_where_a_withdrawal_went_is_erased_90_days_after_its_end(db: Database) -> None:
    def asked(tx: Transaction, person: int) -> None:
        tx.execute(_ASKED, person=person)

    def rejected(tx: Transaction, person: int) -> None:
        tx.execute(_REJECTED, id=tx.value(_ASKED, person=person))

    def erased(tx: Transaction) -> list[str | None]:
        for rule in retention.due(tx):
            assert retention.prune(tx, rule, 500) == 1
        return tx.values(_LEFT)

    def met(tx: Transaction) -> None:
        for person in (1, 2, 3):
            meet(tx, person)

    await db.run(met)
    await db.run(rejected, 1)
    await db.run(asked, 3)
    await db.run(travel, timedelta(days=1))
    await db.run(rejected, 2)
    await db.run(travel, timedelta(days=89))
    assert await db.run(erased) == ["card of 3", "card of 2"]
    await db.run(travel, timedelta(days=1))
    assert await db.run(erased) == ["card of 3"]
    assert await db.run(retention.due) == []


async def test_one_look_finds_what_is_due_by_indexes_alone(db: Database) -> None:
    def look(tx: Transaction) -> list[str]:
        retention.due(tx)
        asked = tx.first_statement
        tx.execute("set local enable_seqscan = off")
        return tx.values(f"explain (costs off) {asked}")

    plan = "\n".join(await db.run(look))
    assert "Seq Scan" not in plan
    assert len(re.findall(r"Index Cond: \((done|ended|found)_at < ", plan)) == len(retention.RULES)


@pytest.mark.parametrize("rule", retention.RULES, ids=lambda rule: rule.table)
async def test_what_is_to_be_pruned_is_found_by_an_index(db: Database, rule: retention.Rule) -> None:
    """An empty table is scanned whole unless that is forbidden; a page out of a large one must not be."""

    def plan(tx: Transaction) -> list[str]:
        tx.execute("set local enable_seqscan = off")
        return tx.values(f"explain (costs off) {rule.sql}", page=500)

    inner = "\n".join(await db.run(plan))
    assert "Sort" not in inner, inner
    assert re.search(r"Index Cond: \((done|ended|found)_at < ", inner), inner
