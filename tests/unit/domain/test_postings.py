"""The posting table: what the code books of a fact, against a table written down apart from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lib.currencies import UnknownCurrency
from lib.domain import bookings, postings
from lib.domain.bookings import Money

ROOT = Path(__file__).resolve().parents[3]

RUB = {"amount": 14_900, "currency": "RUB", "invoice_id": "1", "purchase_id": None}
PRICE = ("exchange", "revenue", 14_900, "RUB")
DIRECT = ("clearing:cryptobot", "revenue", 14_900, "RUB")

SALES = {
    "another asset passes exchange, and the fee is in its own": (
        RUB | {"paid_asset": "USDT", "paid_amount": "1.8625", "fee_asset": "USDT", "fee_amount": "0.055875"},
        [
            ("clearing:cryptobot", "exchange", 1_862_500, "USDT"),
            PRICE,
            ("provider_fees", "clearing:cryptobot", 55_875, "USDT"),
        ],
    ),
    "nothing is said of an asset": (RUB, [DIRECT]),
    "the order's currency came": (RUB | {"paid_asset": "RUB", "paid_amount": "149"}, [DIRECT]),
    "stars are sold whole and booked in nanostars": (
        RUB | {"amount": 250, "currency": "XTR"},
        [("clearing:cryptobot", "revenue", 250_000_000_000, "XTR")],
    ),
    "an asset that no list has waits": (RUB | {"paid_asset": "NEWCOIN", "paid_amount": "3"}, [PRICE]),
    "an amount that was not understood waits": (RUB | {"paid_asset": "USDT"}, [PRICE]),
    "dust that rounds to nothing makes no entry": (RUB | {"paid_asset": "USDT", "paid_amount": "0.0000001"}, [PRICE]),
    "a fee in the order's currency": (
        RUB | {"fee_asset": "RUB", "fee_amount": "4.47"},
        [DIRECT, ("provider_fees", "clearing:cryptobot", 447, "RUB")],
    ),
    "a fee in an asset that no list has": (RUB | {"fee_asset": "NEWCOIN", "fee_amount": "1"}, [DIRECT]),
}


@pytest.mark.parametrize("name", SALES)
def test_a_sale_is_booked_as_the_table_says(name: str) -> None:
    said, booked = SALES[name]
    posting = bookings.sale("cryptobot", Money(**said), payment_id=7, order_id=3, list_price=said["amount"])  # type: ignore[arg-type] # a table
    assert (posting.kind, posting.key, posting.payment_id, posting.order_id) == ("sale", "payment:7", 7, 3)
    assert [(e.debit, e.credit, e.amount, e.currency) for e in posting.entries] == booked


def test_a_discount_is_shown_beside_revenue_at_list_price() -> None:
    posting = bookings.sale("stars", Money(70, "XTR", "1", None), payment_id=1, order_id=1, list_price=100)
    assert [(e.debit, e.credit, e.amount) for e in posting.entries] == [
        ("clearing:stars", "revenue", 70_000_000_000),
        ("discounts", "revenue", 30_000_000_000),
    ]


def test_a_transfer_by_hand_comes_to_the_bank() -> None:
    posting = bookings.sale("transfer", Money(70, "RUB", "1", None), payment_id=1, order_id=1, list_price=70)
    assert [(e.debit, e.credit, e.amount) for e in posting.entries] == [("bank", "revenue", 70)]


def test_an_agreement_in_a_currency_that_no_list_has_is_refused_by_its_name() -> None:
    money = Money(14_900, "NEWCOIN", "1", None)
    with pytest.raises(UnknownCurrency, match="NEWCOIN"):
        bookings.sale("cryptobot", money, payment_id=1, order_id=1, list_price=14_900)


@pytest.mark.parametrize("provider", ["balance", "promo", "nowhere"])
def test_money_from_outside_needs_a_clearing_account(provider: str) -> None:
    with pytest.raises(LookupError):
        bookings.sale(provider, Money(14_900, "RUB", "1", None), payment_id=1, order_id=1, list_price=14_900)


def test_nothing_else_posts() -> None:
    """Entries are written in one place, of postings that are made in one place."""
    places: dict[str, set[str]] = {"ledger_entries (": set(), "ledger_transfers (": set(), " Posting(": set()}
    for path in sorted([*(ROOT / "lib").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]):
        text = path.read_text()
        for said, found in places.items():
            if re.search(rf"(?:insert into\s+){re.escape(said)}|return{re.escape(said)}", re.sub(r"\s+", " ", text)):
                found.add(str(path.relative_to(ROOT)))
    assert places == {
        "ledger_entries (": {"lib/domain/ledger.py"},
        "ledger_transfers (": {"lib/domain/ledger.py"},
        " Posting(": {"lib/domain/postings.py"},
    }


def test_the_page_has_the_table_that_the_code_books_by() -> None:
    page = (ROOT / "docs" / "data.md").read_text()
    rows = [
        f"| `{fact.kind}` | `{fact.key}` | {leg.when or 'always'} | `{leg.debit}` | `{leg.credit}` | {postings.AMOUNTS[leg.amount]} |"
        for fact in postings.FACTS
        for leg in fact.legs
    ]
    table = re.search(r"^\| fact \|.*\n\|[-|]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    assert table is not None
    assert table[1].splitlines() == rows
