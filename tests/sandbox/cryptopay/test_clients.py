"""Three clients of other people, each in a process of its own, do everything that they can against the stand-in.

They live in an environment of their own (tests/sandbox/cryptopay/clients/requirements.txt, `.venv-clients`). Two of them turn
amounts into floats, so what is said of money here is also read off the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.cryptopay.rates import FIATS, assets_of, price
from sandbox.stand_in.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Message, Receive, Scope, Send

    from sandbox.cryptopay import CryptoPay
    from tests.sandbox.cryptopay.conftest import Shop

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".venv-clients" / "bin" / "python"
TOKEN = "12345:AAtest-token"
MONEY = ("amount", "available", "onhold", "rate", "volume", "conversion", "paid_amount", "fee_amount", "fee_in_usd")
PATIENCE_S = 60


class Wire:
    """The stand-in's application with what it answered: (method, result), oldest first."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.answers: list[tuple[str, Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""

        async def passed_on(message: Message) -> None:
            nonlocal body
            body += message.get("body", b"")
            await send(message)

        await self.app(scope, receive, passed_on)
        self.answers.append((scope["path"].rpartition("/")[2], json.loads(body).get("result")))


class Script:
    """A client's script, talked to a line at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        async with asyncio.timeout(PATIENCE_S):
            line = await self._process.stdout.readline()
            if not line:
                pytest.fail((await self._process.stderr.read()).decode())
        heard: dict[str, Any] = json.loads(line, parse_float=Decimal)
        return heard

    async def tell(self, **said: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(said).encode() + b"\n")
        await self._process.stdin.drain()


@pytest.fixture
def environment() -> None:
    """The clients' environment; a machine without it skips by name, CI fails."""
    if not PYTHON.exists():
        missing = (
            "other people's Crypto Pay clients: no .venv-clients (tests/sandbox/cryptopay/clients/requirements.txt)"
        )
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(missing)
        pytest.skip(missing)


@contextlib.asynccontextmanager
async def running(library: str, url: str) -> AsyncIterator[Script]:
    process = await asyncio.create_subprocess_exec(
        *(str(PYTHON), "-m", f"tests.sandbox.cryptopay.clients.{library}", url, TOKEN),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},  # no proxy comes between
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Script(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined] # its pipes, which nothing else closes in time


def money_in(answer: Any) -> list[Any]:
    """Every amount in an answer, at any depth."""
    if isinstance(answer, list):
        return [money for one in answer for money in money_in(one)]
    if not isinstance(answer, dict):
        return []
    found = [value for name, value in answer.items() if name in MONEY]
    return found + [money for value in answer.values() for money in money_in(value)]


def decimals(values: list[Any]) -> list[Decimal]:
    return [Decimal(value) for value in values]


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("library", ["aiosend", "aiocryptopay", "pycryptopayapi"])
async def test_a_foreign_client_runs_its_whole_life(shop: Shop, library: str) -> None:
    wire = Wire(shop.pay.app)
    server = Server(wire)
    await server.start()
    shop.pay.public_url = server.url
    try:
        async with running(library, server.url) as script:
            await _life(shop, script)
    finally:
        await server.stop()
    _wire(wire)


async def _life(shop: Shop, script: Script) -> None:
    pay = shop.pay
    made = await script.hear()
    _made(pay, made)
    crypto, fiat = pay.invoices[1], pay.invoices[2]

    await pay.pay(1, "TON", payer=7, webhook=False)
    paid = await pay.pay(2, "USDT", payer=8)
    pay.methods.transfers_enabled = True
    await pay.idle()
    ((headers, body),) = shop.application.got
    assert "Тариф «plus» / 30".encode() in body
    await script.tell(body=body.decode(), signature=headers["crypto-pay-api-signature"])
    after = await script.hear()
    _webhook(after, paid)
    assert (after["crypto"]["status"], after["fiat"]["status"]) == ("paid", "paid")
    for told, asked in ((after["crypto"], crypto), (after["fiat"], fiat)):
        assert told["id"] == asked["invoice_id"]
        assert decimals(told["paid"][1:]) == decimals(
            [pay.invoices[told["id"]][name] for name in ("paid_amount", "fee_amount")]
        )
    assert after["paid"] == [2, 1]
    assert (after["deleted"], after["gone"], sorted(pay.invoices)) == (True, True, [1, 2])
    _books(pay, after)

    pay.suspended = True
    await script.tell()
    last = await script.hear()
    assert last["suspended"][0] == 423
    assert last["wrong_token"] == [401, "UNAUTHORIZED"]


