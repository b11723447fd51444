"""The command that gives a payment back: a dry run first, then once, by the exact amount."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
import pytest

from infra import environment, refund
from lib.domain import inbox, subscriptions
from lib.payments import registry
from tests.integration.domain.test_refunds import PRICES, bought, count, entries, went_back
from tests.integration.infra.test_end_suspense import OWNER, Found

if TYPE_CHECKING:
    from lib.db import Database


def run(sold: int, *, env: str = "local", **words: str) -> int:
    given = {"order": str(sold), "operator": str(OWNER), "reason": "as the customer wrote"} | words
    return refund.main(["--env", env, *(word for name, value in given.items() for word in (f"--{name}", value))])


@pytest.fixture
async def sold(db: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> int:
    order, _ = await bought(db)
    monkeypatch.setattr(environment, "load", lambda name: Found(database_url, name))
    return order.id


@pytest.mark.proves("N-33")
@pytest.mark.parametrize(
    ("words", "posted"),
    [
        ({"how": "balance", "access": "end"}, ["refunds>user:topped_up 14900 RUB"]),
        ({"how": "bank", "paid": "149 RUB", "fee": "5 RUB"}, ["refunds>bank 14900 RUB", "provider_fees>bank 500 RUB"]),
        ({"how": "chargeback"}, ["chargebacks>clearing:card 14900 RUB"]),
    ],
    ids=["balance", "bank", "chargeback"],
)
async def test_a_dry_run_comes_first_and_changes_nothing(
    db: Database, sold: int, capsys: pytest.CaptureFixture[str], words: dict[str, str], posted: list[str]
) -> None:
    before = await db.run(count, "ledger_transfers")
    assert run(sold, **words) == 0
    assert 'AMOUNT="149.00 RUB"' in capsys.readouterr().out
    assert run(sold, **words, amount="148.00 RUB") == 2
    assert await db.run(count, "ledger_transfers") == before
    assert await db.run(count, "audit_log") == 0
    assert run(sold, **words, amount="149.00 RUB") == 0
    assert await db.run(entries) == posted
    assert await db.run(count, "audit_log") == 1
    assert await db.run(count, "refund_requests") == 0
    assert run(sold, **words, amount="149.00 RUB") == 2, "once"
    account = await db.run(lambda tx: tx.value("select account_id from payments"))
    held = await db.run(subscriptions.current, account)
    assert held is not None
    assert held.is_current == ("access" not in words)


async def test_a_return_told_in_another_currency_is_booked_as_its_charge_and_waits_no_more(
    db: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, charge = await bought(db)
    monkeypatch.setattr(environment, "load", lambda name: Found(database_url, name))
    news = await db.run(inbox.receive, went_back(charge, "re-1", amount=5_000, currency="USD"), PRICES)
    assert (news.outcome, news.reason) == ("unmatched", "not in the currency of its charge")
    words = {"order": "", "event": str(news.event_id), "how": "chargeback"}
    assert run(0, **words) == 0, "a dry run"
    assert await db.run(count, "refunds") == 0
    assert run(0, **words, amount="149.00 RUB") == 0
    assert await db.run(entries) == ["refunds>clearing:card 14900 RUB"]
    ended = await db.run(lambda tx: tx.value("select resolution from payment_events where id = :id", id=news.event_id))
    assert ended == "refunded"
    assert run(0, **words, amount="149.00 RUB") == 2, "once"


async def test_a_provider_that_gives_back_is_asked_once(
    db: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    order, _ = await bought(db, "stars")
    monkeypatch.setattr(environment, "load", lambda name: Found(database_url, name))
    assert run(order.id, how="provider") == 0
    said = re.search('AMOUNT="(.+)"', capsys.readouterr().out)
    assert said is not None
    assert await db.run(count, "refund_requests") == 0
    assert run(order.id, how="provider", amount=said[1]) == 0
    assert await db.run(count, "refund_requests") == 1
    assert run(order.id, how="provider", amount=said[1]) == 2, "once"


def test_it_knows_which_providers_give_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "123456:" + "A" * 35)
    able = {name for name, one in registry.providers("local").items() if one.gives_back(httpx.AsyncClient) is not None}
    assert able == refund.GIVE_BACK


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"how": "cash"}, "HOW must be"),
        ({"how": "bank"}, "PAID is not given"),
        ({"how": "balance", "paid": "1 RUB"}, "PAID is nothing"),
        ({"how": "balance", "event": "1"}, "either ORDER or EVENT"),
        ({"how": "balance", "access": "stop"}, "ACCESS must be"),
        ({"how": "balance", "reason": "short"}, "REASON must"),
        ({"how": "balance", "order": "0"}, "ORDER must"),
        ({"how": "wallet"}, "not by wallet"),
        ({"how": "provider"}, "card gives nothing back"),
        ({"how": "balance", "order": "99"}, "no payment settled"),
        ({"how": "balance", "env": "dev"}, "belongs to environment local"),
        ({"how": "balance", "operator": "5"}, "may not"),
        ({"how": "bank", "paid": "148.99 RUB", "amount": "149.00 RUB"}, "149.00 RUB are given back: all of it"),
        ({"how": "bank", "paid": "149 RUB", "fee": "500 RUB"}, "FEE is more than PAID"),
        ({"how": "bank", "paid": "149 RUB", "fee": "5 USDT"}, "FEE is said in RUB, as PAID is"),
        ({"how": "bank", "paid": "-149 RUB"}, "PAID: must be an amount"),
    ],
)
async def test_what_can_not_be_is_refused_in_words(
    db: Database, sold: int, capsys: pytest.CaptureFixture[str], words: dict[str, str], why: str
) -> None:
    assert run(sold, **words) == 2
    assert why in capsys.readouterr().err
    assert await db.run(count, "refunds") == 0
