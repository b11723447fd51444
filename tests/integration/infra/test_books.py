"""`make books` over a database of its own: what it tells is what the oracle and the books say, and it can change nothing."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pg8000.native
import pytest

from infra import books, environment
from infra.books import Table, as_csv, as_text
from lib import currencies
from lib.db.address import DatabaseAddress
from lib.domain import inbox, ledger
from lib.domain.postings import About, Amount, posting, table
from lib.oracle import Books, Sum
from lib.oracle import Order as OracleOrder
from tests.integration.domain.test_settlement import PRICES, open_order, paid

if TYPE_CHECKING:
    from pathlib import Path

    from lib.db import Database, Transaction

_REASON = '=HYPERLINK("https://example.org")'


@dataclass
class Found:
    """An environment of which nothing but the database is there; who comes in may read, and no more."""

    url: str
    name: str = "local"
    settings: dict[str, str] = field(default_factory=dict)

    def connect(self, role: str) -> pg8000.native.Connection:
        assert role == "readonly"
        session = pg8000.native.Connection(**DatabaseAddress.parse(self.url).driver_arguments())
        session.run("set search_path = atlas, pg_catalog")
        session.run("set session authorization atlas_readonly")
        return session


def _owner(tx: Transaction) -> None:
    about = About(provider="cryptobot", operation="opening", actor_id=17, reason=_REASON)
    ledger.post(tx, posting(table.OPENING_AT_PROVIDER, about, moved=Amount(5_000_000, "USDT")))


@pytest.fixture
async def shop(db: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Books:
    """A sale by Crypto Pay, money that fits nothing, an opening balance; and the same told to the oracle."""
    order = await db.run(open_order, 1)
    await db.run(
        inbox.receive, paid(order, paid_asset="USDT", paid_amount="1.5", fee_asset="USDT", fee_amount="0.045"), PRICES
    )
    rub = {"paid_asset": None, "paid_amount": None, "fee_asset": None, "fee_amount": None}
    stray = replace(paid(order, invoice_id="stray", purchase_id=None, amount=10_000, **rub), external_id="stray")
    await db.run(inbox.receive, stray, PRICES)
    await db.run(_owner)
    oracle = Books()
    oracle.order("1", OracleOrder(order.account_id, "subscription", order.price, order.price, order.price))
    came, fee = Sum(1_500_000, "USDT"), Sum(45_000, "USDT")
    oracle.charge("1", "cryptobot", Sum(order.price), order="1", received=came, fee=fee)
    oracle.charge("stray", "cryptobot", Sum(10_000))
    oracle.owner("opening", "cryptobot", Sum(5_000_000, "USDT"), comes=True)
    monkeypatch.setattr(environment, "load", lambda name: Found(database_url, name))
    return oracle


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, list[dict[str, Any]]]:
    assert books.main(["--env", "local", "--json", *words]) == 0
    said: dict[str, list[dict[str, Any]]] = json.loads(capsys.readouterr().out)
    return said


def minor(amount: str, currency: str) -> int:
    return int(Decimal(amount).scaleb(currencies.of(currency).digits))


def test_balances_and_the_month_are_what_the_oracle_says(shop: Books, capsys: pytest.CaptureFixture[str]) -> None:
    said = told(capsys)
    month = next(rows for name, rows in said.items() if name.endswith("-accounts"))
    wanted = {(code, currency): shop.of(code, currency) for code, currency, _ in shop.balances}
    wanted = {account: held for account, held in wanted.items() if held}
    for rows, column in ((said["balances"], "balance"), (month, "closing")):
        assert {(row["account"], row["currency"]): minor(row[column], row["currency"]) for row in rows} == wanted
    results = next(rows for name, rows in said.items() if name.endswith("-results"))
    assert [
        (row["account"], row["method"], row["tariff"], row["currency"], row["amount"], row["in RUB"]) for row in results
    ] == [
        ("provider_fees", "cryptobot", "basic", "USDT", "-0.045000", "-4.47"),  # 149 RUB came as 1.5 USDT
        ("revenue", "cryptobot", "basic", "RUB", "149.00", "149.00"),
    ]
    clearing = {row["currency"]: row["in RUB"] for row in month if row["account"] == "clearing:cryptobot"}
    assert clearing == {"USDT": None, "RUB": "100.00"}, "what an operator moved has no booked value"
    assert said["providers"] == said["differences"] == []


async def test_statements_and_everything_of_one(db: Database, shop: Books, capsys: pytest.CaptureFixture[str]) -> None:
    (account,) = told(capsys, "--account", "clearing:cryptobot USDT").values()
    assert [(row["amount"], row["balance"]) for row in account] == [
        ("1.500000", "1.500000"),
        ("-0.045000", "1.455000"),
        ("5.000000", "6.455000"),
    ]
    (order,) = told(capsys, "--order", str(account[0]["order"])).values()
    (charge,) = told(capsys, "--charge", "cryptobot:inv-1").values()
    assert [(row["debit"], row["credit"], row["amount"]) for row in order] == [
        (row["debit"], row["credit"], row["amount"]) for row in charge
    ]
    assert len(order) == 3
    (stray,) = told(capsys, "--charge", "cryptobot:stray").values()
    assert [(row["debit"], row["credit"], row["amount"]) for row in stray] == [
        ("clearing:cryptobot", "suspense", "100.00")
    ]
    customer = await db.run(lambda tx: tx.value("select account_id from orders"))
    assert list(told(capsys, "--customer", str(customer)).values()) == [[]]
    assert list(told(capsys, "--account", "bank").values()) == [[]], "of the chart, and never moved"
    assert told(capsys, "--at", "2020-01-01T00:00:00Z")["balances"] == []
    old = told(capsys, "--month", "2020-02")
    assert (old["month-2020-02-results"], old["month-2020-02-accounts"]) == ([], [])
    assert shop.balances


def test_files_are_the_same_bytes_and_nothing_that_a_spreadsheet_runs(
    shop: Books, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert shop.balances
    for folder in ("one", "two"):
        assert books.main(["--env", "local", "--account", "owner", "--csv", str(tmp_path / folder)]) == 0
        assert "Statement of account owner" in capsys.readouterr().out
    (one,), (two,) = (sorted((tmp_path / folder).iterdir()) for folder in ("one", "two"))
    assert (one.name, one.read_bytes()) == ("account-owner.csv", two.read_bytes())
    (row,) = csv.DictReader(io.StringIO(one.read_text()))
    assert (row["amount"], row["currency"], row["reason"]) == ("-5.000000", "USDT", "'" + _REASON)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r=1", "\uff1d1", "\u00a0=1", "\n=1"])
def test_text_that_begins_like_a_formula_is_quoted(text: str) -> None:
    (_, row) = csv.reader(
        io.StringIO(as_csv(Table("t", "t", ("a", "b"), [(text, Decimal("-1.50"))])).decode(), newline="")
    )
    assert (row[0][0], row[1]) == ("'", "-1.50")


def test_a_terminal_is_moved_by_nothing() -> None:
    shown = as_text(Table("t", "t\x1b[2J", ("a",), [("b\x1b[31m\r",), (None,)]))
    assert shown.isascii()
    assert all(line.isprintable() for line in shown.splitlines())


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--at", "yesterday"), "AT must be"),
        (("--at", "2026-11-30T03:00:00"), "AT must be"),
        (("--month", "2026-13"), "MONTH must be"),
        (("--month", "0000-01"), "MONTH must be"),
        (("--order", "0"), "ORDER must be"),
        (("--order", str(2**63)), "ORDER must be"),
        (("--customer", "x"), "CUSTOMER must be"),
        (("--charge", "17"), "CHARGE must be"),
        (("--account", "clearing cryptobot"), "ACCOUNT must be"),
        (("--order", "1", "--customer", "1"), "at a time"),
        (("--at", "9999-12-31T23:59:59-14:00"), "AT must be"),
        (("--at", "0001-01-01T00:00:00+14:00"), "AT must be"),
        (("--account", "bank XXX"), "ACCOUNT: Atlas knows no currency XXX"),
        (("--order", "1", "--at", "2026-11-30T03:00:00Z"), "AT is nothing that ORDER takes"),
        (("--charge", "cryptobot:17", "--month", "2026-11"), "MONTH is nothing that CHARGE takes"),
    ],
)
def test_what_can_not_be_asked_is_said(
    words: tuple[str, ...], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert books.main(["--env", "local", *words]) == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--account", "no:such"), "the chart has no account no:such; it has bank, "),
        (("--account", "user:topped_up"), "user:topped_up is each customer's own: CUSTOMER says whose"),
        (("--customer", "999"), "there is no customer 999"),
        (("--order", "999"), "there is no order 999"),
        (("--charge", "cryptobot:nothing"), "no news of a charge cryptobot:nothing"),
    ],
)
def test_what_is_not_there_is_no_empty_answer(
    shop: Books, words: tuple[str, ...], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shop.balances
    assert books.main(["--env", "local", *words]) == 2
    said = capsys.readouterr()
    assert problem in said.err
    assert said.out == ""


@pytest.mark.parametrize("name", ["taken", "taken/below"])
def test_a_folder_that_can_not_be_made_is_named(
    shop: Books, name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert shop.balances
    (tmp_path / "taken").write_text("a file")
    assert books.main(["--env", "local", "--csv", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert f"CSV: {tmp_path / name} can't be written: " in said
    assert "Errno" not in said