def _made(pay: CryptoPay, made: dict[str, Any]) -> None:
    assert made["bot"] == "CryptoTestnetBot"
    crypto, fiat = made["crypto"], made["fiat"]
    assert (crypto["id"], crypto["currency"], crypto["status"], crypto["payload"]) == (1, "TON", "active", "crypto")
    assert (fiat["id"], fiat["currency"], fiat["status"], fiat["payload"]) == (2, "RUB", "active", "fiat")
    assert decimals([crypto["amount"], fiat["amount"]]) == [Decimal("2.6"), Decimal("299.5")]
    assert fiat["url"] == pay.invoices[2]["bot_invoice_url"]
    assert pay.invoices[2]["accepted_assets"] == ["USDT", "TON"]
    assert pay.invoices[2]["description"] == "Тариф «plus» / 30"
    assert pay.invoices[2]["expiration_date"] > pay.invoices[2]["created_at"]
    assert made["active"] == [2, 1]
    assert made["transfer_off"] == [403, "METHOD_DISABLED"]


def _webhook(after: dict[str, Any], paid: dict[str, Any]) -> None:
    assert (after["verified"], after["forged"]) == (True, False)
    (event,) = after["webhook"]
    assert (event["id"], event["status"], event["paid"][0]) == (2, "paid", "USDT")
    assert Decimal(event["amount"]) == Decimal("299.5")
    assert decimals(event["paid"][1:]) == decimals([paid["paid_amount"], paid["fee_amount"]])


def _books(pay: CryptoPay, after: dict[str, Any]) -> None:
    net = {number: Decimal(one["paid_amount"]) - Decimal(one["fee_amount"]) for number, one in pay.invoices.items()}
    assert decimals(after["balance"]["TON"]) == [net[1] - Decimal("0.5"), Decimal("0.5")]
    assert decimals(after["balance"]["USDT"]) == [net[2], Decimal(0)]
    assert Decimal(after["rate"]) == price("TON", "RUB")
    assert after["currencies"] == [*assets_of("test"), *FIATS]
    assert decimals(after["sent"]) == [1, 1, 1]  # twice with one spend_id: one transfer
    assert after.get("spend_ids", ["s-1"]) == ["s-1"]
    assert after.get("transfers", [1]) == [1]
    assert (Decimal(after["check"][0]), after["check"][1]) == (Decimal("0.5"), "active")
    assert (after["checks"], after["check_deleted"]) == ([1], True)
    assert pay.methods.available("TON") == net[1] - 1
    assert after["stats"][:2] == [2, 2]
    each = (Decimal(one["paid_amount"]) * Decimal(one["paid_usd_rate"]) for one in pay.invoices.values())
    worth = sum(each, Decimal(0))
    assert Decimal(after["stats"][2]).quantize(Decimal("0.000001")) == worth.quantize(Decimal("0.000001"))


def _wire(wire: Wire) -> None:
    """Whatever a library made of them: on the wire every amount was a decimal string."""
    for method in (
        *("createInvoice", "getInvoices", "getBalance", "getExchangeRates"),
        *("getStats", "transfer", "getTransfers", "createCheck", "getChecks"),
    ):
        assert money_in([result for name, result in wire.answers if name == method]), method
    for money in money_in([result for _, result in wire.answers]):
        assert isinstance(money, str)
        assert "e" not in money.lower()
        assert Decimal(money) >= 0
