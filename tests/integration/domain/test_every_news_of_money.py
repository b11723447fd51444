"""Every kind of news of money: told twenty times at once it has one effect, and a fault at any of its statements leaves nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from lib.db.invariants import violations
from lib.domain import inbox
from tests.integration.domain.test_refunds import PRICES, bought, ordered, paid, topped_up, went_back
from tests.integration.domain.test_what_came import books
from tests.integration.statement_faults import all_or_nothing

if TYPE_CHECKING:
    from lib.db import Database
    from lib.domain.settlement import Event

# What comes, what becomes of it, and what of it is in the books besides what was there.
NEWS: dict[str, tuple[str, dict[str, int]]] = {
    "right": ("settled", {"clearing:card RUB": 14_900, "revenue RUB": -14_900}),
    "more": ("settled", {"clearing:card RUB": 15_400, "revenue RUB": -14_900, "user:topped_up RUB": -500}),
    "less": ("unmatched", {"clearing:card RUB": 14_800, "suspense RUB": -14_800}),
    "another currency": ("unmatched", {"clearing:card USD": 14_900, "suspense USD": -14_900}),
    "unknown": ("unmatched", {"clearing:card RUB": 14_900, "suspense RUB": -14_900}),
    "a further charge": (
        "duplicate",
        {"clearing:card RUB": 29_800, "revenue RUB": -14_900, "user:topped_up RUB": -14_900},
    ),
    "a refund": ("settled", {"revenue RUB": -14_900, "refunds RUB": 14_900}),
    "a chargeback": ("settled", {"revenue RUB": -14_900, "chargebacks RUB": 14_900}),
    "a part": ("settled", {"clearing:card RUB": 9_900, "revenue RUB": -14_900, "refunds RUB": 5_000}),
    "a second debit": (
        "settled",
        {"clearing:card RUB": -14_900, "revenue RUB": -14_900, "refunds RUB": 14_900, "write_offs RUB": 14_900},
    ),
    "a top-up's refund": ("settled", {}),
}


async def told(db: Database, what: str) -> Event:
    """The news, of a customer to whom happened what comes before it."""
    if what in {"right", "more", "less", "another currency", "unknown"}:
        order = await db.run(ordered)
        changed: dict[str, dict[str, Any]] = {
            "more": {"amount": order.price + 500},
            "less": {"amount": order.price - 100},
            "another currency": {"currency": "USD"},
        }
        return paid(replace(order, purchase_id=uuid4()) if what == "unknown" else order, **changed.get(what, {}))
    if what == "a top-up's refund":
        return went_back((await topped_up(db))[1], "re-1")
    order, charge = await bought(db)
    if what == "a further charge":
        return paid(order, "ch-again")
    if what == "a second debit":
        await db.run(inbox.receive, went_back(charge), PRICES)
        return went_back(charge, "re-2")
    if what == "a part":
        return went_back(charge, "re-1", amount=5_000)
    return went_back(charge, "re-1", "chargeback" if what == "a chargeback" else "refund")


@pytest.mark.proves("N-2")
@pytest.mark.parametrize("what", NEWS)
async def test_told_twenty_times_at_once_it_has_one_effect(racing_db: Database, database_url: str, what: str) -> None:
    news = await told(racing_db, what)
    received = await asyncio.gather(*(racing_db.run(inbox.receive, news, PRICES) for _ in range(20)))
    outcome, held = NEWS[what]
    assert sorted(one.outcome for one in received) == sorted([outcome, *["repeated"] * 19])
    assert await racing_db.run(books) == held
    assert violations(database_url) == []


@pytest.mark.proves("S4-2.1.what-came")
@pytest.mark.parametrize("what", NEWS)
async def test_a_fault_at_any_of_its_statements_leaves_nothing(db: Database, functions_url: str, what: str) -> None:
    news = await told(db, what)
    received = await all_or_nothing(functions_url, inbox.receive, news, PRICES, refusals=False)
    outcome, held = NEWS[what]
    assert received.outcome == outcome
    assert await db.run(books) == held
