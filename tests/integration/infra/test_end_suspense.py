"""The command that ends what lies in suspense, over a database of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pg8000.native
import pytest

from infra import end_suspense, environment
from lib.db.address import DatabaseAddress
from lib.domain import inbox, pricelist, subscriptions
from lib.payments import stars
from tests.integration.domain.test_settlement import PRICES, open_order, paid
from tests.integration.statement_faults import everything

if TYPE_CHECKING:
    from lib.db import Database, Transaction

OWNER = 17


@dataclass
class Found:
    """An environment of which nothing but the database is there."""

    url: str
    name: str = "local"
    settings: dict[str, str] = field(default_factory=lambda: {"ADMIN_IDS": str(OWNER)})

    def connect(self, role: str) -> pg8000.native.Connection:
        assert role == "owner"
        session = pg8000.native.Connection(**DatabaseAddress.parse(self.url).driver_arguments())
        session.run("set search_path = atlas, pg_catalog")
        return session


@dataclass(frozen=True)
class Stray:
    """An open order and its account; the event of 100 RUB for nothing that is known, which lie in suspense."""

    order: int
    account: int
    event: int

    def run(self, *, env: str = "local", **said: str) -> int:
        given = {"event": str(self.event), "operator": str(OWNER), "reason": "as the customer wrote"} | said
        given = {"confirm": given["event"]} | given
        known = {"ORDER": str(self.order), "ACCOUNT": str(self.account)}
        words = [word for name, value in given.items() for word in (f"--{name}", known.get(value, value))]
        return end_suspense.main(["--env", env, *words])


@pytest.fixture
async def stray(db: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Stray:
    order = await db.run(open_order, 1)
    rub = {"paid_asset": None, "paid_amount": None, "fee_asset": None, "fee_amount": None}
    event = paid(order, invoice_id="other", purchase_id=None, amount=10_000, **rub)
    received = await db.run(inbox.receive, event, PRICES)
    assert received.outcome == "unmatched"
    monkeypatch.setattr(environment, "load", lambda name: Found(database_url, name))
    return Stray(order.id, order.account_id, received.event_id)


async def resolution(db: Database) -> str:
    return str(await db.run(lambda tx: tx.value("select coalesce(resolution, '-') from payment_events")))


@pytest.mark.parametrize(
    ("more", "ends"),
    [
        ({"how": "assign", "order": "ORDER"}, "assigned"),
        ({"how": "credit", "account": "ACCOUNT", "worth": "100 RUB"}, "credited"),
        ({"how": "given-back"}, "refunded"),
        ({"how": "paid-back", "paid": "100.00 RUB", "fee": "1.5 RUB"}, "refunded"),
    ],
)
async def test_each_way_is_taken_once(
    db: Database, stray: Stray, capsys: pytest.CaptureFixture[str], more: dict[str, str], ends: str
) -> None:
    assert stray.run(**more) == 0
    assert await resolution(db) == ends
    assert stray.run(**more) == 2
    assert f"was {ends} before" in capsys.readouterr().err


async def test_without_a_confirmation_it_says_what_would_be_posted_and_changes_nothing(
    db: Database, stray: Stray, capsys: pytest.CaptureFixture[str]
) -> None:
    before = await db.run(everything)
    assert stray.run(how="paid-back", paid="100.00 RUB", fee="1.5 RUB", confirm="") == 0
    said = capsys.readouterr().out
    assert said.splitlines() == [
        f"A dry run: paid-back of event {stray.event} would post",
        "  suspense -> bank: 100.00 RUB",
        "  provider_fees -> bank: 1.50 RUB",
        f"Nothing was changed. CONFIRM={stray.event} does it.",
    ]
    for more in ({"how": "assign", "order": "ORDER"}, {"how": "credit", "account": "ACCOUNT"}, {"how": "given-back"}):
        assert stray.run(**more, confirm="") == 0
        assert f"CONFIRM={stray.event} does it" in capsys.readouterr().out
    assert await db.run(everything) == before
    assert stray.run(how="given-back", confirm=str(stray.event + 1)) == 2
    assert "CONFIRM repeats the number of EVENT" in capsys.readouterr().err
    assert await db.run(everything) == before


def other_list(folder: Path) -> str:
    """The path of a price list that has one tariff more than the built-in one: solo, of the price of basic."""
    built_in = Path(pricelist.__file__).with_name("pricelist.toml").read_text("utf-8")
    basic = built_in[built_in.index("[tariffs.basic]") : built_in.index("[tariffs.plus]")]
    path = folder / "prices.toml"
    path.write_text(built_in.replace(basic, basic + basic.replace("basic", "solo")), "utf-8")
    return str(path)


def hold_solo(tx: Transaction, account_id: int) -> None:
    """Thirty days of a tariff that only another price list than the built-in one has."""
    subscriptions.grant(
        tx, account_id, tariff="solo", seconds=30 * 86_400, source="payment", value=subscriptions.SAME_VALUE
    )


async def test_time_is_worth_what_the_environments_price_list_says(
    db: Database,
    database_url: str,
    stray: Stray,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    tmp_path: Path,
) -> None:
    await db.run(hold_solo, stray.account)
    assert stray.run(how="assign", order="ORDER") == 2  # by a list that lacks what they hold
    said = capsys.readouterr().err
    assert said.startswith("Nothing was changed.\n")
    assert "the price list lacks solo" in said
    assert await resolution(db) == "-"
    monkeypatch.setenv("TARIFFS_PATH", "/nowhere.toml")  # of the operator's shell
    settings = {"ADMIN_IDS": str(OWNER), "TARIFFS_PATH": other_list(tmp_path)}
    monkeypatch.setattr(environment, "load", lambda name: Found(database_url, name, settings))
    assert stray.run(how="assign", order="ORDER") == 0
    assert await resolution(db) == "assigned"


def test_a_price_list_that_can_not_be_read_changes_nothing(
    stray: Stray, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"ADMIN_IDS": str(OWNER), "TARIFFS_PATH": "lib/nowhere.toml"}
    monkeypatch.setattr(environment, "load", lambda name: Found(database_url, name, settings))
    assert stray.run(how="assign", order="ORDER") == 2
    assert "TARIFFS_PATH: the file can't be read" in capsys.readouterr().err


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another environment": ({"env": "prod", "how": "given-back"}, "belongs to environment local, not prod"),
    "one who may not": ({"how": "given-back", "operator": "18"}, "18 may not"),
    "no way": ({"how": "keep"}, "HOW must be one of"),
    "nothing to assign it to": ({"how": "assign"}, "ORDER is not given"),
    "a fee in another currency": (
        {"how": "paid-back", "paid": "100.00 RUB", "fee": "1.5 USDT"},
        "FEE is said in RUB, as PAID is",
    ),
    "a fee beyond what was paid": (
        {"how": "paid-back", "paid": "100.00 RUB", "fee": "150 RUB"},
        "FEE is more than PAID",
    ),
    "what the way does not take": ({"how": "given-back", "order": "ORDER"}, "ORDER is nothing that"),
    "no number": ({"how": "credit", "account": "\u0663"}, "ACCOUNT must be a whole number"),
    "no amount": ({"how": "paid-back", "paid": "1e9 RUB"}, "PAID: must be an amount"),
    "a part of a kopeck": ({"how": "paid-back", "paid": "0.001 RUB"}, "PAID: must be above zero"),
    "nothing": ({"how": "paid-back", "paid": "0 RUB"}, "PAID: must be above zero"),
    "no currency": ({"how": "paid-back", "paid": "100 SHELLS"}, "PAID: must be an amount"),
    "another currency": ({"how": "credit", "account": "ACCOUNT", "worth": "1 USD"}, "WORTH is said in RUB"),
    "another sum than came": ({"how": "credit", "account": "ACCOUNT", "worth": "101 RUB"}, "counts for 100.00 RUB"),
    "no reason": ({"how": "given-back", "reason": "because"}, "REASON must say"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_wrong_is_told_and_changes_nothing(
    db: Database, stray: Stray, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    given, words = WRONG[name]
    assert stray.run(**given) == 2
    assert words in capsys.readouterr().err
    assert await resolution(db) == "-"


async def test_stars_that_were_withdrawn_are_paid_out(db: Database, stray: Stray) -> None:
    """What Telegram's list says left; what arrived, the operator says."""
    line = {"id": "stx1", "amount": 50, "date": 1, "receiver": {"type": "fragment"}}
    event = stars.event_of(line, json.dumps(line).encode(), "sweep", "c")
    number = str((await db.run(inbox.receive, event, PRICES)).event_id)
    assert stray.run(how="paid-out", paid="60.00 RUB") == 2, "an event of another kind"
    assert stray.run(how="paid-out", event=number) == 2
    assert stray.run(how="paid-out", event=number, paid="60.00 RUB") == 0
    assert stray.run(how="owners", event=number) == 2, "it ended before"
    found = await db.run(
        lambda tx: tx.values(
            "select amount from ledger_entries e join ledger_transfers t on"
            " t.id = e.transfer_id where t.kind = 'payout' order by amount"
        )
    )
    assert found == [6_000, 50 * 10**9]
