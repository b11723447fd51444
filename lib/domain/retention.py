"""How long machinery rows are kept (docs/data.md, Retention). Books, orders, events and history are kept for ever."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lib.db import Transaction


@dataclass(frozen=True, slots=True)
class Rule:
    """Rows of a table that go when they are so many days old; `sql` deletes up to `:page` of them."""

    table: str
    days: int
    sql: str


# The page is an array, not a join: a join with a page makes Postgres read the whole table.
RULES = (
    Rule(
        "outbox",
        7,
        "delete from outbox where id = any(array(select id from outbox"
        " where done_at < atlas.now() - make_interval(days => :days) order by done_at limit :page))",
    ),
    # Telegram forgets an update after 24 h, so none of these can be delivered again; a stored reply may hold a link
    Rule(
        "updates",
        3,
        "delete from updates where update_id = any(array(select update_id from updates"
        " where done_at < atlas.now() - make_interval(days => :days) order by done_at limit :page))",
    ),
    Rule(
        "sweep_runs",
        30,
        "delete from sweep_runs where id = any(array(select id from sweep_runs"
        " where ended_at < atlas.now() - make_interval(days => :days) order by ended_at limit :page))",
    ),
)


def prune(tx: Transaction, rule: Rule, page: int) -> int:
    """Delete a page of what is past its time; how many rows went."""
    return tx.execute(rule.sql, days=rule.days, page=page)
