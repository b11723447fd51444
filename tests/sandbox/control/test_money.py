"""What the control page does with money at the providers: each button, and each request that makes no sense in words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from zoneinfo import ZoneInfo

import httpx
import pytest
from starlette.responses import JSONResponse

from lib.payments import card_statement
from sandbox.control.active_faults import _of_cryptopay, _of_stars
from sandbox.control.asking import RefusedError
from sandbox.control.money import Money
from sandbox.cryptopay import CryptoPay
from sandbox.stand_in.clock import Clock
from sandbox.stand_in.server import Server
from sandbox.telegram import Telegram

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from sandbox.system.system import System

_TOKEN = "42:TEST"
_CARD = "381764678:TEST:1"
_PURCHASE = "0f8fad5b-d9cb-469f-a165-70867728950e"
_OFFER: dict[str, Any] = {"title": "30 days", "description": "Three devices", "payload": _PURCHASE}


class _Bot:
    """Says yes to every checkout, and keeps what it is told."""

    def __init__(self) -> None:
        self.updates: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        update = json.loads(body)
        self.updates.append(update)
        query = update.get("pre_checkout_query")
        answer = {"method": "answerPreCheckoutQuery", "pre_checkout_query_id": query["id"], "ok": True} if query else {}
        await JSONResponse(answer)(scope, receive, send)


@dataclass
class _Desk:
    money: Money
    system: System
    bot: _Bot

    async def press(self, button: str, body: dict[str, Any], **path: str) -> str:
        """What is said after the button was pressed."""

        async def sent() -> bytes:
            return json.dumps(body).encode()

        request = cast("Request", SimpleNamespace(path_params=path, body=sent))
        return str((await getattr(self.money, button)(request))["said"])

    async def invoice(self, amount: str = "149", **asked: Any) -> int:
        params = {"currency_type": "fiat", "fiat": "RUB", "amount": amount, "payload": "order-1"} | asked
        return int((await self.system.cryptopay.call("createInvoice", params))["invoice_id"])

    async def charged(self, currency: str) -> str:
        """Anna pays; the charge's id."""
        token = {} if currency == "XTR" else {"provider_token": _CARD}
        amount = 50 if currency == "XTR" else 14_900
        offer = _OFFER | token | {"currency": currency, "prices": [{"label": "a", "amount": amount}]}
        link = await _call(self.system.telegram, "createInvoiceLink", offer)
        paid = await self.system.telegram.user(1001, "Anna").pay_link(link)
        assert paid.status == "paid", paid
        return paid.charge_ids[0]


