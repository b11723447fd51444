"""What Postgres itself says of the schema: times, references, and the indexes that references need."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from lib.db.connection import Connection, Timeouts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.postgres.server import Postgres

# Columns that tell of time and are no moment.
NO_MOMENT = {
    "closed_days.day": "a day of the books",
    "closed_months.last_day": "a day of the books",
    "closed_months.month": "a month of the books",
    "ledger_exports.day": "a day of the books",
    "ledger_snapshots.day": "a day of the books",
    "reconciliations.day": "a day of the books",
    "reconciliation_differences.day": "a day of the books",
    "deployment.clock_offset": "a difference, of a local environment",
    "ledger_entries.books_day": "its transfer's",
    "ledger_transfers.books_day": "a day of the books, in their zone",
    "invariant_marks.night": "a day of UTC, the night's walk",
    "invariant_violations.day": "a day of UTC, once of which it alarms",
    "telegram_budget.broadcast_slots": "moments, many",
    "telegram_budget.slots": "moments, many",
    "trial_days.day": "a day of UTC, the lock of its cap",
}
_TIME_BY_NAME = re.compile(r"(_at|_until|_since|_from|_after|_before|_on|^day|_day)$")

# Columns that look like a reference and are none, each with what they name instead.
NO_REFERENCE = {
    "accounts.latest_update_id": "an update, pruned before its account",
    "audit_head.last_id": "the head outlives rows that were removed: that is what it shows",
    "gifts.link_key_id": "a setting",
    "listed_debits.charge_id": "the provider's",
    "ledger_transfers.actor_id": "Telegram's; operators need no account",
    "nodes.state_id": "the node's own",
    "orders.purchase_id": "a key of its own, shown to the provider",
    "orders.invoice_id": "the provider's",
    "orders.checkout_query_id": "Telegram's",
    "orders.renewal_charge_id": "the provider's",
    "payment_events.external_id": "the provider's",
    "payments.charge_id": "the provider's",
    "payment_events.charge_id": "the provider's",
    "reconciliation_differences.external_id": "the provider's",
    "refunds.external_id": "the provider's",
    "subscription_history.actor_id": "Telegram's; operators need no account",
    "subscriptions.feed_key_id": "a setting",
    "updates.update_id": "Telegram's",
}
_REFERENCE_BY_NAME = re.compile(r"(^|_)(id|currency)$")
# ids of Telegram's; what ties the log lines of many rows together
_NEVER_BY_NAME = re.compile(r"(^|_)telegram_(message_)?id$|^id$|^correlation_id$")

# References that need no index: nothing is joined by them, and nothing they point at is deleted or renumbered.
NO_INDEX = {
    "currencies": "never deleted; the functions may not",
    "closed_days": "never deleted; the functions may not",
    "ledger_snapshots.ledger_account_id": "accounts of the ledger are never deleted; read by day",
    "accounts.referrer_id": "accounts are never deleted; the functions may not",
    "gifts.claimed_by": "accounts are never deleted; a gift is found by its link or its buyer",
    "ledger_accounts.account_id": "accounts are never deleted; found by code",
    "deployment": "one row",
    "ledger_codes": "never deleted; the functions may not",
    "reconciliation_differences.provider": "providers are never deleted; those that are not mended have an index",
    "promo_uses.promo_code_id": "codes are never deleted; those that count have an index",
}


@pytest.fixture(scope="module")
def session(postgres: Postgres) -> Iterator[Connection]:
    postgres.create_database("catalogue", template="atlas_template")
    connection = Connection(postgres.url("catalogue"), application="catalogue", timeouts=Timeouts())
    yield connection
    connection.close()
    postgres.drop_database("catalogue")


_COLUMNS = """
select c.relname || '.' || a.attname, c.relname, a.attname, format_type(a.atttypid, null)
from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = cast('atlas' as regnamespace) and c.relkind in ('r', 'p')
order by 1
"""

# Each foreign key: its table and columns, where it points, and whether an index begins with its first column. One with a condition
# serves when the condition is no more than that this column is there.
_REFERENCES = """
with reference as (
    select k.conrelid, k.conkey, k.confrelid,
           array(select a.attname from unnest(k.conkey) with ordinality as held (number, place)
                 join pg_attribute a on a.attrelid = k.conrelid and a.attnum = held.number order by place) as columns
    from pg_constraint k join pg_class c on c.oid = k.conrelid
    where k.contype = 'f' and c.relnamespace = cast('atlas' as regnamespace)
), indexed as (
    select i.indrelid, pg_get_expr(i.indpred, i.indrelid) as condition,
           cast(string_to_array(cast(i.indkey as text), ' ') as smallint[]) as columns
    from pg_index i where i.indisvalid
)
select (select relname from pg_class where oid = conrelid), columns, (select relname from pg_class where oid = confrelid), exists (
    select from indexed i
    where i.indrelid = r.conrelid and i.columns[1] = r.conkey[1]
      and (i.condition is null or i.condition = '(' || r.columns[1] || ' IS NOT NULL)'))
from reference r order by 1, 2
"""


@pytest.mark.proves("S3-8")
def test_every_time_is_a_moment(session: Connection) -> None:
    columns = session.execute(_COLUMNS, {})[1]
    about_time = {
        name: kind
        for name, _, column, kind in columns
        if _TIME_BY_NAME.search(column) or re.search("time|date|interval", kind)
    }
    assert len(about_time) > 50
    assert {name for name, kind in about_time.items() if kind != "timestamp with time zone"} == NO_MOMENT.keys()


@pytest.mark.proves("S3-8")
def test_every_reference_is_a_foreign_key(session: Connection) -> None:
    held = {f"{table}.{column}" for table, columns, *_ in session.execute(_REFERENCES, {})[1] for column in columns}
    loose = {
        name
        for name, _, column, _ in session.execute(_COLUMNS, {})[1]
        if _REFERENCE_BY_NAME.search(column) and not _NEVER_BY_NAME.search(column) and name not in held
    }
    assert loose == NO_REFERENCE.keys()


@pytest.mark.proves("S3-8")
def test_every_foreign_key_can_be_followed_back_by_an_index(session: Connection) -> None:
    """Without one, a row that is deleted or joined costs a read of the whole table that points at it."""
    references = session.execute(_REFERENCES, {})[1]
    assert len(references) > 15
    without = {
        target if target in NO_INDEX else f"{table}.{','.join(columns)}"
        for table, columns, target, is_indexed in references
        if not is_indexed
    }
    assert without == NO_INDEX.keys()
