from __future__ import annotations

from typing import TYPE_CHECKING

from lib.domain import accounts, health_snapshot, subscriptions
from lib.domain.accounts import Person

if TYPE_CHECKING:
    from lib.db import Database, Transaction


async def test_a_grant_on_no_node_is_overdue_after_its_minute(racing_db: Database) -> None:
    def grant(tx: Transaction) -> None:
        account = accounts.meet(tx, Person(1, "Anna", None, "ru"))
        subscriptions.grant(tx, account.id, tariff="basic", seconds=86_400, source="admin", actor_id=1)

    def minutes_ago(tx: Transaction) -> None:
        tx.execute("update subscriptions set pending_since = atlas.now() - interval '61 seconds'")

    await racing_db.run(grant)
    assert (await racing_db.run(health_snapshot.overdue, 60.0)).count == 0
    await racing_db.run(minutes_ago)
    late = await racing_db.run(health_snapshot.overdue, 60.0)
    assert late.count == 1
    assert 61 <= late.oldest_s < 90
