"""Invoices, Stars and cards: what is refused, what both sides see, what is booked."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from starlette.responses import JSONResponse, Response

from sandbox.telegram.protocol.errors import ApiError
from tests.sandbox.telegram.conftest import PROVIDER, open_bench
from tests.waiting import until

if TYPE_CHECKING:
    import pathlib

    from tests.endpoint import Endpoint
    from tests.sandbox.telegram.conftest import Bench

STARS = {
    "title": "Atlas",
    "description": "30 days",
    "payload": "order-1",
    "currency": "XTR",
    "prices": [{"label": "30 days", "amount": 50}],
}
ROUBLES = STARS | {"currency": "RUB", "provider_token": PROVIDER, "prices": [{"label": "30 days", "amount": 29900}]}
PERIOD = 2_592_000


async def ready(bench: Bench, answer: dict[str, Any] | None = None) -> None:
    """Anna started the bot, whose webhook answers every pre-checkout as told (yes unless said)."""

    async def reply(update: dict[str, Any]) -> Response:
        query = update.get("pre_checkout_query")
        if query is None or answer == {}:
            return JSONResponse({})
        given = {"method": "answerPreCheckoutQuery", "pre_checkout_query_id": query["id"]}
        return JSONResponse(given | (answer or {"ok": True}))

    bench.hook.answer = reply
    await bench.set_webhook()
    await bench.telegram.user(777, "Anna").send("/start")


async def invoice(bench: Bench, **changed: Any) -> int:
    body = await bench.call("sendInvoice", chat_id=777, **(STARS | changed))
    assert body["ok"], body
    return int(body["result"]["message_id"])


async def link(bench: Bench, **changed: Any) -> str:
    body = await bench.call("createInvoiceLink", **(STARS | changed))
    assert body["ok"], body
    return str(body["result"])


async def received(bench: Bench, kind: str, field: str = "") -> list[dict[str, Any]]:
    """Everything of a kind the bot got, messages by what they carry."""
    await bench.telegram.idle()
    found = [update[kind] for update in bench.hook.updates if kind in update]
    return [content[field] for content in found if field in content] if field else found


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"title": ""}, 'parameter "title" is required'),
        ({"description": ""}, 'parameter "description" is required'),
        ({"payload": ""}, 'parameter "payload" is required'),
        ({"currency": ""}, 'parameter "currency" is required'),
        ({"prices": ""}, 'parameter "prices" is required'),
        ({"title": "x" * 33}, "wrong invoice information specified"),
        ({"description": "x" * 256}, "wrong invoice information specified"),
        ({"payload": "я" * 65}, "INVOICE_PAYLOAD_INVALID"),
        ({"prices": "{"}, "can't parse prices JSON object"),
        ({"prices": "{}"}, "expected an Array of labeled prices"),
        ({"prices": []}, "there must be at least one price"),
        ({"prices": [1]}, "can't parse labeled price: LabeledPrice must be an Object"),
        ({"prices": [{"amount": 1}]}, "can't parse labeled price: Can't find field \"label\""),
        ({"prices": [{"label": "", "amount": 1}]}, "can't parse labeled price: LabeledPrice label must be non-empty"),
        (
            {"prices": [{"label": "a", "amount": 0.5}]},
            "can't parse labeled price: Can't parse as an integer string \"0.5\"",
        ),
        ({"prices": [{"label": "a", "amount": 0}]}, "total price must be positive"),
        ({"prices": [{"label": "a", "amount": 1}] * 2}, "STARS_INVOICE_INVALID"),
        ({"prices": [{"label": "a", "amount": 100_001}]}, "CURRENCY_TOTAL_AMOUNT_INVALID"),
        ({"max_tip_amount": 5}, "STARS_INVOICE_INVALID"),
        ({"provider_token": PROVIDER}, "PAYMENT_PROVIDER_INVALID"),
        ({"currency": "XXX"}, "CURRENCY_INVALID"),
        ({"currency": "RUB"}, "PAYMENT_PROVIDER_INVALID"),
        ({"currency": "RUB", "provider_token": "1:LIVE:2"}, "PAYMENT_PROVIDER_INVALID"),
        ({"currency": "RUB", "provider_token": PROVIDER}, "CURRENCY_TOTAL_AMOUNT_INVALID"),
        (ROUBLES | {"max_tip_amount": -1}, "invalid max_tip_amount of the currency specified"),
        (ROUBLES | {"max_tip_amount": "much"}, 'can\'t parse "max_tip_amount" as Number'),
        (ROUBLES | {"suggested_tip_amounts": "["}, "can't parse suggested_tip_amounts JSON object"),
        (ROUBLES | {"suggested_tip_amounts": {}}, "expected an Array of suggested tip amounts"),
        (ROUBLES | {"suggested_tip_amounts": [None]}, "suggested tip amount must be of type Number or String"),
        (ROUBLES | {"suggested_tip_amounts": ["a"]}, "can't parse suggested tip amount as Number"),
        (
            ROUBLES | {"max_tip_amount": 5, "suggested_tip_amounts": [6]},
            "suggested tip amount can't be bigger than max_tip_amount",
        ),
    ],
)
async def test_invoices_are_refused(bench: Bench, changed: dict[str, Any], reason: str) -> None:
    await bench.telegram.user(777).send("/start")
    refusal = await bench.refusal("sendInvoice", chat_id=777, **(STARS | changed))
    assert refusal == f"Bad Request: {reason}"
    assert len(bench.telegram.user(777).messages) == 1


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"subscription_period": 3600}, "SUBSCRIPTION_PERIOD_INVALID"),
        (ROUBLES | {"subscription_period": PERIOD}, "SUBSCRIPTION_PERIOD_INVALID"),
        (
            {"subscription_period": PERIOD, "prices": [{"label": "a", "amount": 10_001}]},
            "CURRENCY_TOTAL_AMOUNT_INVALID",
        ),
        ({"business_connection_id": "x"}, "business connection not found"),
        ({"title": ""}, 'parameter "title" is required'),
    ],
)
async def test_links_are_refused(bench: Bench, changed: dict[str, Any], reason: str) -> None:
    assert await bench.refusal("createInvoiceLink", **(STARS | changed)) == f"Bad Request: {reason}"


@pytest.mark.parametrize(
    ("buttons", "reason"),
    [
        ([{"text": "a", "callback_data": "a"}], "REPLY_MARKUP_BUY_EMPTY"),
        ([{"text": "a", "callback_data": "a"}, {"text": "Pay", "pay": True}], "REPLY_MARKUP_BUY_EMPTY"),
        ([{"text": "Pay", "pay": True}, {"text": "Pay", "pay": True}], "BUTTON_POS_INVALID"),
    ],
)
async def test_only_the_first_button_of_an_invoice_pays(
    bench: Bench, buttons: list[dict[str, Any]], reason: str
) -> None:
    await bench.telegram.user(777).send("/start")
    refusal = await bench.refusal("sendInvoice", chat_id=777, reply_markup={"inline_keyboard": [buttons]}, **STARS)
    assert refusal == f"Bad Request: {reason}"


async def test_an_invoice_shows_what_it_sells(bench: Bench) -> None:
    await ready(bench)
    sent = (await bench.call("sendInvoice", chat_id=777, start_parameter="buy", **STARS))["result"]
    assert sent["invoice"] == {
        "title": "Atlas",
        "description": "30 days",
        "start_parameter": "buy",
        "currency": "XTR",
        "total_amount": 50,
    }
    assert sent["reply_markup"] == {"inline_keyboard": [[{"text": "Pay ⭐️50", "pay": True}]]}
    mine = {"inline_keyboard": [[{"text": "Buy", "pay": True}, {"text": "Back", "callback_data": "b"}]]}
    other = (await bench.call("sendInvoice", chat_id=777, reply_markup=mine, **ROUBLES))["result"]
    assert other["reply_markup"] == mine
    plain = (await bench.call("sendInvoice", chat_id=777, **ROUBLES))["result"]
    assert plain["reply_markup"]["inline_keyboard"][0][0]["text"] == "Pay RUB 299.00"


async def test_stars_change_hands(bench: Bench) -> None:
    await ready(bench)
    anna = bench.telegram.user(777)
    message_id = await invoice(bench)
    payment = await anna.pay(message_id)
    assert (payment.status, payment.reason, len(payment.charge_ids)) == ("paid", "", 1)
    charge_id = payment.charge_ids[0]
    assert len(charge_id) > 128
    [query] = await received(bench, "pre_checkout_query")
    assert query.pop("id")
    assert query == {
        "from": anna.account.user(),
        "currency": "XTR",
        "total_amount": 50,
        "invoice_payload": "order-1",
    }
    assert await received(bench, "message", "successful_payment") == [
        {
            "currency": "XTR",
            "total_amount": 50,
            "invoice_payload": "order-1",
            "telegram_payment_charge_id": charge_id,
            "provider_payment_charge_id": "",
        }
    ]
    assert anna.account.stars == 10_000 - 50
    assert anna.messages[1]["reply_markup"]["inline_keyboard"] == [[{"text": "Receipt", "pay": True}]]
    assert "successful_payment" in anna.messages[2]
    with pytest.raises(ValueError, match="already paid"):
        await anna.pay(message_id)
    queues = {attempt.queue for attempt in bench.telegram.deliveries}
    assert queues == {"chat:777", "checkout:777"}


async def test_the_bot_may_refuse(bench: Bench) -> None:
    await ready(bench, {"ok": False, "error_message": "sold out"})
    anna = bench.telegram.user(777)
    message_id = await invoice(bench)
    payment = await anna.pay(message_id)
    assert (payment.status, payment.reason, payment.charge_ids) == ("refused", "sold out", ())
    assert await received(bench, "message", "successful_payment") == []
    assert anna.account.stars == 10_000
    bench.hook.answer = None
    bench.clock.travel(timedelta(seconds=1))
    await ready(bench)
    assert (await anna.pay(message_id)).status == "paid"  # pressing Pay again is a new pre-checkout
    assert len({query["id"] for query in await received(bench, "pre_checkout_query")}) == 2


async def test_ten_seconds_of_the_sandbox_without_an_answer_end_the_payment(still_bench: Bench) -> None:
    bench = still_bench
    await ready(bench, {})
    anna = bench.telegram.user(777)
    message_id = await invoice(bench)
    paying = asyncio.create_task(anna.pay(message_id))
    await until(lambda: any("pre_checkout_query" in update for update in bench.hook.updates))
    bench.clock.travel(timedelta(seconds=9))
    await bench.telegram.idle()
    assert not paying.done()
    bench.clock.travel(timedelta(seconds=1))
    assert (await paying).status == "timeout"
    [query] = await received(bench, "pre_checkout_query")
    late = await bench.refusal("answerPreCheckoutQuery", pre_checkout_query_id=query["id"], ok=True)
    assert late.endswith("query is too old and response timeout expired or query ID is invalid")
    assert bench.telegram.payments.charges == []


async def test_who_has_too_few_stars_asks_the_bot_nothing(bench: Bench) -> None:
    await ready(bench)
    anna = bench.telegram.user(777)
    anna.account.stars = 99
    message_id = await invoice(bench)
    payment = await anna.pay(message_id, charges=2)
    assert (payment.status, payment.reason) == ("too_poor", "99 Stars of 100")
    assert await received(bench, "pre_checkout_query") == []


async def test_two_payments_at_once_spend_no_stars_twice(bench: Bench) -> None:
    await ready(bench)
    anna = bench.telegram.user(777)
    anna.account.stars = 80
    url = await link(bench)
    payments = await asyncio.gather(anna.pay_link(url), anna.pay_link(url))
    assert sorted((one.status, one.reason) for one in payments) == [("paid", ""), ("too_poor", "30 Stars of 50")]
    assert anna.account.stars == 30


async def test_one_message_is_paid_once_however_often_pay_is_pressed(bench: Bench) -> None:
    await ready(bench)
    anna = bench.telegram.user(777)
    message_id = await invoice(bench)
    first, second = await asyncio.gather(anna.pay(message_id), anna.pay(message_id), return_exceptions=True)
    assert sorted(str(getattr(one, "status", one)) for one in (first, second)) == ["already paid", "paid"]
    assert anna.account.stars == 10_000 - 50


async def test_an_account_deleted_while_the_bot_thinks_pays_nothing(bench: Bench) -> None:
    await ready(bench, {})
    anna = bench.telegram.user(777)
    paying = asyncio.create_task(anna.pay_link(await link(bench)))
    await until(lambda: any("pre_checkout_query" in update for update in bench.hook.updates))
    anna.delete_account()
    [query] = await received(bench, "pre_checkout_query")
    assert (await bench.call("answerPreCheckoutQuery", pre_checkout_query_id=query["id"], ok=True))["ok"]
    with pytest.raises(ValueError, match="deleted"):
        await paying
    assert bench.telegram.payments.charges == []


async def test_money_can_be_taken_twice(bench: Bench) -> None:
    await ready(bench)
    anna = bench.telegram.user(777)
    payment = await anna.pay(await invoice(bench), charges=2)
    assert len(set(payment.charge_ids)) == 2
    paid = await received(bench, "message", "successful_payment")
    assert tuple(one["telegram_payment_charge_id"] for one in paid) == payment.charge_ids
    assert len(await received(bench, "pre_checkout_query")) == 1
    assert anna.account.stars == 10_000 - 100


async def test_a_link_is_paid_by_any_user_and_repeatedly(bench: Bench) -> None:
    await ready(bench)
    url = await link(bench)
    assert url.startswith("https://t.me/$")
    boris = bench.telegram.user(778, "Boris")
    first, second = await boris.pay_link(url), await boris.pay_link(url)
    assert first.charge_ids != second.charge_ids
    assert (await bench.telegram.user(777).pay_link(url)).status == "paid"
    payers = [message["from"]["id"] for message in await received(bench, "message") if "successful_payment" in message]
    assert payers == [778, 778, 777]
    assert (await bench.call("sendMessage", chat_id=778, text="thank you"))["ok"]
    with pytest.raises(ValueError, match="no invoice"):
        await boris.pay_link("https://t.me/$nothing")


async def test_cards_pay_in_the_smallest_units_with_tips(bench: Bench) -> None:
    await ready(bench)
    anna = bench.telegram.user(777)
    message_id = await invoice(bench, **ROUBLES, max_tip_amount=1000)
    with pytest.raises(ValueError, match="tip"):
        await anna.pay(message_id, tip=1001)
    declined = await anna.pay(message_id, method="declined")
    assert (declined.status, declined.reason) == ("refused", "the card was declined")
    payment = await anna.pay(message_id, tip=1000)
    [paid] = await received(bench, "message", "successful_payment")
    assert (paid["currency"], paid["total_amount"]) == ("RUB", 30_900)
    assert paid["provider_payment_charge_id"]
    assert anna.account.stars == 10_000
    refusal = await bench.refusal("refundStarPayment", user_id=777, telegram_payment_charge_id=payment.charge_ids[0])
    assert refusal == "Bad Request: CHARGE_NOT_FOUND"
    assert (await bench.call("getStarTransactions"))["result"] == {"transactions": []}
    address = await bench.call("sendInvoice", chat_id=777, need_shipping_address=True, **ROUBLES)
    assert address["error_code"] == 501


RECEIPT = '{"receipt": {"items": [{"description": "30 days", "quantity": "1.00", "vat_code": 1}]}}'


@pytest.mark.parametrize("by_link", [False, True])
async def test_a_payer_fills_in_what_the_invoice_asks_for(bench: Bench, by_link: bool) -> None:  # noqa: FBT001 - pytest's way
    await ready(bench)
    anna = bench.telegram.user(777)
    anna.account.email = "anna@example.org"
    asked = ROUBLES | {"need_name": True, "send_email_to_provider": True, "provider_data": RECEIPT}
    payment = await (anna.pay_link(await link(bench, **asked)) if by_link else anna.pay(await invoice(bench, **asked)))
    filled_in = {"name": "Anna", "email": "anna@example.org"}  # asked for because it goes to the provider
    [query] = await received(bench, "pre_checkout_query")
    [paid] = await received(bench, "message", "successful_payment")
    assert (query["order_info"], paid["order_info"]) == (filled_in, filled_in)
    charge = bench.telegram.payments.charge(payment.charge_ids[0])
    assert charge is not None
    assert charge.to_provider == {"provider_data": RECEIPT, "email": "anna@example.org"}


async def test_who_is_asked_for_nothing_fills_in_nothing(bench: Bench) -> None:
    """Stars ask for nothing, whatever the call says."""
    await ready(bench)
    anna = bench.telegram.user(777)
    stars = await invoice(bench, need_email=True, send_phone_number_to_provider=True, provider_data=RECEIPT)
    charge_ids = [*(await anna.pay(stars)).charge_ids, *(await anna.pay(await invoice(bench, **ROUBLES))).charge_ids]
    assert not any("order_info" in query for query in await received(bench, "pre_checkout_query"))
    assert not any("order_info" in paid for paid in await received(bench, "message", "successful_payment"))
    charges = [bench.telegram.payments.charge(charge_id) for charge_id in charge_ids]
    assert [charge.to_provider for charge in charges if charge] == [{}, {}]


async def test_a_store_keeps_what_an_invoice_asks_for(
    endpoints: tuple[Endpoint, Endpoint], tmp_path: pathlib.Path
) -> None:
    store = tmp_path / "telegram.sqlite"
    async with open_bench(endpoints, store) as bench:
        await ready(bench)
        offered = await link(bench, **ROUBLES, need_phone_number=True, provider_data=RECEIPT)
        before = bench.telegram.payments.invoice(offered.removeprefix("https://t.me/"))
    async with open_bench(endpoints, store) as bench:
        assert bench.telegram.payments.invoice(offered.removeprefix("https://t.me/")) == before
        await ready(bench)
        payment = await bench.telegram.user(777).pay_link(offered)
        [query] = await received(bench, "pre_checkout_query")
        assert query["order_info"] == {"phone_number": "79000000777"}
    async with open_bench(endpoints, store) as bench:
        charge = bench.telegram.payments.charge(payment.charge_ids[0])
        assert charge is not None
        assert charge.to_provider == {"provider_data": RECEIPT}


async def test_a_refund_happens_once(bench: Bench) -> None:
    await ready(bench)
    anna = bench.telegram.user(777)
    bench.telegram.user(778, "Boris")
    [charge_id] = (await anna.pay(await invoice(bench))).charge_ids
    refund: dict[str, Any] = {"user_id": 777, "telegram_payment_charge_id": charge_id}
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"user_id": 779}, "invalid user_id specified"),
        ({"user_id": 778}, "CHARGE_NOT_FOUND"),
        ({"telegram_payment_charge_id": ""}, 'parameter "telegram_payment_charge_id" is required'),
        ({"telegram_payment_charge_id": "stx"}, "CHARGE_NOT_FOUND"),
    ]
    for wrong, reason in refusals:
        assert await bench.refusal("refundStarPayment", **(refund | wrong)) == f"Bad Request: {reason}"
    assert (await bench.call("refundStarPayment", **refund))["result"] is True
    assert anna.account.stars == 10_000
    assert await received(bench, "message", "refunded_payment") == [
        {
            "currency": "XTR",
            "total_amount": 50,
            "invoice_payload": "order-1",
            "telegram_payment_charge_id": charge_id,
        }
    ]
    assert await bench.refusal("refundStarPayment", **refund) == "Bad Request: CHARGE_ALREADY_REFUNDED"
    partner = {
        "type": "user",
        "transaction_type": "invoice_payment",
        "user": anna.account.user(),
        "invoice_payload": "order-1",
    }
    transactions = (await bench.call("getStarTransactions"))["result"]["transactions"]
    dates = [one.pop("date") for one in transactions]
    assert dates == sorted(dates)
    assert transactions == [
        {"id": charge_id, "amount": 50, "source": partner},
        {"id": charge_id, "amount": 50, "receiver": partner},
    ]
    assert (await bench.call("getMyStarBalance"))["result"] == {"amount": 0}


async def test_transactions_come_in_pages_oldest_first(bench: Bench) -> None:
    await ready(bench)
    anna = bench.telegram.user(777)
    url = await link(bench, prices=[{"label": "a", "amount": 1}])
    ids = list((await anna.pay_link(url, charges=103)).charge_ids)

    async def page(**parameters: int) -> list[str]:
        body = await bench.call("getStarTransactions", **parameters)
        return [one["id"] for one in body["result"]["transactions"]]

    assert await page() == ids[:100]
    assert await page(limit=1000) == ids[:100]
    assert await page(offset=101, limit=1) == [ids[101]]
    assert await page(offset=103) == []
    assert (await bench.call("getMyStarBalance"))["result"] == {"amount": 103}


async def test_a_chargeback_is_not_told(bench: Bench) -> None:
    await ready(bench)
    [charge_id] = (await bench.telegram.user(777).pay(await invoice(bench))).charge_ids
    await bench.telegram.idle()
    before = len(bench.hook.updates), bench.telegram.user(777).messages
    bench.telegram.charge_back(charge_id)
    await bench.telegram.idle()
    assert (len(bench.hook.updates), bench.telegram.user(777).messages) == before
    assert (await bench.call("getMyStarBalance"))["result"] == {"amount": 0}
    refusal = await bench.refusal("refundStarPayment", user_id=777, telegram_payment_charge_id=charge_id)
    assert refusal == "Bad Request: CHARGE_ALREADY_REFUNDED"


async def test_an_affiliates_part_is_beside_what_the_bot_got(bench: Bench) -> None:
    """In nanostars, of a charge and of its refund alike; and a second debit of one charge is a line of its own."""
    await ready(bench)
    boris = bench.telegram.user(888, "Boris")
    bench.telegram.refer(bench.telegram.user(777), boris, per_mille=15)
    [charge_id] = (await bench.telegram.user(777).pay(await invoice(bench))).charge_ids
    share = {"amount": 0, "nanostar_amount": 750_000_000}
    assert (await bench.call("getMyStarBalance"))["result"] == {"amount": 49, "nanostar_amount": 250_000_000}
    assert (await bench.call("refundStarPayment", user_id=777, telegram_payment_charge_id=charge_id))["ok"]
    bench.telegram.charge_back(charge_id, again=True)
    came, refunded, again = (await bench.call("getStarTransactions"))["result"]["transactions"]
    assert (came["amount"], came["nanostar_amount"]) == (49, 250_000_000)
    assert came["source"]["affiliate"] == {
        "affiliate_user": boris.account.user(),
        "commission_per_mille": 15,
        **share,
    }
    assert refunded["receiver"]["affiliate"]["nanostar_amount"] == -750_000_000
    assert refunded["id"] == again["id"] == charge_id
    assert (await bench.call("getMyStarBalance"))["result"] == {"amount": -49, "nanostar_amount": -250_000_000}
    with pytest.raises(ValueError, match="of each 1000"):
        bench.telegram.refer(bench.telegram.user(777), boris, per_mille=1000)


async def test_what_moves_beside_charges_is_listed(bench: Bench) -> None:
    await ready(bench)
    bench.telegram.move_stars("source", "other", 5_500_000_000)
    withdrawn = bench.telegram.withdraw(2_000_000_000)
    bench.telegram.move_stars("receiver", "telegram_ads", 1_000_000_000)
    lines = (await bench.call("getStarTransactions"))["result"]["transactions"]
    assert [(line["amount"], line.get("nanostar_amount", 0)) for line in lines] == [(5, 500_000_000), (2, 0), (1, 0)]
    assert lines[1]["id"] == withdrawn
    assert lines[1]["receiver"]["withdrawal_state"]["type"] == "succeeded"
    assert (await bench.call("getMyStarBalance"))["result"] == {"amount": 2, "nanostar_amount": 500_000_000}
    with pytest.raises(ValueError, match="above zero"):
        bench.telegram.withdraw(0)


@pytest.mark.parametrize(
    "info",
    [
        {"email": ""},
        {"email": "anna"},
        {"email": "a@b"},
        {"email": "a@b.c d"},
        {"email": "@example.org"},
        {"email": "a@@example.org"},
        {"email": "a" * 60 + "@b.cd"},
        {"email": 5},
        {"email": None},
        {"phone_number": "+7900"},
        {"phone_number": "\u0661" * 7},
        {"phone_number": "1234"},
        {"name": "Boris"},
        {"stars": 99},
        {"email": "a@example.org", "phone_number": "1"},
    ],
)
async def test_what_the_app_would_not_take_is_not_filled_in(bench: Bench, info: dict[str, Any]) -> None:
    anna = bench.telegram.user(777)
    before = anna.account.particulars()
    with pytest.raises(ValueError, match=r"the app takes no such|nothing asks for"):
        anna.fill_in(info)
    assert anna.account.particulars() == before


async def test_a_cards_chargeback_is_in_no_list_and_happens_once(bench: Bench) -> None:
    await ready(bench)
    [charge_id] = (await bench.telegram.user(777).pay(await invoice(bench, **ROUBLES))).charge_ids
    await bench.telegram.idle()
    before = len(bench.hook.updates)
    bench.telegram.charge_back(charge_id)
    await bench.telegram.idle()
    assert len(bench.hook.updates) == before
    assert (await bench.call("getStarTransactions"))["result"]["transactions"] == []
    [charge] = bench.telegram.payments.charges
    assert (charge.returned, charge.returned_at) == (True, bench.telegram.chats.now)
    with pytest.raises(ApiError, match="CHARGE_ALREADY_REFUNDED"):
        bench.telegram.charge_back(charge_id)
    with pytest.raises(ApiError, match="CHARGE_NOT_FOUND"):
        bench.telegram.refund(charge_id)
    with pytest.raises(ApiError, match="CHARGE_NOT_FOUND"):
        bench.telegram.charge_back("none")


async def test_a_refund_past_the_shop_is_told_to_the_bot(bench: Bench) -> None:
    await ready(bench)
    anna = bench.telegram.user(777)
    [charge_id] = (await anna.pay(await invoice(bench))).charge_ids
    bench.telegram.refund(charge_id)
    [told] = await received(bench, "message", "refunded_payment")
    assert told["telegram_payment_charge_id"] == charge_id
    assert anna.account.stars == 10_000
    for refused in (charge_id, "none"):
        with pytest.raises(ApiError, match="CHARGE_"):
            bench.telegram.refund(refused)


@pytest.mark.parametrize(
    ("off", "said"),
    [
        (1, {"amount": 50, "nanostar_amount": 1}),
        (-1, {"amount": 49, "nanostar_amount": 999_999_999}),
        (0, {"amount": 50}),
    ],
)
async def test_a_balance_is_off_by_a_nanostar(bench: Bench, off: int, said: dict[str, int]) -> None:
    await ready(bench)
    await bench.telegram.user(777).pay(await invoice(bench))
    bench.telegram.payments.balance_off = off
    assert (await bench.call("getMyStarBalance"))["result"] == said
    assert bench.telegram.payments.balance == 50_000_000_000, "only what is said is wrong"


async def test_a_subscription_renews_by_itself_until_it_is_canceled(bench: Bench) -> None:
    await ready(bench)
    anna = bench.telegram.user(777)
    [first] = (await anna.pay_link(await link(bench, subscription_period=PERIOD))).charge_ids
    [paid] = await received(bench, "message", "successful_payment")
    assert (paid["is_recurring"], paid["is_first_recurring"]) == (True, True)
    until_then = paid["subscription_expiration_date"]
    bench.clock.travel(timedelta(seconds=PERIOD))
    await until(lambda: len(bench.telegram.payments.charges) == 2)
    _, renewed = await received(bench, "message", "successful_payment")
    assert renewed["telegram_payment_charge_id"] != first
    assert renewed["invoice_payload"] == "order-1"
    assert renewed["is_recurring"] is True
    assert "is_first_recurring" not in renewed
    assert renewed["subscription_expiration_date"] == until_then + PERIOD
    assert len(await received(bench, "pre_checkout_query")) == 1
    anna.cancel_subscription(first)
    anna.resume_subscription(first)
    anna.cancel_subscription(first)
    await bench.telegram.idle()
    bench.clock.travel(timedelta(seconds=2 * PERIOD))
    await bench.clock.sleep(0.05)
    await bench.telegram.idle()
    user = {"user": anna.account.user(), "invoice_payload": "order-1"}
    states = [user | {"state": state} for state in ("canceled", "active", "canceled")]
    assert await received(bench, "subscription") == states
    assert len(bench.telegram.payments.charges) == 2
    with pytest.raises(ValueError, match="over"):
        anna.resume_subscription(first)
    transactions = (await bench.call("getStarTransactions"))["result"]["transactions"]
    assert [one["source"]["subscription_period"] for one in transactions] == [PERIOD, PERIOD]


async def test_a_renewal_without_stars_fails(bench: Bench) -> None:
    await ready(bench)
    anna = bench.telegram.user(777)
    await anna.pay_link(await link(bench, subscription_period=PERIOD))
    anna.account.stars = 49
    bench.clock.travel(timedelta(seconds=PERIOD))
    await until(lambda: not anna.subscriptions[0].renews)
    assert [one["state"] for one in await received(bench, "subscription")] == ["failed"]
    assert len(bench.telegram.payments.charges) == 1


async def test_the_bot_can_end_a_subscription_in_the_payers_place(bench: Bench) -> None:
    await ready(bench)
    anna = bench.telegram.user(777)
    [charge_id] = (await anna.pay_link(await link(bench, subscription_period=PERIOD))).charge_ids
    mine = {"user_id": 777, "telegram_payment_charge_id": charge_id}
    assert (await bench.call("editUserStarSubscription", is_canceled=True, **mine))["result"] is True
    with pytest.raises(ValueError, match="over"):
        anna.cancel_subscription(charge_id)
    assert (await bench.call("editUserStarSubscription", is_canceled=False, **mine))["result"] is True
    assert anna.subscriptions[0].renews
    unknown = await bench.refusal(
        "editUserStarSubscription", user_id=777, telegram_payment_charge_id="stx", is_canceled=True
    )
    assert unknown == "Bad Request: CHARGE_NOT_FOUND"


async def test_an_invoices_keyboard_can_change_but_for_the_button_that_pays(bench: Bench) -> None:
    await ready(bench)
    anna = bench.telegram.user(777)
    message_id = await invoice(bench)
    place = {"chat_id": 777, "message_id": message_id}
    wrong = {"inline_keyboard": [[{"text": "a", "callback_data": "a"}]]}
    refusal = await bench.refusal("editMessageReplyMarkup", reply_markup=wrong, **place)
    assert refusal == "Bad Request: REPLY_MARKUP_BUY_EMPTY"
    more = {"inline_keyboard": [[{"text": "x", "pay": True}], [{"text": "Back", "callback_data": "b"}]]}
    await anna.pay(message_id)
    edited = (await bench.call("editMessageReplyMarkup", reply_markup=more, **place))["result"]
    assert edited["reply_markup"]["inline_keyboard"][0] == [{"text": "Receipt", "pay": True}]
    assert edited["reply_markup"]["inline_keyboard"][1] == more["inline_keyboard"][1]
    with pytest.raises(ValueError, match="already paid"):
        await anna.pay(message_id)


async def test_money_survives_a_restart(endpoints: tuple[Endpoint, Endpoint], tmp_path: pathlib.Path) -> None:
    store = tmp_path / "telegram.sqlite"
    async with open_bench(endpoints, store) as bench:
        await ready(bench)
        anna = bench.telegram.user(777)
        unpaid, monthly = await invoice(bench), await link(bench, subscription_period=PERIOD)
        [charge_id] = (await anna.pay_link(monthly)).charge_ids
        await bench.telegram.idle()
    async with open_bench(endpoints, store) as bench:
        bench.hook.updates.clear()
        await ready(bench)
        anna = bench.telegram.user(777)
        assert anna.account.stars == 10_000 - 50
        assert [one.charge_id for one in anna.subscriptions] == [charge_id]
        assert (await bench.call("getMyStarBalance"))["result"] == {"amount": 50}
        assert (await anna.pay(unpaid)).status == "paid"
        assert (await anna.pay_link(monthly)).status == "paid"
        bench.clock.travel(timedelta(seconds=PERIOD))
        await until(lambda: len(bench.telegram.payments.charges) == 5)
        assert (await bench.call("refundStarPayment", user_id=777, telegram_payment_charge_id=charge_id))["ok"]


@pytest.mark.parametrize("action", ["payment", "refund", "chargeback"])
async def test_a_crash_neither_makes_nor_loses_money(
    endpoints: tuple[Endpoint, Endpoint], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    store = tmp_path / "telegram.sqlite"
    async with open_bench(endpoints, store) as bench:
        await ready(bench)
        anna = bench.telegram.user(777)
        url = await link(bench)
        [charge_id] = (await anna.pay_link(url)).charge_ids
        await bench.telegram.idle()

        def die(*_: Any) -> None:
            raise SystemError("the power went")

        monkeypatch.setattr(bench.telegram.payments, "add_transaction", die)
        with pytest.raises(SystemError, match="power"):
            if action == "payment":
                await anna.pay_link(url)
            elif action == "refund":
                bench.telegram._checkout.refund(777, charge_id)
            else:
                bench.telegram.charge_back(charge_id)
    async with open_bench(endpoints, store) as bench:
        assert bench.telegram.user(777).account.stars == 10_000 - 50
        assert [(one.charge_id, one.returned) for one in bench.telegram.payments.charges] == [(charge_id, False)]
        assert (await bench.call("getMyStarBalance"))["result"] == {"amount": 50}
        bench.telegram._checkout.refund(777, charge_id)
        assert bench.telegram.user(777).account.stars == 10_000
