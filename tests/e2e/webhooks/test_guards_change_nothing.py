"""40001 in the first attempt of every transaction, in every function: the same customer life leaves the same tables behind."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from sandbox.system.customer import Customer
from sandbox.system.system import System
from tests.e2e.webhooks.steps import has_key, order, tables

if TYPE_CHECKING:
    from pathlib import Path

_REFERENCES = """
select c.conrelid::regclass::text as child, a.attname as field, c.confrelid::regclass::text as parent, p.attname as of_field
from pg_catalog.pg_constraint c
cross join unnest(c.conkey, c.confkey) as pair (child_column, parent_column)
join pg_catalog.pg_attribute a on a.attrelid = c.conrelid and a.attnum = pair.child_column
join pg_catalog.pg_attribute p on p.attrelid = c.confrelid and p.attnum = pair.parent_column
where c.contype = 'f' and c.connamespace = 'atlas'::regnamespace
"""
_NAMES = {
    # what a row is called wherever another one points to it: its id comes from a sequence, which a refused attempt advances
    "accounts": "telegram_id",
    "orders": "invoice_id",
    "payments": "charge_id",
    "payment_events": "external_id",
    "subscriptions": "account_id",
    "ledger_accounts": "code",
    "ledger_transfers": "kind",
    "nodes": "name",
}
_VOLATILE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|\d{4}-\d\d-\d\dT[0-9:.+]+"
    r"|\d{1,2}[ .]\S+?[ .]\d{4}[^<]*? \d\d:\d\d"  # as people read it, in either language
    r"|vless://[^<\s\"]+|IV\w{10}|127\.0\.0\.1:\d+|cp-[0-9a-f]{12}|(?<=sweep-)[a-z]+-[0-9a-f]{8}|\b\d{18,19}\b"
    # ids out of sequences, where a text carries them
    r"|(?<=:)\d+$|(?<=key:)\d+:[0-9a-f]{8}|(?<=expired:)\d+|order_id=\d+|(?:Order|Заказ) \d+"
)
# What no two runs share, by the table and the column or the entry of its JSON (tests/integration/db/test_masks.py).
MASKED = {
    "started_at": "sweep_runs",
    "ended_at": "sweep_runs",
    "clock_off_ms": "nodes",
    "state_id": "nodes",
    "pin": "nodes",  # of a certificate made for the life
    "meaning": "payment_events",  # a digest over ids
    "uuid_start": "messages.params",
    "telegram_message_id": "messages",  # of a receipt and a key that wait for their chat, either may be the first
}


_BY_CHANCE = frozenset({"clock_off_ms", "telegram_message_id"})
"""Masked, for two lives may measure another value there; they may as well measure the same."""


async def _behind_the_mask(system: System) -> dict[str, set[str]]:
    """What a life left in each masked place."""
    found = {}
    for name, place in MASKED.items():
        table, _, json_column = place.partition(".")
        value = f"{json_column} ->> '{name}'" if json_column else name
        rows = await system.sql(f"select cast({value} as text) as value from {table}")  # noqa: S608 -- names of our own
        found[name] = {row["value"] for row in rows if row["value"] is not None}
    return found


def _plain(value: Any) -> Any:
    """Without what no two runs share: times, random ids, numbers out of sequences."""
    masked: Any = value
    match value:
        case datetime() | timedelta():
            masked = "time"
        case UUID():
            masked = "uuid"
        case bytes():
            masked = sorted(json.loads(value)) if value.startswith((b"{", b"[")) else value.hex()
        case dict():
            masked = {
                name: "id" if (name.endswith("_id") or name == "order") and isinstance(one, int) else _plain(one)
                for name, one in value.items()
                if name not in MASKED
            }
        case list():
            masked = [_plain(one) for one in value]
        case str():
            masked = _plain(json.loads(value)) if value.startswith(("{", "[")) else _VOLATILE.sub("~", value)
    return masked


async def _normalised(system: System) -> dict[str, Counter[str]]:
    found = [
        row | {name: row[name].removeprefix("atlas.") for name in ("child", "parent")}
        for row in await system.sql(_REFERENCES)
    ]
    references = {(row["child"], row["field"]): row["parent"] for row in found if row["of_field"] == "id"}
    for row in found:  # a key of several columns, one of which is the parent's own reference
        if (whose := references.get((row["parent"], row["of_field"]))) is not None:
            references.setdefault((row["child"], row["field"]), whose)
    rows = {name: await system.sql(f"select * from {name}") for name in await tables(system)}  # noqa: S608 -- names of our own tables

    def name_of(table: str, key: Any) -> Any:
        field = _NAMES.get(table)
        row = next((row for row in rows[table] if row.get("id") == key), None)
        if key is None or field is None or row is None:
            return None if key is None else "id"
        parent = references.get((table, field))
        return name_of(parent, row[field]) if parent else row[field]

    def shown(table: str, row: dict[str, Any]) -> str:
        fields = {}
        for field, value in row.items():
            parent = references.get((table, field))
            if parent in _NAMES:
                fields[field] = name_of(parent, value)
            elif field == "id":
                fields[field] = "id"
            elif field not in MASKED and (table, field) != ("updates", "body"):  # Telegram's, not ours
                fields[field] = _plain(value)
        return json.dumps(fields, default=str, ensure_ascii=False, sort_keys=True)

    return {table: Counter(shown(table, row) for row in rows[table]) for table in rows}


async def _purchases(system: System) -> None:
    """A trial, two purchases, a replay, a webhook that never comes, another language."""
    anna = Customer(system.telegram.user(4_000_001, "Anna", language_code="en"))
    boris = Customer(system.telegram.user(4_000_002, "Boris", language_code="ru"))
    offer = await boris.press(await boris.start(), "go:trial")
    await boris.press(offer, "trial")
    await boris.gets_key()
    await system.settled()
    first = await order(system, anna)
    await system.cryptopay.pay(first["invoice_id"], times_webhook=2)
    await has_key(anna)
    await system.settled()
    await system.cryptopay.send_webhook(first["invoice_id"])
    second = await order(system, anna, "plus", 90)
    await system.cryptopay.pay(second["invoice_id"], webhook=False)
    for sweep in ("payments", "activation", "outbox"):
        await system.sweep(sweep)
        await system.settled()
    language = await anna.press(await anna.start(), "go:language")
    await anna.press(language, "lang:ru")
    await system.settled()


async def _ends(system: System) -> None:
    """The trial ends, and what is kept for some time only is pruned."""
    await system.travel(timedelta(hours=73))
    for sweep in ("expiry", "payments", "activation", "outbox"):
        await system.sweep(sweep)
        await system.settled()
    told = await system.sql("select status from messages where kind = 'expired'")
    assert told == [{"status": "sent"}]


@pytest.mark.proves("N-26")
async def test_a_refused_first_attempt_everywhere_changes_no_result(tmp_path: Path) -> None:
    left: dict[bool, dict[str, Counter[str]]] = {}
    refusals, hidden = {}, {}
    for guards in (False, True):
        async with System(tmp_path / f"guards-{guards}", guards=guards, forked=True) as one:
            await _purchases(one)
            purchased = await _normalised(one)
            await _ends(one)
            ended = await _normalised(one)
            hidden[guards] = await _behind_the_mask(one)
            assert await one.invariants() == []
            refusals[guards] = one.database.server.log_path.read_text(errors="replace").count("injected")
        left[guards] = {f"{table} after the purchases": rows for table, rows in purchased.items()}
        left[guards] |= {f"{table} at the end": rows for table, rows in ended.items()}
    assert refusals[False] == 0
    assert refusals[True] > 50, "the failure was not injected"
    differing = {
        table: [*(rows - left[True][table]), "/", *(left[True][table] - rows)]
        for table, rows in left[False].items()
        if rows != left[True][table]
    }
    same = [
        name
        for name in MASKED.keys() - _BY_CHANCE
        if hidden[False][name] & hidden[True][name] or not hidden[True][name]
    ]
    assert same == [], "what two lives share is not to be masked"
    assert differing == {}, json.dumps(differing, indent=1, ensure_ascii=False)
    for table in (
        "payments",
        "ledger_entries",
        "subscription_history",
        "messages",
        "updates",
        "outbox",
        "node_clients",
    ):
        assert left[False][f"{table} after the purchases"], f"{table} was never written: nothing was compared"
