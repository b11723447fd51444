"""How long what is not kept for ever is kept (docs/data.md, Retention). Books, orders, events and history are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lib.db import Transaction


@dataclass(frozen=True, slots=True)
class Rule:
    """Rows of a table that go, or lose what is personal, so many days after a moment of theirs.

    Attributes:
        key: the table's key column.
        moment: the column, of an index; a row without it stays.
        those: which rows besides, as the index has it.
        change: what is done to them.
    """

    table: str
    key: str
    moment: str
    days: int
    change: str
    those: str = ""

    @property
    def due(self) -> str:
        """What is past its time."""
        return f"{self.table} where {self.those}{self.moment} < atlas.now() - make_interval(days => {self.days})"

    @property
    def sql(self) -> str:
        """The change of up to `:page` of them. The page is an array, not a join: a join with one makes Postgres read the table."""
        page = f"select {self.key} from {self.due} order by {self.moment} limit :page"  # noqa: S608 -- words of this module
        return f"{self.change} where {self.key} = any(array({page}))"


RULES = (
    Rule("outbox", "id", "done_at", 7, "delete from outbox"),
    # Telegram forgets an update after 24 h, so none of these can be delivered again; a stored reply may hold a link
    Rule("updates", "update_id", "done_at", 3, "delete from updates"),
    Rule("sweep_runs", "id", "ended_at", 30, "delete from sweep_runs"),
    Rule("invariant_violations", "id", "found_at", 90, "delete from invariant_violations"),
    # where money went is told to the customer and to finance until then; the books name no destination
    Rule(
        "withdrawals",
        "id",
        "ended_at",
        90,
        "update withdrawals set destination = null, destination_erased_at = atlas.now()",
        those="destination is not null and ",
    ),
)


def due(tx: Transaction) -> list[Rule]:
    """The rules that have something to do: a look at an index each, all in one statement, since it is asked every minute."""
    looks = (f"select '{rule.table}' where exists (select from {rule.due})" for rule in RULES)  # noqa: S608 -- as above
    tables = tx.values(" union all ".join(looks))
    return [rule for rule in RULES if rule.table in tables]


def prune(tx: Transaction, rule: Rule, page: int) -> int:
    """Delete, or erase, a page of what is past its time; how many rows."""
    return tx.execute(rule.sql, page=page)
