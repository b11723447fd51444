"""The posting table: what the code books of a fact, against a table written down apart from it."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lib.currencies import UnknownCurrency
from lib.domain import bookings
from lib.domain.bookings import Money, PayableOrder
from lib.domain.postings import AMOUNTS, FACTS, About, Amount, Amounts, Fact, clearing, posting, table
from tests.docs.postings_page import PAGE, page
from tests.postings_by_hand import ABOUT, CASES, Case

if TYPE_CHECKING:
    from lib.domain.ledger import Posting

ROOT = Path(__file__).resolve().parents[3]

NO_LEGS = {"GIFT_BOUGHT_FREE", "GIFT_RETURNED_FREE", "REFUND_OF_GIFT_FREE", "GIVEN_BACK_ALREADY", "CORRECTION"}
POSTED = {name: case for name, case in CASES.items() if case.moved}


def fact(name: str) -> Fact:
    found: Fact = getattr(table, name)
    return found


def made(case: Case, **changes: Any) -> Posting:
    about = About(provider=case.provider, **(ABOUT | changes))  # type: ignore[arg-type] # a table
    amounts: Any = {name: Amount(*amount) for name, amount in case.given.items()}
    return posting(fact(case.fact), about, **amounts)


@pytest.mark.proves("N-29")
@pytest.mark.parametrize("name", POSTED)
def test_a_fact_is_booked_as_the_table_by_hand_says(name: str) -> None:
    case = POSTED[name]
    booked = made(case)
    assert [(e.debit, e.credit, e.amount, e.currency) for e in booked.entries] == case.moved
    assert (booked.kind, booked.key) == (case.kind, case.key)


@pytest.mark.proves("N-29")
@pytest.mark.parametrize("name", [name for name in CASES if name not in POSTED])
def test_where_nothing_moves_nothing_is_posted(name: str) -> None:
    with pytest.raises(ValueError, match="nothing moves"):
        made(CASES[name])


@pytest.mark.proves("N-29")
def test_the_table_by_hand_has_every_fact_and_every_row() -> None:
    assert {case.fact for case in CASES.values()} | {"CORRECTION"} == {
        name for name, value in vars(table).items() if isinstance(value, Fact)
    }
    for name in vars(table):
        if isinstance(found := getattr(table, name), Fact) and found.legs:
            given = {amount for case in CASES.values() if case.fact == name for amount in case.given}
            assert given == {said for leg in found.legs for said in (leg.amount, leg.debited) if said}, name
    assert {fact.name for fact in FACTS if not fact.legs} == {fact(name).name for name in NO_LEGS}
    assert len(FACTS) == len({fact.name for fact in FACTS})


@pytest.mark.proves("N-29")
def test_the_table_by_hand_has_each_row_of_two_amounts_in_one_currency_and_across_two() -> None:
    ways: dict[tuple[str, str], set[bool]] = {}
    for case in POSTED.values():
        for leg in fact(case.fact).legs:
            if leg.debited and leg.amount in case.given:
                same = case.given[leg.debited][1] == case.given[leg.amount][1]
                ways.setdefault((case.fact, leg.amount), set()).add(same)
    assert {row: found for row, found in ways.items() if found != {True, False}} == {}


@pytest.mark.parametrize("name", {case.fact: name for name, case in POSTED.items()}.values())
def test_a_fact_that_lacks_what_it_is_about_is_refused(name: str) -> None:
    case = POSTED[name]
    whole, needed = made(case), fact(case.fact)
    names = {*re.findall(r"{(\w+)}", needed.key), *needed.about}
    names |= {"reason"} if needed.by_operator or needed.says_why else set()
    names |= {"actor_id"} if needed.by_operator else set()
    if any(code.startswith("user:") for entry in whole.entries for code in (entry.debit, entry.credit)):
        names.add("account_id")
    for lacking in names - {"provider"}:
        with pytest.raises(ValueError, match=lacking):
            made(case, **{lacking: None})
    for free in ABOUT.keys() - names:
        assert made(case, **{free: None}).entries == whole.entries
    if "provider" in names:
        with pytest.raises(ValueError, match="provider"):
            made(dataclasses.replace(case, provider=""))


@pytest.mark.parametrize("name", POSTED)
def test_an_amount_too_few_is_refused_but_where_it_may_lack(name: str) -> None:
    case = POSTED[name]
    optional = {leg.amount for leg in fact(case.fact).legs if leg.optional and not leg.debited}
    for lacking in case.given.keys() - optional:
        given = {said: amount for said, amount in case.given.items() if said != lacking}
        with pytest.raises(ValueError, match="lacks"):
            made(dataclasses.replace(case, given=given))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"price": (100, "RUB"), "received": (100, "RUB"), "taken": (1, "RUB")}, "has no taken"),
        ({"price": (100, "RUB"), "received": (101, "RUB")}, "differ in one currency"),
        ({"price": (-1, "RUB"), "received": (-1, "RUB")}, "less than nothing of price, received"),
        ({"price": (0, "RUB"), "received": (0, "RUB")}, "nothing moves"),
    ],
)
def test_amounts_that_can_not_be_are_refused(given: dict[str, tuple[int, str]], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        made(Case("SALE", "sale", "payment:1", given))


def test_each_amount_has_a_name_and_a_meaning() -> None:
    assert list(AMOUNTS) == list(Amounts.__annotations__)
    assert {said for fact in FACTS for leg in fact.legs for said in (leg.amount, leg.debited) if said} == set(AMOUNTS)


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


def order(
    price: int, currency: str = "RUB", *, list_price: int | None = None, value: int | None = None
) -> PayableOrder:
    return PayableOrder(
        3,
        5,
        "subscription",
        "basic",
        30,
        list_price or price,
        price,
        currency,
        price if value is None else value,
        "open",
    )


@pytest.mark.parametrize("name", SALES)
def test_a_sale_is_booked_as_the_table_says(name: str) -> None:
    said, booked = SALES[name]
    posting = bookings.sale("cryptobot", Money(**said), order(said["amount"], said["currency"]), 7, books="RUB")  # type: ignore[arg-type] # a table
    assert (posting.kind, posting.key, posting.payment_id, posting.order_id) == ("sale", "payment:7", 7, 3)
    assert [(e.debit, e.credit, e.amount, e.currency) for e in posting.entries] == booked


def test_a_discount_is_shown_beside_revenue_at_list_price() -> None:
    posting = bookings.sale("stars", Money(70, "XTR", "1", None), order(70, "XTR", list_price=100), 1, books="RUB")
    assert [(e.debit, e.credit, e.amount) for e in posting.entries] == [
        ("clearing:stars", "revenue", 70_000_000_000),
        ("discounts", "revenue", 30_000_000_000),
    ]


def test_a_transfer_by_hand_comes_to_the_bank() -> None:
    posting = bookings.sale("transfer", Money(70, "RUB", "1", None), order(70), 1, books="RUB")
    assert [(e.debit, e.credit, e.amount) for e in posting.entries] == [("bank", "revenue", 70)]


def test_an_agreement_in_a_currency_that_no_list_has_is_refused_by_its_name() -> None:
    money = Money(14_900, "NEWCOIN", "1", None)
    with pytest.raises(UnknownCurrency, match="NEWCOIN"):
        bookings.sale("cryptobot", money, order(14_900, "NEWCOIN"), 1, books="RUB")


MORE = {
    "in the currency of the books": (
        RUB | {"amount": 15_900},
        order(14_900),
        [DIRECT, ("clearing:cryptobot", "user:topped_up", 1_000, "RUB")],
    ),
    "in another asset, which passes exchange whole": (
        RUB | {"amount": 15_900, "paid_asset": "USDT", "paid_amount": "2"},
        order(14_900),
        [("clearing:cryptobot", "exchange", 2_000_000, "USDT"), PRICE, ("exchange", "user:topped_up", 1_000, "RUB")],
    ),
    "in Stars, at the order's value, rounded down": (
        RUB | {"amount": 107, "currency": "XTR"},
        order(100, "XTR", value=14_950),
        [
            ("clearing:cryptobot", "revenue", 100_000_000_000, "XTR"),
            ("clearing:cryptobot", "exchange", 7_000_000_000, "XTR"),
            ("exchange", "user:topped_up", 1_046, "RUB"),
        ],
    ),
    "of less worth than a kopeck": (
        RUB | {"amount": 101, "currency": "XTR"},
        order(100, "XTR", value=99),
        [
            ("clearing:cryptobot", "revenue", 100_000_000_000, "XTR"),
            ("clearing:cryptobot", "exchange", 1_000_000_000, "XTR"),
        ],
    ),
}


@pytest.mark.proves("N-29")
@pytest.mark.proves("N-2")
@pytest.mark.parametrize("name", MORE)
def test_what_came_beyond_the_price_goes_to_the_balance(name: str) -> None:
    said, sold, booked = MORE[name]
    posting = bookings.sale("cryptobot", Money(**said), sold, 7, books="RUB")  # type: ignore[arg-type] # a table
    assert [(e.debit, e.credit, e.amount, e.currency) for e in posting.entries] == booked


@pytest.mark.parametrize("provider", ["balance", "promo", "", "a:b", "Card", "card\n"])
def test_money_from_outside_needs_a_clearing_account(provider: str) -> None:
    with pytest.raises(LookupError):
        clearing(provider)


def _writes(text: str) -> set[str]:
    return set(
        re.findall(
            r"(?:insert\s+into|update|delete\s+from|copy|merge\s+into)\s+(?:atlas\.)?(ledger_(?:entries|transfers))\b",
            text.lower(),
        )
    )


def _makes(tree: ast.AST, name: str) -> bool:
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any((isinstance(call, ast.Name) and call.id == name) or (isinstance(call, ast.Attribute) and call.attr == name) for call in calls)  # fmt: skip


@pytest.mark.proves("N-29")
def test_nothing_else_posts() -> None:
    """Entries are written in one place, of postings that are made in one place, of facts that stand in one place."""
    writes: dict[str, set[str]] = {}
    makes: dict[str, set[str]] = {"Posting": set(), "Fact": set(), "Leg": set()}
    for folder in ("lib", "functions", "infra", "sandbox"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            where, text = str(path.relative_to(ROOT)), path.read_text()
            if found := _writes(text):
                writes[where] = found
            for name, places in makes.items():
                if re.search(rf"\b{name}\b", text) and _makes(ast.parse(text), name):
                    places.add(where)
    assert writes == {"lib/domain/ledger.py": {"ledger_entries", "ledger_transfers"}}
    building, rows = "lib/domain/postings/building.py", "lib/domain/postings/table.py"
    assert makes == {"Posting": {building}, "Fact": {rows}, "Leg": {rows}}


@pytest.mark.proves("N-29")
def test_the_page_is_made_of_the_table() -> None:
    assert PAGE.read_text() == page(), "run `python -m tests.docs.postings_page`"
