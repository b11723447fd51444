"""What the database holds, as the page shows it: access, money, work, flags, and whether the invariants hold."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from lib import currencies, function_table
from lib.db import DatabaseError
from lib.db.connection import Connection, Timeouts
from lib.db.invariants import queries
from lib.domain import flags

if TYPE_CHECKING:
    from sandbox.postgres.database import LocalDatabase

Row = dict[str, Any]

SHOWN: Final = 50
"""Rows of a table, the newest first; of more there is `make psql`."""
_KEYS: Final = 10
_TIMEOUTS: Final = Timeouts(statement_ms=5_000)

_HEALTH = """
select
    (select count(*) from subscriptions where activation_status = 'pending') as paid_not_applied,
    (select extract(epoch from atlas.now() - min(pending_since)) from subscriptions
     where activation_status = 'pending') as paid_oldest_s,
    (select count(*) from payment_events where status = 'new') as events_unsettled,
    (select count(*) from outbox where done_at is null) as outbox_waiting,
    (select extract(epoch from atlas.now() - min(created_at)) from outbox where done_at is null) as outbox_oldest_s,
    (select count(*) from updates where done_at is null) as updates_waiting
"""
_TABLES: Final = {
    "subscriptions": """
        select s.id, a.first_name as who, a.telegram_id, s.tariff, s.source, s.status, s.activation_status, s.expires_at, s.version
        from subscriptions s join accounts a on a.id = s.account_id order by s.id desc limit :shown""",
    "node_clients": """
        select c.subscription_id || '/' || n.id as id, a.first_name as who, n.name as node, c.wanted, c.version, c.applied_version,
               c.applied_at, c.attempts, c.next_attempt_at, c.expires_at, c.last_error,
               c.wanted and c.applied_version is not distinct from c.version as settled
        from node_clients c join nodes n on n.id = c.node_id join subscriptions s on s.id = c.subscription_id
        join accounts a on a.id = s.account_id
        order by settled, c.changed_at desc limit :shown""",
    "node_states": """
        select n.id, n.name, n.state, n.lost_since, n.failures, n.open_until, n.open_until > atlas.now() as is_open,
               n.reconcile_failures, n.reconcile_open_until, n.reconcile_open_until > atlas.now() as reconcile_is_open, n.trouble,
               n.clock_off_ms, n.state_lost_at,
               (select count(*) from node_clients c where c.node_id = n.id and c.wanted) as wanted,
               (select count(*) from node_clients c where c.node_id = n.id
                and (not c.wanted or c.applied_version is distinct from c.version)) as waiting
        from nodes n order by n.id limit :shown""",
    "orders": """
        select o.id, a.first_name as who, o.kind, o.tariff, o.period_days, o.price as amount, o.currency, o.provider, o.status, o.created_at
        from orders o join accounts a on a.id = o.account_id order by o.id desc limit :shown""",
    "payment_events": """
        select id, provider, external_id, via, status, reason, attempts, received_at
        from payment_events order by id desc limit :shown""",
    "payments": """
        select p.id, a.first_name as who, p.kind, p.amount, p.currency, p.provider, p.charge_id, p.order_id, p.paid_asset, p.paid_amount,
               p.created_at
        from payments p left join accounts a on a.id = p.account_id order by p.id desc limit :shown""",
    "suspense": """
        select e.id, e.provider, e.external_id, h.amount, h.currency, e.status, e.reason, e.order_id, e.received_at,
               a.first_name as who
        from payment_events e
        left join lateral (
            select n.currency, sum(case when c.code = 'suspense' then n.amount else -n.amount end) as amount
            from ledger_transfers t join ledger_entries n on n.transfer_id = t.id
            join ledger_accounts d on d.id = n.debit_account_id join ledger_accounts c on c.id = n.credit_account_id
            where t.event_id = e.id and 'suspense' in (d.code, c.code)
            group by n.currency having sum(case when c.code = 'suspense' then n.amount else -n.amount end) <> 0
        ) h on true
        left join orders o on o.id = e.order_id left join accounts a on a.id = o.account_id
        where e.status in ('unmatched', 'duplicate') and e.resolved_at is null order by e.id desc limit :shown""",
    "refunds": """
        select r.id, a.first_name as who, r.kind, r.amount, r.currency, r.route, r.provider, r.external_id,
               coalesce(p.order_id, e.order_id) as order_id, r.payment_id, r.reverses_access, r.reason, r.created_at
        from refunds r left join payments p on p.id = r.payment_id left join payment_events e on e.id = r.charge_event_id
        left join orders o on o.id = coalesce(p.order_id, e.order_id) left join accounts a on a.id = o.account_id
        order by r.id desc limit :shown""",
    "refund_requests": """
        select r.id, a.first_name as who, e.provider, e.external_id, cast(coalesce(p.amount, e.amount) as bigint) as amount,
               coalesce(p.currency, e.currency) as currency, r.status, r.attempts, r.last_answer, r.next_attempt_at, r.requested_at
        from refund_requests r join payment_events e on e.id = r.event_id left join payments p on p.event_id = e.id
        left join orders o on o.id = e.order_id left join accounts a on a.id = o.account_id
        order by r.id desc limit :shown""",
    "comparisons": """
        select r.provider as id, r.day::text as day, r.compared_at, r.lines, r.matched, r.under_way, r.complete,
               (select count(*) from reconciliation_differences d where d.provider = r.provider and d.ended_at is null) as differences
        from (select distinct on (provider) * from reconciliations order by provider, day desc) r order by r.provider
        limit :shown""",
    "differences": """
        select id, provider, state, concat_ws(' ', nullif(kind, ''), nullif(external_id, ''), case when of_fee then '(fee)' end) as line,
               asset, trim_scale(said)::text as said, trim_scale(booked)::text as booked, trim_scale(off_by)::text as off_by, order_id,
               first_seen_at, last_seen_at
        from reconciliation_differences where ended_at is null order by id desc limit :shown""",
    "receipts": """
        select r.payment_id as id, a.first_name as who, r.amount, b.books_currency as currency, r.status, r.number, r.refund_id,
               r.attempts, r.next_attempt_at, r.created_at
        from receipts r cross join deployment b join payments p on p.id = r.payment_id
        left join accounts a on a.id = p.account_id order by r.payment_id desc limit :shown""",
    "wallets": """
        select w.account_id as id, a.first_name as who, w.currency,
               coalesce(sum(w.balance) filter (where w.code = 'user:topped_up'), 0) as topped_up,
               coalesce(sum(w.balance) filter (where w.code = 'user:earned'), 0) as earned
        from ledger_accounts w join accounts a on a.id = w.account_id
        where w.code in ('user:topped_up', 'user:earned')
        group by w.account_id, a.first_name, w.currency order by w.account_id desc limit :shown""",
    "entries": """
        select e.transfer_id || '/' || e.number as id, t.key, t.kind, d.code || ':' || d.currency as debit,
               c.code || ':' || c.currency as credit, e.amount, e.currency, t.booked_at as created_at
        from ledger_entries e join ledger_transfers t on t.id = e.transfer_id
        join ledger_accounts d on d.id = e.debit_account_id join ledger_accounts c on c.id = e.credit_account_id
        order by e.transfer_id desc, e.number desc limit :shown""",
    "messages": """
        select m.id, a.first_name as who, m.kind, m.delivery, m.status, m.attempts, m.last_error, m.created_at
        from messages m join accounts a on a.id = m.account_id order by m.id desc limit :shown""",
    "outbox": """
        select id, queue, target, attempt, created_at, not_before, enqueued_at
        from outbox where done_at is null order by id desc limit :shown""",
    "updates": """
        select update_id as id, attempts, last_error, received_at from updates where done_at is null
        order by update_id desc limit :shown""",
}
# The trial balance: sums of entries, never a cached balance. `amount` is what docs/data.md calls debit balance.
_ACCOUNTS = """
select a.id, a.code || ':' || a.currency || coalesce(' ' || a.account_id, '') as code, a.currency, coalesce(d.debits, 0) as debits, coalesce(c.credits, 0) as credits,
       coalesce(d.debits, 0) - coalesce(c.credits, 0) as amount, coalesce(d.n, 0) + coalesce(c.n, 0) as entries
