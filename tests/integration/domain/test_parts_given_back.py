"""What a provider gives back, or takes, in parts: each leaves its account as it was told, and all of them are the charge (N-33)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from lib.db.invariants import violations
from lib.domain import (
    balance,
    customer_money,
    inbox,
    receipts,
    reconciliation,
    refunds_by_hand,
    statements,
    subscriptions,
    suspense_by_hand,
)
from lib.domain.ledger import Wallets
from lib.domain.refund_requests import NotRefunded, Why
from lib.domain.refunds_by_hand import Route, Wanted
from lib.domain.statements import Said
from tests.integration.by_the_owner import travel
from tests.integration.domain.test_balance import purchase
from tests.integration.domain.test_refunds import (
    BY,
    IN_USDT,
    PRICES,
    bought,
    entries,
    event_of,
    ordered,
    paid,
    payment_of,
    topped_up,
    went_back,
)

if TYPE_CHECKING:
    from datetime import date, datetime

    from lib.db import Database, Transaction
    from lib.domain.settlement import Event, Received

pytestmark = [pytest.mark.proves("N-33"), pytest.mark.proves("N-5")]

_MOVED = """
select coalesce(sum(case d.code when 'clearing:' || cast(:provider as text) then e.amount else -e.amount end), 0)
from ledger_entries e join ledger_accounts d on d.id = e.debit_account_id join ledger_accounts c on c.id = e.credit_account_id
where 'clearing:' || cast(:provider as text) in (d.code, c.code) and e.currency = :currency
"""


async def told(db: Database, charge: Event, name: str, amount: int, kind: str = "refund", **changes: Any) -> Received:
    return await db.run(inbox.receive, went_back(charge, name, kind, amount=amount, **changes), PRICES)


async def held(db: Database, provider: str = "card", currency: str = "RUB") -> int:
    """What the books say that the provider holds."""
    return int(await db.run(lambda tx: tx.value(_MOVED, provider=provider, currency=currency)))


async def receipt(db: Database) -> list[Any]:
    return await db.run(lambda tx: tx.values("select status from receipts"))


@pytest.mark.parametrize(
    ("kind", "account"), [("refund", "refunds"), ("chargeback", "chargebacks")], ids=["refund", "chargeback"]
)
async def test_a_sale_goes_back_in_parts(db: Database, database_url: str, kind: str, account: str) -> None:
    order, charge = await bought(db)
    assert (await told(db, charge, "re-1", 5_000, kind, fee_asset="RUB", fee_amount="1.5")).outcome == "settled"
    assert await db.run(entries) == [f"{account}>clearing:card 5000 RUB", "provider_fees>clearing:card 150 RUB"]
    assert await receipt(db) == ["due"]
    assert (await told(db, charge, "re-1", 5_000, kind)).outcome != "settled", "once"
    assert (await told(db, charge, "re-2", order.price - 5_000, kind)).outcome == "settled"
    assert await db.run(entries) == [f"{account}>clearing:card {order.price - 5_000} RUB"]
    assert await receipt(db) == ["annulled"]
    assert (await told(db, charge, "re-3", 700, kind)).outcome == "settled"
    assert await db.run(entries) == ["write_offs>clearing:card 700 RUB"]
    assert await held(db) == -850
    access = await db.run(subscriptions.current, order.account_id)
    assert access is not None
    assert access.is_current
    assert violations(database_url) == []


async def test_what_is_told_beyond_the_charge_is_lost(db: Database, database_url: str) -> None:
    order, charge = await bought(db)
    await told(db, charge, "re-1", 5_000)
    assert (await told(db, charge, "re-2", order.price)).outcome == "settled"
    assert await db.run(entries, "refund") == [
        "refunds>clearing:card 5000 RUB",
        f"refunds>clearing:card {order.price - 5_000} RUB",
    ]
    assert await db.run(entries, "second_debit") == ["write_offs>clearing:card 5000 RUB"]
    assert await held(db) == -5_000
    assert violations(database_url) == []


async def test_a_part_in_another_currency_waits_for_an_operator(db: Database, database_url: str) -> None:
    _, charge = await bought(db)
    received = await told(db, charge, "re-1", 5_000, currency="USDT")
    assert (received.outcome, received.reason) == ("unmatched", "not in the currency of its charge")
    assert violations(database_url) == []


async def test_parts_of_what_came_in_another_asset_are_all_of_it(db: Database, database_url: str) -> None:
    order, charge = await bought(db, "cryptobot", **IN_USDT)
    for number, amount in enumerate((4_999, 1, order.price - 5_000)):
        assert (await told(db, charge, f"re-{number}", amount)).outcome == "settled"
    assert await held(db, "cryptobot", "USDT") == -90_000, "what came has left; the fee was kept"
    back = await db.run(entries, "refund")
    assert sum(int(line.split()[1]) for line in back if line.startswith("refunds>")) == order.price
    assert (await told(db, charge, "re-9", order.price)).outcome == "settled"
    assert await db.run(entries) == ["write_offs>clearing:cryptobot 3125000 USDT"]
    assert violations(database_url) == []


@pytest.mark.parametrize("first", [1, 4_999, 14_900, 30_001])
async def test_a_part_of_an_overpaid_sale_is_of_the_rest_too(db: Database, database_url: str, first: int) -> None:
    order = await db.run(ordered)
    charge = paid(order, amount=order.price + 20_000)
    await db.run(inbox.receive, charge, PRICES)
    for name, amount in (("re-1", first), ("re-2", order.price + 20_000 - first)):
        before = await held(db)
        assert (await told(db, charge, name, amount)).outcome == "settled"
        assert await held(db) == before - amount
    back = await db.run(entries, "refund")
    assert sum(int(line.split()[1]) for line in back if line.startswith("refunds>")) == order.price
    assert await db.run(balance.of, order.account_id) == Wallets(0, 0)
    assert violations(database_url) == []


async def test_a_part_of_a_top_up_is_had_back_as_far_as_it_is_there(db: Database, database_url: str) -> None:
    order, charge = await topped_up(db)
    await db.run(balance.buy, purchase(order.account_id), PRICES, "c-3")  # 101 of 250 RUB are left
    assert (await told(db, charge, "re-1", 10_000)).outcome == "settled"
    assert await db.run(entries) == ["user:topped_up>clearing:card 10000 RUB"]
    assert (await told(db, charge, "re-2", 15_000, "chargeback")).outcome == "settled"
    assert await db.run(entries) == ["user:topped_up>clearing:card 100 RUB", "chargebacks>clearing:card 14900 RUB"]
    assert await held(db) == 0
    assert violations(database_url) == []


async def test_what_fits_nothing_leaves_suspense_in_parts_with_what_each_cost(db: Database, database_url: str) -> None:
    order = await db.run(ordered)
    stray = paid(order, amount=order.price - 1)
    assert (await db.run(inbox.receive, stray, PRICES)).outcome == "unmatched"
    event_id = await db.run(event_of, stray)
    assert (await told(db, stray, "re-1", 4_000, fee_asset="RUB", fee_amount="2")).outcome == "settled"
    assert await db.run(entries, "suspense_resolved") == ["suspense>clearing:card 4000 RUB"]
    assert await db.run(entries) == ["provider_fees>clearing:card 200 RUB"]
    # what is said of it now is no more what lies there
    again = replace(stray, body=b"[]")
    assert (await db.run(inbox.receive, again, PRICES)).outcome == "unmatched"
    assert await held(db) == order.price - 1 - 4_000 - 200
    assert (await told(db, stray, "re-2", order.price - 4_001, fee_asset="RUB", fee_amount="3")).outcome == "settled"
    assert await held(db) == -500
    assert await db.run(lambda tx: tx.value("select resolution from payment_events where id = :id", id=event_id)) == (
        "refunded"
    )
    assert violations(database_url) == []


async def test_what_is_left_of_it_in_suspense_is_an_operators_to_end(db: Database, database_url: str) -> None:
    order = await db.run(ordered)
    stray = paid(order, amount=order.price - 1)
    await db.run(inbox.receive, stray, PRICES)
    await told(db, stray, "re-1", 4_000)
    event_id = await db.run(event_of, stray)
    await db.run(suspense_by_hand.credit, event_id, order.account_id, BY, PRICES.currency)
    assert (await db.run(balance.of, order.account_id)).topped_up == order.price - 4_001
    assert (await told(db, stray, "re-2", order.price - 4_001)).outcome == "settled"
    assert await db.run(entries) == [f"user:topped_up>clearing:card {order.price - 4_001} RUB"]
    assert await held(db) == 0
    assert violations(database_url) == []


async def test_what_an_operator_booked_may_be_told_in_parts(db: Database, database_url: str) -> None:
    order, charge = await bought(db)
    event_id = await db.run(event_of, charge)
    await db.run(refunds_by_hand.taken_by_provider, event_id, BY, PRICES)
    for name, amount in (("cb-1", 5_000), ("cb-2", order.price - 5_000)):
        received = await told(db, charge, name, amount, "chargeback", fee_asset="RUB", fee_amount="7")
        assert received.outcome == "settled"
    assert await held(db) == -1_400, "each of them cost"
    assert (await told(db, charge, "cb-3", 300, "chargeback")).outcome == "settled"
    assert await db.run(entries) == ["write_offs>clearing:card 300 RUB"]
    assert violations(database_url) == []


async def test_an_operator_books_what_is_left_after_a_part(db: Database, database_url: str) -> None:
    order, charge = await bought(db)
    event_id = await db.run(event_of, charge)
    await told(db, charge, "re-1", 5_000)
    for route in (Route.BALANCE, Route.PROVIDER):
        with pytest.raises(NotRefunded) as refused:
            await db.run(_refund, Wanted(route, await db.run(payment_of, order)))
        assert refused.value.why is Why.PART_WENT_BACK
    made = await db.run(refunds_by_hand.taken_by_provider, event_id, BY, PRICES)
    assert made.amount == order.price - 5_000
    assert (await told(db, charge, "re-2", order.price - 5_000)).outcome == "settled"
    assert await held(db) == 0
    assert violations(database_url) == []


def _refund(tx: Transaction, wanted: Wanted) -> object:
    return refunds_by_hand.refund(tx, wanted, BY, PRICES)


async def test_a_second_debit_costs_what_its_provider_says(db: Database, database_url: str) -> None:
    order, charge = await bought(db)
    await told(db, charge, "re-1", order.price)
    assert (await told(db, charge, "re-2", order.price, fee_asset="RUB", fee_amount="9")).outcome == "settled"
    assert await db.run(entries) == [
        f"write_offs>clearing:card {order.price} RUB",
        "provider_fees>clearing:card 900 RUB",
    ]
    assert violations(database_url) == []


@pytest.mark.proves("N-30")
async def test_each_line_of_a_statement_with_its_fee_is_in_the_books(db: Database, database_url: str) -> None:
    """Parts, a second debit, money that fitted nothing: what the statement says of a charge, the books say, fees included."""
    now = await db.run(lambda tx: tx.value("select atlas.now()"))
    order, charge = await bought(db)
    stray = paid(await db.run(ordered, "card", 90, 2), "ch-stray", amount=777)
    await db.run(inbox.receive, stray, PRICES)
    lines = [
        line("refund", "re-1", charge.external_id, 5_000, 11, now),
        line("refund", "re-2", charge.external_id, order.price - 5_000, 0, now),
        line("fee", "f-2", "re-2", 12, 0, now),
        line("chargeback", "re-3", charge.external_id, 300, 0, now),
        line("fee", "f-3", "re-3", 13, 0, now),
        line("refund", "re-4", "ch-stray", 777, 0, now),
        line("fee", "f-4", "re-4", 14, 0, now),
    ]
    for attempt in ("settled", "known"):
        taken = [(await db.run(statements.take, "card", one, PRICES, "c-9")).outcome for one in lines]
        expected = ["booked" if one.kind == "fee" and attempt == "settled" else attempt for one in lines]
        assert taken == expected
    subjects = [(is_charge, one) for is_charge in (True, False) for one in (charge.external_id, "ch-stray")]
    later = await db.run(lambda tx: tx.value("select atlas.now() + interval '1 day'"))
    booked = await db.run(reconciliation.booked, "card", subjects, later)
    said = {
        subject: (
            {asset: str(one) for asset, one in found.side.amounts.items()},
            {a: str(f) for a, f in found.side.fees.items()},
        )
        for subject, found in booked.items()
    }
    assert said == {
        (True, charge.external_id): ({"RUB": "149.00"}, {}),
        (True, "ch-stray"): ({"RUB": "7.77"}, {}),
        (False, charge.external_id): ({"RUB": "-152.00"}, {"RUB": "0.36"}),
        (False, "ch-stray"): ({"RUB": "-7.77"}, {"RUB": "0.14"}),
    }
    assert violations(database_url) == []


def line(kind: str, name: str, of: str, amount: int, fee: int, at: datetime) -> Said:  # noqa: PLR0917 -- a row
    return Said(1, kind, name, of, amount, fee, "RUB", at)


async def test_of_two_kinds_of_one_refund_one_is_booked(db: Database, database_url: str) -> None:
    _, charge = await bought(db)
    await told(db, charge, "re-1", 5_000)
    assert (await told(db, charge, "re-1", 5_000, "chargeback")).outcome == "settled"
    assert await held(db) == 9_900
    assert violations(database_url) == []


async def test_the_receipts_file_has_each_part_as_a_reversal_of_its_share(db: Database, database_url: str) -> None:
    """The same days are the same lines, in whichever order they are asked for."""
    _, charge = await bought(db)
    first = await db.run(_today)
    await db.run(travel, timedelta(days=2))
    await told(db, charge, "re-1", 5_000)
    second = await db.run(_today)
    await db.run(travel, timedelta(days=2))
    assert await db.run(_lines, second, second) == ["reversal 5000"]
    assert await db.run(_lines, first, first) == ["receipt 14900"]
    await told(db, charge, "re-2", 9_900, "chargeback")
    third = await db.run(_today)
    await db.run(travel, timedelta(days=2))
    assert await db.run(_lines, first, third) == ["receipt 14900", "reversal 5000", "reversal 9900"]
    assert await db.run(_lines, second, second) == ["reversal 5000"]
    assert violations(database_url) == []


def _today(tx: Transaction) -> date:
    day: date = tx.value("select atlas.books_day()")
    return day


def _lines(tx: Transaction, first: date, last: date) -> list[str]:
    return [f"{one.kind} {one.amount}" for one in receipts.told(tx, first, last)]


async def test_a_customer_sees_that_a_part_went_back(db: Database) -> None:
    order, charge = await bought(db)
    await told(db, charge, "re-1", 5_000)
    (one,) = await db.run(customer_money.charges, order.account_id, 5)
    assert one.state is customer_money.State.PARTLY_BACK
    await told(db, charge, "re-2", 9_900)
    (one,) = await db.run(customer_money.charges, order.account_id, 5)
    assert one.state is customer_money.State.REFUNDED
