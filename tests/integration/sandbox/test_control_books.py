"""What the control page reads of the books: money that waits, that went back, receipts and balances."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast
from uuid import uuid4

import pytest

from lib.domain import inbox, receipts, refund_requests, suspense_by_hand
from lib.domain.settlement import Event, Money
from sandbox.control.books import Books
from tests.integration.bot.test_operations import pending_access, two_nodes
from tests.integration.domain import money_rows
from tests.integration.domain.test_settlement import PRICES, open_order, paid
from tests.integration.domain.test_what_came import BY, RUB, charged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lib.db import Database, Transaction
    from sandbox.postgres.database import LocalDatabase


@pytest.fixture
def books(database_url: str) -> Iterator[Books]:
    """As the page has them: by the owner, past the functions."""
    made = Books(cast("LocalDatabase", SimpleNamespace(owner_url=database_url)))
    yield made
    made.close()


async def test_money_that_waits_says_what_lies_there_why_and_whose_it_may_be(db: Database, books: Books) -> None:
    less, strange = await db.run(open_order, 1), await db.run(open_order, 2)
    first = await db.run(inbox.receive, paid(less, amount=14_899), PRICES)
    await db.run(inbox.receive, paid(strange, invoice_id="other", purchase_id=None, **RUB), PRICES)
    newest, oldest = books.read()["suspense"]
    assert (oldest["amount"], oldest["currency"], oldest["reason"]) == ("1.862500", "USDT", "not the amount agreed")
    assert (oldest["order_id"], oldest["who"], oldest["id"]) == (less.id, "Anna", first.event_id)
    assert oldest["received_at"]
    assert (newest["amount"], newest["currency"], newest["reason"]) == ("149.00", "RUB", "no such order")
    assert newest["who"] is None
    await db.run(suspense_by_hand.credit, first.event_id, less.account_id, BY, "RUB", worth=14_899)
    assert [row["id"] for row in books.read()["suspense"]] == [newest["id"]]


async def test_a_charge_in_an_unknown_asset_waits_without_an_amount(db: Database, books: Books) -> None:
    order = await db.run(open_order, 1)
    await db.run(inbox.receive, paid(order, amount=1, paid_asset="SHELL", fee_asset=None, fee_amount=None), PRICES)
    [row] = books.read()["suspense"]
    assert (row["amount"], row["currency"]) == (None, None)
    assert "lacks what came" in row["reason"]


async def test_what_a_customer_has_is_shown_in_roubles(db: Database, books: Books) -> None:
    order = await db.run(open_order, 1)
    await db.run(inbox.receive, paid(order, **RUB), PRICES)
    await db.run(inbox.receive, charged(order, "again", **RUB), PRICES)
    assert books.read()["wallets"] == [
        {"id": order.account_id, "who": "Anna", "currency": "RUB", "topped_up": "149.00", "earned": "0.00"}
    ]


async def test_what_went_back_and_its_receipt_are_shown(racing_db: Database, books: Books) -> None:
    order = await racing_db.run(open_order, 1)
    await racing_db.run(inbox.receive, paid(order, **RUB), PRICES)
    [receipt] = books.read()["receipts"]
    assert (receipt["who"], receipt["amount"], receipt["status"]) == ("Anna", "149.00", "due")

    def give_back(tx: Transaction) -> int:
        payment_id = int(tx.value("select id from payments"))
        return money_rows.refund(tx, payment_id, provider="cryptobot", external_id="r-1", route="bank", kind="refund")

    refund_id = await racing_db.run(give_back)
    await racing_db.run(receipts.annul, receipt["id"], refund_id)
    read = books.read()
    [row] = read["refunds"]
    shown = {
        name: row[name] for name in ("id", "who", "kind", "amount", "currency", "route", "external_id", "order_id")
    }
    assert shown == {
        "id": refund_id, "who": "Anna", "kind": "refund", "amount": "149.00", "currency": "RUB", "route": "bank",
        "external_id": "r-1", "order_id": order.id,
    }  # fmt: skip
    [receipt] = read["receipts"]
    assert (receipt["status"], receipt["refund_id"]) == ("annulled", refund_id)


async def test_a_refund_that_its_provider_is_asked_for_is_shown(racing_db: Database, books: Books) -> None:
    order = await racing_db.run(open_order, 1)
    received = await racing_db.run(inbox.receive, paid(order, **RUB), PRICES)
    await racing_db.run(
        refund_requests.ask, received.event_id, "RUB", reason="as the customer wrote", correlation_id="op-1"
    )
    [row] = books.read()["refund_requests"]
    assert (row["who"], row["amount"], row["currency"], row["status"]) == ("Anna", "149.00", "RUB", "requested")


async def test_what_went_back_of_a_charge_without_an_order_is_shown(racing_db: Database, books: Books) -> None:
    received = await racing_db.run(
        inbox.receive,
        Event("stars", "stx", b"{}", "update", "c-1", Money(120, "XTR", "", uuid4())),
        PRICES,
    )
    assert received.outcome == "unmatched"
    await racing_db.run(
        inbox.receive,
        Event("stars", "stx", b"{}", "update", "c-2", Money(120, "XTR", "", None), kind="refund", charge_id="stx"),
        PRICES,
    )
    [row] = books.read()["refunds"]
    assert (row["amount"], row["currency"], row["who"], row["payment_id"]) == ("120", "XTR", None, None)


async def test_nodes_are_shown_with_their_breakers_since_when_they_are_lost_and_what_they_owe(
    racing_db: Database, books: Books
) -> None:
    first, second = await racing_db.run(two_nodes)
    await racing_db.run(pending_access)
    await racing_db.run(
        lambda tx: tx.execute(
            "update nodes set lost_since = atlas.now(), reconcile_open_until = atlas.now() + interval '1 minute' where id = :id",
            id=second,
        )
    )
    one, other = books.read()["node_states"]
    assert (one["id"], one["is_open"], one["failures"], one["lost_since"]) == (first, True, 5, None)
    assert (one["wanted"], one["waiting"]) == (1, 1)
    assert (other["is_open"], other["reconcile_is_open"]) == (None, True)
    assert other["lost_since"]
