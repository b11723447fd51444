"""The account: its network, suspension, what is off, statistics, standing faults, what a payer may and may not do."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.cryptopay import InvoiceError, Standing
from sandbox.cryptopay.rates import text_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sandbox.cryptopay.conftest import Shop


async def test_a_token_is_of_one_network(make_shop: Callable[..., Any]) -> None:
    main = await make_shop(network="main", tokens=["1:main"])
    test = await make_shop(network="test", tokens=["2:test"])
    for shop, token, bot in ((main, "1:main", "CryptoBot"), (test, "2:test", "CryptoTestnetBot")):
        shop.http.headers["Crypto-Pay-API-Token"] = token
        me = await shop.call("getMe")
        assert me == {"app_id": int(token[0]), "name": "Sandbox", "payment_processing_bot_username": bot}
    main.http.headers["Crypto-Pay-API-Token"] = "2:test"
    test.http.headers["Crypto-Pay-API-Token"] = "1:main"
    for shop in (main, test):
        assert await shop.refused("getMe") == (401, "UNAUTHORIZED")


async def test_the_test_network_alone_has_its_coin(make_shop: Callable[..., Any]) -> None:
    main, test = await make_shop(network="main"), await make_shop(network="test")
    assert await main.refused("createInvoice", asset="JET", amount="1") == (400, "ASSET_INVALID")
    assert (await test.call("createInvoice", asset="JET", amount="1"))["asset"] == "JET"
    for method, name in (("getBalance", "currency_code"), ("getExchangeRates", "source"), ("getCurrencies", "code")):
        assert "JET" not in {row[name] for row in await main.call(method)}
        assert "JET" in {row[name] for row in await test.call(method)}
    assert "JET" not in (await main.invoice())["accepted_assets"]


async def test_a_suspended_account_is_locked_and_stays_so(make_shop: Callable[..., Any], tmp_path: Path) -> None:
    store = tmp_path / "pay.sqlite"
    first = await make_shop(store=store)
    await first.invoice()
    first.pay.suspended = True
    await first.pay.stop()
    second = await make_shop(store=store)
    for method in ("getMe", "createInvoice", "getInvoices", "transfer"):
        assert await second.refused(method) == (423, "ACCOUNT_SUSPENDED")
    second.http.headers["Crypto-Pay-API-Token"] = "1:wrong"
    assert await second.refused("getMe") == (401, "UNAUTHORIZED")
    second.pay.suspended = False
    second.http.headers["Crypto-Pay-API-Token"] = first.pay.tokens[0]
    assert len((await second.call("getInvoices"))["items"]) == 1


@pytest.mark.parametrize("method", ["getPayments", "confirmPayment", "GetMe", "getMe2"])
async def test_what_the_api_does_not_have_is_a_405(shop: Shop, method: str) -> None:
    assert await shop.refused(method) == (405, "METHOD_NOT_FOUND")


async def test_statistics_count_a_time_and_its_people(shop: Shop) -> None:
    await shop.call("createInvoice", asset="USDT", amount="10")
    await shop.pay.pay(1, payer=1)
    shop.clock.travel(timedelta(days=2))
    for number, payer in ((2, 1), (3, 1), (4, 2)):
        await shop.call("createInvoice", asset="USDT", amount="10")
        await shop.pay.pay(number, payer=payer)
    await shop.call("createInvoice", asset="USDT", amount="10")
    told = await shop.call("getStats")
    assert {name: told[name] for name in told if not name.endswith("_at")} == {
        "volume": "30.006",
        "conversion": "0.75",
        "unique_users_count": 2,
        "created_invoice_count": 4,
        "paid_invoice_count": 3,
    }
    lasted = datetime.fromisoformat(told["end_at"]) - datetime.fromisoformat(told["start_at"])
    assert lasted == timedelta(days=1)
    all_time = await shop.call("getStats", start_at=(shop.clock.now() - timedelta(days=3)).isoformat())
    assert (all_time["paid_invoice_count"], Decimal(all_time["volume"])) == (4, Decimal("40.008"))
    early = str(shop.clock.now() - timedelta(days=1))  # with a blank, as a library sends it
    first_day = await shop.call("getStats", start_at="2020-01-01", end_at=early)
    assert (first_day["created_invoice_count"], first_day["unique_users_count"]) == (1, 1)
    assert first_day["start_at"] == "2020-01-01T00:00:00.000Z"


async def test_statistics_of_nothing_and_of_nonsense(shop: Shop) -> None:
    told = await shop.call("getStats")
    assert (told["volume"], told["conversion"], told["created_invoice_count"]) == ("0", "0", 0)
    assert await shop.refused("getStats", start_at="yesterday") == (400, "START_AT_INVALID")
    before_time = await shop.refused("getStats", start_at="0001-01-01T00:00:00+14:00")
    assert before_time == (400, "START_AT_INVALID")
    assert await shop.refused("getStats", end_at=[1]) == (400, "END_AT_INVALID")
    later = (shop.clock.now() + timedelta(days=9)).isoformat()
    assert await shop.refused("getStats", start_at=later) == (400, "START_AT_INVALID")


async def test_some_calls_are_answered_429(shop: Shop) -> None:
    shop.pay.faults.dice = random.Random(4)  # noqa: S311 -- the same refusals each time
    shop.pay.faults.standing = Standing(refused=0.3)
    answers = [(await shop.http.post("/api/getMe")).status_code for _ in range(100)]
    assert set(answers) == {200, 429}
    assert 15 < answers.count(429) < 45
    shop.pay.faults.standing = Standing()
    assert {(await shop.http.post("/api/getMe")).status_code for _ in range(20)} == {200}


async def test_listings_have_holes_end_early_and_hold_rows_of_another_shop(shop: Shop) -> None:
    for _ in range(20):
        await shop.call("createInvoice", asset="USDT", amount="1")
    ours = set(range(1, 21))

    async def listed(**wrong: float) -> list[set[int]]:
        shop.pay.faults.dice = random.Random(4)  # noqa: S311 -- the same each time
        shop.pay.faults.standing = Standing(**wrong)  # type: ignore[arg-type] # shares
        found = [(await shop.call("getInvoices"))["items"] for _ in range(20)]
        return [{item["invoice_id"] for item in items} for items in found]

    holes = await listed(missing=0.3)
    assert all(one < ours for one in holes)
    assert set[int]().union(*holes) == ours, "another row each time"
    short = await listed(short=0.5)
    assert ours in short
    assert all(one == set(range(20, 20 - len(one), -1)) for one in short), "what is listed begins as it should"
    foreign = await listed(foreign=0.5)
    assert all(one >= ours for one in foreign)
    assert ours in foreign
    assert any(one > ours for one in foreign)
    assert await listed() == [ours] * 20


@pytest.mark.parametrize(
    "wrong",
    [
        {"balance_off": 1001},
        {"balance_off": -1001},
        {"copies": 0},
        {"copies": 11},
        {"lost": 1.1},
        {"refused": -0.1},
        {"late_s": -1},
        {"lost": float("nan")},
    ],
)
def test_standing_faults_have_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"1 to 10|between|balance_off"):
        Standing(**wrong)


async def test_standing_faults_survive_a_restart(make_shop: Callable[..., Any], tmp_path: Path) -> None:
    store = tmp_path / "pay.sqlite"
    first = await make_shop(store=store)
    first.pay.faults.standing = Standing(copies=2, lost=0.1)
    await first.pay.stop()
    assert (await make_shop(store=store)).pay.faults.standing == Standing(copies=2, lost=0.1)


async def test_a_payer_may_do_what_the_invoice_allows(shop: Shop) -> None:
    await shop.invoice(allow_comments=False, allow_anonymous=False, hidden_message="the key")
    with pytest.raises(InvoiceError, match="comment"):
        await shop.pay.pay(1, comment="hi")
    with pytest.raises(InvoiceError, match="anonymously"):
        await shop.pay.pay(1, anonymously=True)
    assert shop.pay.invoices[1]["status"] == "active"
    paid = await shop.pay.pay(1)
    assert (paid["paid_anonymously"], "comment" in paid, paid["hidden_message"]) == (False, False, "the key")
    await shop.invoice()
    with pytest.raises(InvoiceError, match="comment"):
        await shop.pay.pay(2, comment="x" * 1025)
    paid = await shop.pay.pay(2, comment="x" * 1024)
    assert (paid["paid_anonymously"], len(paid["comment"])) == (True, 1024)


async def test_accepted_assets_are_for_fiat(shop: Shop) -> None:
    refused = await shop.refused("createInvoice", asset="TON", amount="1", accepted_assets="TON,BTC")
    assert refused == (400, "ACCEPTED_ASSETS_INVALID")


@pytest.mark.parametrize(
    "origin",
    ["127.0.0.1:8080", "http://a.example/", "http://a.example;x", "*", "javascript:1", "http://a.example 'self'"],
)
def test_only_an_origin_may_frame(shop: Shop, origin: str) -> None:
    with pytest.raises(ValueError, match="framed_by"):
        shop.pay.framed_by = origin


@pytest.mark.parametrize(
    ("asked", "asset"),
    [
        ({"asset": "BTC", "amount": "999999999999999999.123456789123456789"}, "BTC"),
        ({"asset": "BTC", "amount": "999999999999999999", "swap_to": "TRX"}, "BTC"),
        ({"currency_type": "fiat", "fiat": "USD", "amount": "999999999999999999"}, "JET"),
    ],
    ids=["crypto", "swapped", "fiat"],
)
async def test_the_greatest_amount_is_paid_and_booked_to_its_last_digit(
    shop: Shop, asked: dict[str, Any], asset: str
) -> None:
    made = await shop.call("createInvoice", **asked)
    assert (await shop.http.get(f"/invoice/{made['hash']}")).status_code == 200
    paid = await shop.pay.pay(made["invoice_id"], asset)
    exact = Context(prec=100)
    if "swap_to" in asked:
        asset, income = "TRX", Decimal(paid["swapped_output"])
    else:
        income = exact.subtract(Decimal(paid["paid_amount"]), Decimal(paid["fee_amount"]))
    small = await shop.call("createInvoice", asset=asset, amount="0.000000000000000001")
    await shop.pay.pay(small["invoice_id"], asset)
    balance = {row["currency_code"]: Decimal(row["available"]) for row in await shop.call("getBalance")}
    assert balance[asset] == exact.add(income, Decimal("0.000000000000000001"))
    worth = exact.multiply(Decimal(paid["paid_amount"]), Decimal(paid["paid_usd_rate"]))
    volume = Decimal((await shop.call("getStats"))["volume"])
    assert abs(exact.subtract(volume, worth)) < Decimal("0.0000001")


@pytest.mark.parametrize(("off", "said"), [(1, "97.000001"), (-1, "96.999999"), (0, "97")])
async def test_a_balance_is_off_by_its_last_digit_and_what_is_nothing_stays_nothing(
    shop: Shop, off: int, said: str
) -> None:
    await shop.call("createInvoice", asset="USDT", amount="100")
    await shop.pay.pay(1)
    shop.pay.faults.change(balance_off=off)
    told = {row["currency_code"]: row["available"] for row in await shop.call("getBalance")}
    assert told["USDT"] == said
    assert {amount for code, amount in told.items() if code != "USDT"} == {"0"}
    assert shop.pay.methods.available("USDT") == 97, "only what is said is wrong"


@pytest.mark.parametrize("instead", [("349", "RUB"), ("0.01", "RUB"), ("299", "USD")])
async def test_other_money_than_agreed_is_paid_and_told_of_everywhere(shop: Shop, instead: tuple[str, str]) -> None:
    made = await shop.invoice()
    paid = await shop.pay.pay(1, "TON", instead=instead)
    assert (paid["amount"], paid["fiat"]) == instead
    assert paid["payload"] == made["payload"]
    assert paid["paid_amount"] == text_of(shop.pay.invoice(1).cost("TON"))
    assert (await shop.call("getInvoices"))["items"] == [paid]
    await shop.pay.idle()
    assert json.loads(shop.application.got[0][1])["payload"].items() >= paid.items()


@pytest.mark.parametrize(
    "instead",
    [
        ("0", "RUB"),
        ("-1", "RUB"),
        ("1e3", "RUB"),
        ("NaN", "RUB"),
        ("\u0661", "RUB"),
        ("", "RUB"),
        ("1", "XTR"),
        ("1", "rub"),
    ],
)
async def test_what_is_no_fiat_money_changes_no_invoice(shop: Shop, instead: tuple[str, str]) -> None:
    made = await shop.invoice()
    with pytest.raises(InvoiceError, match=r"no amount|no fiat money"):
        await shop.pay.pay(1, instead=instead)
    with pytest.raises(InvoiceError, match="DOGE"):
        await shop.pay.pay(1, "DOGE", instead=("1", "RUB"))
    assert (await shop.call("getInvoices"))["items"] == [made]


async def test_an_invoice_in_crypto_is_paid_as_it_asks(shop: Shop) -> None:
    await shop.call("createInvoice", asset="USDT", amount="1")
    with pytest.raises(InvoiceError, match="asks for no fiat money"):
        await shop.pay.pay(1, instead=("1", "RUB"))


async def test_a_purchase_is_paid_again_by_a_second_invoice(shop: Shop) -> None:
    first = await shop.invoice(expires_in=60)
    await shop.pay.pay(1)
    second = await shop.pay.pay_again(1, "TON")
    assert (second["invoice_id"], second["status"], second["paid_asset"]) == (2, "paid", "TON")
    assert second["hash"] != first["hash"]
    assert {name: second[name] for name in ("payload", "amount", "fiat")} == {
        name: first[name] for name in ("payload", "amount", "fiat")
    }
    assert (await shop.invoice())["invoice_id"] == 3, "numbers go on"
    with pytest.raises(InvoiceError, match="DOGE"):
        await shop.pay.pay_again(1, "DOGE")
    assert set(shop.pay.invoices) == {1, 2, 3}, "what was refused leaves none"
