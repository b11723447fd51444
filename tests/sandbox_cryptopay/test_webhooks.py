"""Webhooks: body, signature, copies, retries over three days, switching off, restarts."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.cryptopay.webhooks import RETRY_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sandbox_cryptopay.conftest import Shop

TOKEN = "12345:AAtest-token"


async def until(condition: Callable[[], object], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.proves("N-3")
async def test_the_signature_is_hmac_of_the_raw_body_under_the_hash_of_the_token(shop: Shop) -> None:
    await shop.invoice(description="Тариф «plus» / 30")
    await shop.pay.pay(1)
    await shop.pay.idle()
    ((headers, body),) = shop.application.got
    expected = hmac.new(hashlib.sha256(TOKEN.encode()).digest(), body, hashlib.sha256).hexdigest()
    assert headers["crypto-pay-api-signature"] == expected == shop.pay.sign(body)
    assert shop.pay.sign(body, "12345:other") != expected
    assert headers["content-type"] == "application/json"
    assert "Тариф «plus» / 30".encode() in body  # raw UTF-8, as the real one; re-serialising it breaks the signature


async def test_the_body_is_the_paid_invoice_with_the_deprecated_fields(shop: Shop) -> None:
    await shop.invoice()
    paid = await shop.pay.pay(1)
    await shop.pay.idle()
    update = json.loads(shop.application.got[0][1])
    assert set(update) == {"update_id", "update_type", "request_date", "payload"}
    assert update["update_type"] == "invoice_paid"
    assert update["request_date"].endswith("Z")
    assert update["payload"] == {**paid, "fee": paid["fee_amount"], "usd_rate": paid["paid_usd_rate"]}
    assert "fee" not in paid


async def test_update_ids_are_not_unique(shop: Shop) -> None:
    for number in range(1, 6):
        await shop.invoice()
        await shop.pay.pay(number)
    await shop.pay.idle()
    ids = [json.loads(body)["update_id"] for _, body in shop.application.got]
    assert len(ids) == 5
    assert len(set(ids)) < 5


@pytest.mark.parametrize(("how", "expected"), [({}, 1), ({"times_webhook": 3}, 3), ({"webhook": False}, 0)])
async def test_so_many_webhooks_come_as_asked(shop: Shop, how: dict[str, Any], expected: int) -> None:
    await shop.invoice()
    await shop.pay.pay(1, **how)
    await shop.pay.idle()
    assert len(shop.application.got) == expected
    assert shop.pay.invoices[1]["status"] == "paid"


async def test_a_webhook_can_come_late(shop: Shop) -> None:
    await shop.invoice()
    await shop.pay.pay(1, webhook_delay=3600)
    await shop.pay.idle()
    assert not shop.application.got
    shop.clock.travel(timedelta(hours=1))
    await shop.pay.idle()
    assert len(shop.application.got) == 1


async def test_no_url_no_webhook(shop: Shop) -> None:
    shop.pay.webhook_url = None
    await shop.invoice()
    await shop.pay.pay(1)
    await shop.pay.idle()
    assert not shop.application.got


@pytest.mark.parametrize("parallel", [False, True])
async def test_copies_can_be_sent_one_after_the_other_or_at_once(shop: Shop, *, parallel: bool) -> None:
    await shop.invoice()
    await shop.pay.pay(1, webhook=False)
    shop.application.gate.clear()
    sending = asyncio.create_task(shop.pay.send_webhook(1, copies=5, parallel=parallel))
    at_once = 5 if parallel else 1
    await until(lambda: len(shop.application.got) >= at_once)
    with pytest.raises(TimeoutError):
        await until(lambda: len(shop.application.got) > at_once, 0.1)
    shop.application.gate.set()
    assert [delivery.status for delivery in await sending] == [200] * 5
    assert len(shop.application.got) == 5


@pytest.mark.parametrize("answer", [400, 401, 404, 500, 503, 302])
async def test_anything_but_2xx_is_tried_again(shop: Shop, answer: int) -> None:
    shop.application.answers = [answer]
    await shop.invoice()
    await shop.pay.pay(1)
    await shop.pay.idle()
    assert len(shop.application.got) == 1
    shop.clock.travel(timedelta(seconds=RETRY_AFTER_S[0]))
    await shop.pay.idle()
    assert [(delivery.attempt, delivery.status) for delivery in shop.pay.deliveries] == [(1, answer), (2, 200)]
    shop.clock.travel(timedelta(days=3))
    await shop.pay.idle()
    assert len(shop.application.got) == 2


async def test_a_slow_application_is_tried_again(make_shop: Callable[..., Any]) -> None:
    shop = await make_shop(webhook_timeout=0.1)
    shop.application.gate.clear()
    await shop.invoice()
    await shop.pay.pay(1)
    await shop.pay.idle()
    assert [(delivery.status, delivery.reason) for delivery in shop.pay.deliveries] == [(None, "no answer in time")]
    shop.application.gate.set()
    shop.clock.travel(timedelta(seconds=5))
    await shop.pay.idle()
    assert len(shop.application.got) == 2


async def test_an_unreachable_application_is_tried_again(shop: Shop) -> None:
    reachable, shop.pay.webhook_url = shop.pay.webhook_url, "http://127.0.0.1:1/"
    await shop.invoice()
    await shop.pay.pay(1)
    await shop.pay.idle()
    shop.pay.webhook_url = reachable
    shop.clock.travel(timedelta(seconds=5))
    await shop.pay.idle()
    assert len(shop.application.got) == 1


def test_seventeen_attempts_in_three_days_ever_further_apart() -> None:
    assert len(RETRY_AFTER_S) + 1 == 17
    assert sum(RETRY_AFTER_S) == timedelta(days=3).total_seconds()
    assert list(RETRY_AFTER_S) == sorted(RETRY_AFTER_S)


async def test_after_the_last_attempt_webhooks_are_disabled_until_switched_on(shop: Shop) -> None:
    shop.application.default = 500
    await shop.invoice()
    await shop.invoice()
    await shop.pay.pay(1)
    await shop.pay.idle()
    for number, wait in enumerate(RETRY_AFTER_S):
        assert len(shop.pay.deliveries) == number + 1
        assert shop.pay.webhooks.disabled_at is None
        shop.clock.travel(timedelta(seconds=wait))
        await shop.pay.idle()
    assert [delivery.attempt for delivery in shop.pay.deliveries] == list(range(1, 18))
    assert shop.pay.webhooks.disabled_at is not None
    shop.application.default = 200
    await shop.pay.pay(2)
    await shop.pay.idle()
    assert len(shop.pay.deliveries) == 17
    shop.pay.webhooks.enable()
    await shop.pay.send_webhook(2)
    assert len(shop.pay.deliveries) == 18


async def test_webhooks_on_their_way_survive_a_restart(make_shop: Callable[..., Any], tmp_path: Path) -> None:
    store = tmp_path / "pay.sqlite"
    first = await make_shop(store=store)
    first.application.answers = [500]
    await first.invoice()
    await first.invoice()
    await first.pay.pay(1)
    await first.pay.idle()
    first.application.gate.clear()
    await first.pay.pay(2)
    await until(lambda: len(first.application.got) == 2)
    await first.pay.stop()  # in the middle of the second
    first.application.gate.set()
    first.application.got.clear()
    second = await make_shop(store=store, clock=first.clock)
    await second.pay.idle()
    assert [json.loads(body)["payload"]["invoice_id"] for _, body in second.application.got] == [2]
    second.clock.travel(timedelta(seconds=5))
    await second.pay.idle()
    assert [json.loads(body)["payload"]["invoice_id"] for _, body in second.application.got] == [2, 1]
    assert second.pay.deliveries[-1].attempt == 2
    third = await make_shop(store=store, clock=first.clock)
    await third.pay.idle()
    assert len(second.application.got) == 2


async def test_waiting_for_idle_is_bounded(shop: Shop) -> None:
    shop.application.gate.clear()
    await shop.invoice()
    await shop.pay.pay(1)
    with pytest.raises(TimeoutError):
        await shop.pay.idle(0.1)