async def _call(telegram: Telegram, method: str, parameters: dict[str, Any]) -> Any:
    transport = httpx.ASGITransport(telegram.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = (await client.post(f"/bot{_TOKEN}/{method}", json=parameters)).json()
    assert answer["ok"], answer
    return answer["result"]


@pytest.fixture
async def desk() -> AsyncIterator[_Desk]:
    bot, clock = _Bot(), Clock()
    server = Server(bot)
    await server.start()
    telegram = Telegram(_TOKEN, "atlas_bot", clock, provider_tokens=[_CARD])
    cryptopay = CryptoPay(["1:token"], clock=clock, retry_after=[])
    system = SimpleNamespace(cryptopay=cryptopay, telegram=telegram, messenger=SimpleNamespace(real=False))
    await telegram.start()
    await cryptopay.start()
    await _call(telegram, "setWebhook", {"url": server.url})
    yield _Desk(Money(cast("System", system)), cast("System", system), bot)
    await cryptopay.stop()
    await telegram.stop()
    telegram.close()
    await server.stop()


@pytest.mark.parametrize(
    ("what", "amount", "came"),
    [
        ("pay", "149", "149 RUB"),
        ("more", "149", "199 RUB"),
        ("less", "149", "74.5 RUB"),
        ("less", "0.02", "0.01 RUB"),
        ("foreign", "149", "149 USD"),
    ],
)
async def test_an_invoice_is_paid_as_agreed_or_not(desk: _Desk, what: str, amount: str, came: str) -> None:
    number = await desk.invoice(amount)
    said = await desk.press("invoice", {"id": number}, what=what)
    assert said.startswith(f"{came} paid by invoice 1, with ")
    [row] = desk.money.state()["invoices"]
    assert (row["amount"], row["status"], row["purchase"]) == (came, "paid", "order-1")
    assert row["paid_with"].endswith(" USDT")
    assert row["fee"]


async def test_dollars_are_answered_with_euros(desk: _Desk) -> None:
    number = await desk.invoice("5", fiat="USD")
    assert "5 EUR" in await desk.press("invoice", {"id": number}, what="foreign")


async def test_what_is_paid_is_paid_again_by_another_invoice(desk: _Desk) -> None:
    number = await desk.invoice()
    with pytest.raises(RefusedError, match="only what is paid is paid again"):
        await desk.press("invoice", {"id": number}, what="again")
    await desk.press("invoice", {"id": number}, what="pay")
    assert "invoice 2" in await desk.press("invoice", {"id": number}, what="again")
    newest, first = desk.money.state()["invoices"]
    assert (newest["id"], newest["purchase"], newest["amount"]) == (2, first["purchase"], first["amount"])


_BAD_INVOICES: list[tuple[str, dict[str, Any], str]] = [
    ("pay", {"id": 7}, "no invoice 7"),
    ("pay", {}, "whole number"),
    ("pay", {"id": "1"}, "whole number"),
    ("pay", {"id": True}, "whole number"),
    ("pay", {"id": 1.0}, "whole number"),
    ("pay", {"id": -1}, "not between"),
    ("pay", {"id": 10**400}, "not between"),
    ("burn", {"id": 1}, "not 'burn'"),
    ("more", {"id": 2}, "no fiat money"),
    ("less", {"id": 3}, "no less than 0.01"),
    ("more", {"id": 4}, "is paid"),
    ("pay", {"id": 4}, "is paid"),
]


async def test_an_invoice_that_can_not_be_paid_so_is_refused_in_words(desk: _Desk) -> None:
    await desk.invoice()
    await desk.system.cryptopay.call("createInvoice", {"asset": "USDT", "amount": "1"})
    await desk.invoice("0.01")
    await desk.system.cryptopay.pay(await desk.invoice())
    before = desk.system.cryptopay.invoices
    for what, body, why in _BAD_INVOICES:
        with pytest.raises(RefusedError, match=why):
            await desk.press("invoice", body, what=what)
        assert desk.system.cryptopay.invoices == before, (what, body)


async def test_a_refund_from_outside_is_told_and_a_chargeback_is_not(desk: _Desk) -> None:
    first, second = await desk.charged("XTR"), await desk.charged("XTR")
    await desk.system.telegram.idle()
    assert "told of it" in await desk.press("charge", {"id": first}, what="refund")
    await desk.system.telegram.idle()
    told = len(desk.bot.updates)
    assert "refunded_payment" in desk.bot.updates[-1]["message"]
    assert "list of transactions" in await desk.press("charge", {"id": second}, what="chargeback")
    await desk.system.telegram.idle()
    assert len(desk.bot.updates) == told
    state = desk.money.state()
    assert [bool(row["returned"]) for row in state["charges"]] == [True, True]
    assert [(row["provider"], row["says"]) for row in state["provider_balances"]] == [("stars", "0 XTR")]
    for what in ("refund", "chargeback"):
        with pytest.raises(RefusedError, match="CHARGE_ALREADY_REFUNDED"):
            await desk.press("charge", {"id": first}, what=what)
    assert "a second time" in await desk.press("charge", {"id": first}, what="second-debit")
    assert [row["says"] for row in desk.money.state()["provider_balances"]] == ["-50 XTR"]


async def test_of_a_cards_chargeback_the_statement_alone_tells(desk: _Desk) -> None:
    charge = await desk.charged("RUB")
    [row] = desk.money.state()["charges"]
    assert (row["who"], row["method"], row["amount"], row["returned"]) == ("Anna", "card", "149.00 RUB", "")
    with pytest.raises(RefusedError, match="provider's statement"):
        await desk.press("charge", {"id": charge}, what="refund")
    assert "provider's statement" in await desk.press("charge", {"id": charge}, what="chargeback")
    await desk.charged("XTR")
    read = card_statement.read(desk.money.card_statement().encode(), currency="RUB", zone=ZoneInfo("Europe/Moscow"))
    assert read.broken == ()
    [came] = [line for line in read.lines if line.kind == "charge"]
    [back] = [line for line in read.lines if line.kind == "chargeback"]
    [paid] = [one for one in desk.system.telegram.payments.charges if one.currency == "RUB"]
    assert (came.id, came.amount, came.fee, came.at) == (
        paid.provider_charge_id,
        14_900,
        417,
        datetime.fromtimestamp(paid.date, UTC),
    )
    assert (back.charge, back.amount) == (paid.provider_charge_id, 14_900)


_BAD_CHARGES: list[tuple[str, dict[str, Any], str]] = [
    ("refund", {"id": "none"}, "no such charge"),
    ("refund", {}, "text is needed"),
    ("refund", {"id": 5}, "text is needed"),
    ("burn", {"id": ""}, "text is needed"),
    ("second-debit", {"id": "none"}, "no such charge"),
]


async def test_a_charge_that_is_none_or_meets_nothing_known_is_refused_in_words(desk: _Desk) -> None:
    charge = await desk.charged("XTR")
    for what, body, why in [
        *_BAD_CHARGES,
        ("burn", {"id": charge}, "not 'burn'"),
        ("second-debit", {"id": charge}, "only Stars that went back"),
    ]:
        with pytest.raises(RefusedError, match=why):
            await desk.press("charge", body, what=what)
    assert [row["returned"] for row in desk.money.state()["charges"]] == [""]


async def test_a_balance_that_is_off_is_a_fault_until_all_is_well(desk: _Desk) -> None:
    await desk.charged("XTR")
    await desk.press("invoice", {"id": await desk.invoice()}, what="pay")
    exact = [row["says"] for row in desk.money.state()["provider_balances"]]
    assert "one of" not in await desk.press("balance", {"off": 1}, provider="stars")
    assert "-1" in await desk.press("balance", {"off": -1}, provider="cryptobot")
    stars, usdt = desk.money.state()["provider_balances"]
    assert (stars["says"], stars["off"], usdt["off"]) == ("50.000000001 XTR", 1, -1)
    assert usdt["says"] != exact[1]
    assert [*_of_stars(desk.system)] == ["Telegram says +1 nanostars of its balance"]
    assert [*_of_cryptopay(desk.system)] == ["Crypto Pay says -1 of the last digit of each balance"]
    for provider in ("stars", "cryptobot"):
        assert "what it holds" in await desk.press("balance", {"off": 0}, provider=provider)
    assert [row["says"] for row in desk.money.state()["provider_balances"]] == exact
    assert [*_of_stars(desk.system), *_of_cryptopay(desk.system)] == []


_BAD_BALANCES: list[tuple[str, dict[str, Any], str]] = [
    ("card", {"off": 1}, "no balance of 'card'"),
    ("stars", {"off": 0.5}, "whole number"),
    ("stars", {"off": "1"}, "whole number"),
    ("stars", {"off": 1001}, "not between"),
    ("cryptobot", {"off": -1001}, "not between"),
    ("cryptobot", {}, "whole number"),
]


async def test_a_balance_that_is_not_to_be_had_is_refused_in_words(desk: _Desk) -> None:
    for provider, body, why in _BAD_BALANCES:
        with pytest.raises(RefusedError, match=why):
            await desk.press("balance", body, provider=provider)
    assert [*_of_stars(desk.system), *_of_cryptopay(desk.system)] == []


async def test_the_real_telegram_takes_no_orders(desk: _Desk) -> None:
    system = cast("System", SimpleNamespace(cryptopay=desk.system.cryptopay, messenger=SimpleNamespace(real=True)))
    real = _Desk(Money(system), system, desk.bot)
    await real.press("invoice", {"id": await real.invoice()}, what="pay")
    state = real.money.state()
    assert state["charges"] == []
    assert real.money.card_statement().count("\n") == 1, "titles alone"
    assert [row["provider"] for row in state["provider_balances"]] == ["cryptobot"]
    with pytest.raises(RefusedError, match="real Telegram"):
        await real.press("charge", {"id": "1"}, what="refund")
    with pytest.raises(RefusedError, match="no balance of 'stars'"):
        await real.press("balance", {"off": 1}, provider="stars")
