"""Transfers, checks and what is left: the balance adds up, nothing is sent twice, no user gets another's check."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.cryptopay import InvoiceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sandbox.cryptopay.conftest import Shop

SENT = {"user_id": 7, "asset": "USDT", "amount": "12.50", "spend_id": "order-1", "comment": "thanks"}


async def balance(shop: Shop, asset: str = "USDT") -> tuple[str, str]:
    rows = {row["currency_code"]: row for row in await shop.call("getBalance")}
    assert all(isinstance(row[name], str) for row in rows.values() for name in ("available", "onhold"))
    return rows[asset]["available"], rows[asset]["onhold"]


@pytest.fixture
async def rich(shop: Shop) -> Shop:
    """A shop that earned 97 USDT and may transfer."""
    await shop.call("createInvoice", asset="USDT", amount="100")
    await shop.pay.pay(1)
    shop.pay.methods.transfers_enabled = True
    assert await balance(shop) == ("97", "0")
    return shop


async def test_transfers_are_off_until_the_owner_allows_them(shop: Shop) -> None:
    assert await shop.refused("transfer", **SENT) == (403, "METHOD_DISABLED")
    assert await shop.call("getTransfers") == {"items": []}
    shop.pay.methods.transfers_enabled = True
    assert await shop.refused("transfer", **SENT) == (400, "NOT_ENOUGH_COINS")


async def test_a_transfer_is_complete_and_leaves_the_balance(rich: Shop) -> None:
    sent = await rich.call("transfer", **SENT)
    assert sent == {
        "transfer_id": 1,
        "user_id": 7,
        "asset": "USDT",
        "amount": "12.5",
        "status": "completed",
        "completed_at": sent["completed_at"],
        "comment": "thanks",
    }
    assert await rich.call("getTransfers") == {"items": [sent | {"spend_id": "order-1"}]}
    assert await balance(rich) == ("84.5", "0")


async def test_the_same_spend_id_sends_once_whatever_is_lost(rich: Shop) -> None:
    rich.pay.fail_next("transfer", done=True)  # it was sent, but the answer was lost
    assert await rich.refused("transfer", **SENT) == (500, "APP_ERROR")
    again = [await rich.call("transfer", **SENT) for _ in range(3)]
    assert [one["transfer_id"] for one in again] == [1, 1, 1]
    assert await balance(rich) == ("84.5", "0")
    for other in ({"amount": "13"}, {"user_id": 8}, {"comment": "no"}, {"asset": "TON"}):
        assert await rich.refused("transfer", **SENT | other) == (400, "SPEND_ID_ALREADY_USED")
    assert await balance(rich) == ("84.5", "0")
    assert (await rich.call("transfer", **SENT | {"spend_id": 2}))["transfer_id"] == 2


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"spend_id": "x" * 65}, "SPEND_ID_INVALID"),
        ({"spend_id": ""}, "SPEND_ID_INVALID"),
        ({"spend_id": None}, "SPEND_ID_INVALID"),
        ({"user_id": "anna"}, "USER_ID_INVALID"),
        ({"user_id": 0}, "USER_ID_INVALID"),
        ({"asset": "GOLD"}, "ASSET_INVALID"),
        ({"amount": "-1"}, "AMOUNT_INVALID"),
        ({"amount": "0.99"}, "AMOUNT_TOO_SMALL"),
        ({"amount": "25000"}, "AMOUNT_TOO_BIG"),
        ({"amount": "97.000001"}, "NOT_ENOUGH_COINS"),
        ({"comment": "x" * 1025}, "COMMENT_INVALID"),
        ({"disable_send_notification": "perhaps"}, "DISABLE_SEND_NOTIFICATION_INVALID"),
    ],
)
async def test_bad_transfers_are_refused_by_name(rich: Shop, changed: dict[str, Any], name: str) -> None:
    assert await rich.refused("transfer", **SENT | changed) == (400, name)
    assert await balance(rich) == ("97", "0")


async def test_the_longest_spend_id_and_all_of_the_balance_are_taken(rich: Shop) -> None:
    await rich.call("transfer", user_id=7, asset="USDT", amount="97", spend_id="д" * 64, disable_send_notification=True)
    assert await balance(rich) == ("0", "0")


async def test_transfers_are_found_by_id_asset_and_spend_id(rich: Shop) -> None:
    for number in range(1, 4):
        await rich.call("transfer", user_id=7, asset="USDT", amount="1", spend_id=f"s{number}")

    async def ids(**asked: Any) -> list[int]:
        return [one["transfer_id"] for one in (await rich.call("getTransfers", **asked))["items"]]

    assert await ids() == [3, 2, 1]
    assert await ids(transfer_ids="1,3,9") == [3, 1]
    assert await ids(spend_id="s2") == [2]
    assert await ids(asset="TON") == []
    assert await ids(offset=1, count=1) == [2]
    assert await rich.refused("getTransfers", transfer_ids="x") == (400, "TRANSFER_IDS_INVALID")


async def test_a_check_is_on_hold_until_it_is_taken(rich: Shop) -> None:
    made = await rich.call("createCheck", asset="USDT", amount="40.10")
    assert made == {
        "check_id": 1,
        "hash": made["hash"],
        "asset": "USDT",
        "amount": "40.1",
        "bot_check_url": f"http://127.0.0.1/check/{made['hash']}",
        "status": "active",
        "created_at": made["created_at"],
    }
    assert await balance(rich) == ("56.9", "40.1")
    assert await rich.refused("createCheck", asset="USDT", amount="57") == (400, "NOT_ENOUGH_COINS")
    await rich.pay.activate_check(1)
    assert await balance(rich) == ("56.9", "0")
    (taken,) = (await rich.call("getChecks", status="activated"))["items"]
    assert taken == made | {"status": "activated", "activated_at": taken["activated_at"]}
    with pytest.raises(InvoiceError, match="before"):
        await rich.pay.activate_check(1)
    assert await rich.refused("deleteCheck", check_id=1) == (400, "CHECK_ALREADY_ACTIVATED")


async def test_a_deleted_check_gives_its_coins_back_and_its_id_is_not_used_again(rich: Shop) -> None:
    await rich.call("createCheck", asset="USDT", amount="40")
    assert await rich.call("deleteCheck", check_id=1) is True
    assert await balance(rich) == ("97", "0")
    assert await rich.refused("deleteCheck", check_id=1) == (400, "CHECK_NOT_FOUND")
    with pytest.raises(InvoiceError, match="no check"):
        await rich.pay.activate_check(1)
    assert (await rich.call("createCheck", asset="USDT", amount="1"))["check_id"] == 2


async def test_a_pinned_check_is_for_no_other_user(rich: Shop) -> None:
    await rich.call("createCheck", asset="USDT", amount="1", pin_to_user_id=7)
    await rich.call("createCheck", asset="USDT", amount="1", pin_to_username="@Anna")
    for check, stranger in ((1, {"user_id": 8}), (2, {"user_id": 7}), (2, {"username": "boris"})):
        with pytest.raises(InvoiceError, match="another user"):
            await rich.pay.activate_check(check, **stranger)
    await rich.pay.activate_check(1, 7)
    await rich.pay.activate_check(2, 8, "anna")
    found = (await rich.call("getChecks", check_ids="1,2", asset="USDT", status="activated"))["items"]
    assert [check["check_id"] for check in found] == [2, 1]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"asset": "GOLD", "amount": "1"}, "ASSET_INVALID"),
        ({"asset": "USDT", "amount": "1e1"}, "AMOUNT_INVALID"),
        ({"asset": "USDT", "amount": "1", "pin_to_user_id": "x"}, "PIN_TO_USER_ID_INVALID"),
        ({"asset": "USDT", "amount": "1", "pin_to_username": "x" * 33}, "PIN_TO_USERNAME_INVALID"),
    ],
)
async def test_bad_checks_are_refused_by_name(rich: Shop, asked: dict[str, Any], name: str) -> None:
    assert await rich.refused("createCheck", **asked) == (400, name)
    assert await rich.refused("getChecks", status="expired") == (400, "STATUS_INVALID")


async def test_a_swap_turns_what_was_paid_into_the_asked_asset(shop: Shop) -> None:
    asked = await shop.call("createInvoice", asset="TON", amount="100", swap_to="BTC")
    assert (asked["swap_to"], "is_swapped" in asked) == ("BTC", False)
    paid = await shop.pay.pay(1, "TON")
    assert (paid["is_swapped"], paid["swapped_to"], paid["paid_asset"]) == (True, "BTC", "TON")
    names = ("swapped_rate", "swapped_output", "swapped_usd_rate", "swapped_usd_amount")
    assert all(isinstance(paid[name], str) for name in names)
    rate, output, usd, worth = (Decimal(paid[name]) for name in names)
    net = Decimal(paid["paid_amount"]) - Decimal(paid["fee_amount"])
    assert net * rate - Decimal("0.00000001") < output <= net * rate
    assert worth == (output * usd).quantize(Decimal("0.00000001"))
    assert worth <= net * Decimal(paid["paid_usd_rate"])
    assert await balance(shop, "BTC") == (paid["swapped_output"], "0")
    assert await balance(shop, "TON") == ("0", "0")


@pytest.mark.parametrize(("asset", "succeeds"), [("TON", False), ("USDT", True)])
async def test_a_swap_is_not_promised(shop: Shop, asset: str, *, succeeds: bool) -> None:
    await shop.invoice(swap_to="USDT")
    paid = await shop.pay.pay(1, asset, swap=succeeds)
    assert paid["is_swapped"] is False
    assert not [name for name in paid if name.startswith("swapped_")]
    assert Decimal((await balance(shop, asset))[0]) == Decimal(paid["paid_amount"]) - Decimal(paid["fee_amount"])


async def test_swaps_to_what_has_no_rate_here_are_not_modelled(shop: Shop) -> None:
    assert await shop.refused("createInvoice", asset="TON", amount="1", swap_to="SOL") == (501, "NOT_MODELLED_SWAP_TO")
    assert await shop.refused("createInvoice", asset="TON", amount="1", swap_to="GOLD") == (400, "SWAP_TO_INVALID")


async def test_books_survive_a_restart(make_shop: Callable[..., Any], tmp_path: Path) -> None:
    store = tmp_path / "pay.sqlite"
    first = await make_shop(store=store)
    await first.call("createInvoice", asset="USDT", amount="100")
    await first.pay.pay(1, payer=5)
    first.pay.methods.transfers_enabled = True
    await first.call("transfer", **SENT)
    await first.call("createCheck", asset="USDT", amount="10", pin_to_user_id=7)
    await first.call("createCheck", asset="USDT", amount="20")
    await first.call("deleteCheck", check_id=2)
    methods = ("getBalance", "getTransfers", "getChecks")
    before = [await first.call(method) for method in methods]
    await first.pay.stop()
    second = await make_shop(store=store)
    assert [await second.call(method) for method in methods] == before
    assert (await second.call("transfer", **SENT))["transfer_id"] == 1
    assert (await second.call("getStats"))["unique_users_count"] == 1
    assert (await second.call("createCheck", asset="USDT", amount="1"))["check_id"] == 3
    with pytest.raises(InvoiceError, match="another user"):
        await second.pay.activate_check(1, 8)