from ledger_accounts a
left join (select debit_account_id as id, sum(amount) as debits, count(*) as n from ledger_entries group by 1) d
    on d.id = a.id
left join (select credit_account_id as id, sum(amount) as credits, count(*) as n from ledger_entries group by 1) c
    on c.id = a.id
order by a.account_id is not null, a.code limit 200
"""
_CURRENCIES = """
select currency as id, currency, sum(debits) as debits, sum(credits) as credits, sum(debits) - sum(credits) as amount from (
    select a.currency, e.amount as debits, 0 as credits
    from ledger_entries e join ledger_accounts a on a.id = e.debit_account_id
    union all
    select a.currency, 0, e.amount from ledger_entries e join ledger_accounts a on a.id = e.credit_account_id
) moved group by currency order by currency
"""
_MONEY: Final = ("amount", "debits", "credits", "topped_up", "earned")
_PRICED: Final = frozenset({"orders", "payments", "refunds", "refund_requests"})
"""Tables whose amounts are prices; all others are in the minor units of the books."""


class Books:
    """Reads, as the owner, past the functions' link. One session, kept; every method blocks."""

    def __init__(self, database: LocalDatabase) -> None:
        self._database = database
        self._session: Connection | None = None
        self._one_at_a_time = threading.Lock()

    def read(self) -> dict[str, Any]:
        """Everything but the invariants.

        Raises:
            lib.db.DatabaseError: it can't be had.
        """
        with self._one_at_a_time:
            found: dict[str, Any] = {
                name: self._shown(sql, priced=name in _PRICED, shown=SHOWN) for name, sql in _TABLES.items()
            }
            found["accounts"] = self._shown(_ACCOUNTS)
            found["currencies"] = self._shown(_CURRENCIES)
            found["flags"] = self._flags()
            found["health"] = self._shown(_HEALTH)[0]
            return found

    def invariants(self) -> list[Row]:
        """Every invariant with what it says and the keys of the first rows that break it.

        Raises:
            lib.db.DatabaseError: it can't be had.
        """
        with self._one_at_a_time:
            checked = []
            for name, sql in queries().items():
                columns, rows, _ = self._execute(sql, {})
                keys = [str(row[0]) for row in rows[:_KEYS]]
                checked.append(
                    {
                        "id": name,
                        "says": _words(sql),
                        "keys": keys,
                        "of": columns[0] if columns else "",
                        "holds": not rows,
                    }
                )
            return checked

    def close(self) -> None:
        """End the session."""
        with self._one_at_a_time:
            self._forget_session()

    def _flags(self) -> list[Row]:
        rows = {row["name"]: row for row in self._shown("select name, enabled, updated_at from flags")}
        return [
            {
                "id": name,
                "what": what,
                "on": rows.get(name, {}).get("enabled", True),
                "since": rows.get(name, {}).get("updated_at"),
            }
            for name, what in known_flags().items()
        ]

    def _shown(self, sql: str, *, priced: bool = False, **parameters: Any) -> list[Row]:
        return [_plain_row(row, priced=priced) for row in self._rows(sql, **parameters)]

    def _rows(self, sql: str, **parameters: Any) -> list[Row]:
        columns, rows, _ = self._execute(sql, parameters)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def _execute(self, sql: str, parameters: dict[str, Any]) -> tuple[list[str], list[list[Any]], int]:
        """Once more on a new session when the kept one turns out to be dead."""
        kept = self._session is not None
        try:
            return self._connection().execute(sql, parameters)
        except DatabaseError:
            self._forget_session()
            if not kept:
                raise
            return self._connection().execute(sql, parameters)

    def _connection(self) -> Connection:
        if self._session is None:
            self._session = Connection(self._database.owner_url, application="control", timeouts=_TIMEOUTS)
        return self._session

    def _forget_session(self) -> None:
        if self._session is not None:
            with suppress(DatabaseError):
                self._session.close()
            self._session = None


@cache
def known_flags() -> dict[str, str]:
    """Every switch there is, with what it opens."""
    domain = {
        value: f"the {value} path" for name, value in vars(flags).items() if name.isupper() and isinstance(value, str)
    }
    sweeps = {row.flag: f"runs of {row.name}" for row in function_table.load().functions.values() if row.flag}
    return domain | sweeps


def _words(sql: str) -> str:
    return " ".join(re.findall(r"^-- (.*)$", sql, re.MULTILINE))


def _plain_row(row: Row, *, priced: bool) -> Row:
    """As JSON has it; an amount of money in its currency's whole units, every digit of it."""
    digits = 0
    if row.get("currency"):
        currency = currencies.of(row["currency"])
        digits = currency.price_digits if priced else currency.digits
    return {
        name: f"{Decimal(value).scaleb(-digits):f}" if name in _MONEY and value is not None else _plain(value)
        for name, value in row.items()
    }


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return float(value)
        case datetime():
            return value.isoformat(timespec="seconds")
    return value
