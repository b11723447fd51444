"""A day of a large shop is copied and checked in the memory of a page and one packed file (N-62)."""

from __future__ import annotations

import tracemalloc
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from lib.db.connection import Connection, Timeouts
from lib.off_site.verify import verify
from tests.integration.off_site import shop

if TYPE_CHECKING:
    from lib.db import Database
    from tests.integration.off_site.buckets import Bucket

_ORDERS = 30_000
_MOST_BYTES = 12 * 1024 * 1024
"""All rows of the day at once would be several times that."""
_MANY = """
insert into orders (account_id, kind, list_price, price, value, currency, provider, status, expires_at)
select (select min(id) from accounts), 'top_up', 10000, 10000, 10000, 'RUB', 'cryptobot', 'expired', atlas.now()
from generate_series(1, :count)
"""


@pytest.mark.full
@pytest.mark.proves("N-62")
@pytest.mark.breaks_invariants
async def test_memory_does_not_grow_with_the_day(racing_db: Database, database_url: str, bucket: Bucket) -> None:
    await shop.open_days(racing_db)
    with closing(Connection(database_url, application="fills", timeouts=Timeouts(statement_ms=120_000))) as owner:
        owner.simple("set session_replication_role = replica")
        owner.execute(_MANY, {"count": _ORDERS})
    await shop.close_all(racing_db)
    tracemalloc.start()
    try:
        await shop.copy_all(racing_db, bucket.store)
        found = await verify(bucket.store)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.lines["orders"] > _ORDERS
    written = sum(map(len, (await bucket.objects()).values()))
    assert written < 3 * 1024 * 1024
    assert most < _MOST_BYTES, (most, written)
