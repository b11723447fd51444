"""Webhooks: body, signature, copies, retries over three days, switching off, restarts."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.cryptopay import Standing
from sandbox.cryptopay.webhooks import ANSWER_LOST, LOST, RETRY_AFTER_S
from tests.waiting import all_that_can_happen, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sandbox.cryptopay.conftest import Shop

TOKEN = "12345:AAtest-token"
MOMENT = timedelta(milliseconds=1)


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
    by_id: dict[int, set[int]] = {}
    for update in (json.loads(body) for _, body in shop.application.got):
        by_id.setdefault(update["update_id"], set()).add(update["payload"]["invoice_id"])
    assert sum(len(invoices) for invoices in by_id.values()) == 5
    assert any(len(invoices) > 1 for invoices in by_id.values())  # one id, two different payments


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
    await all_that_can_happen()
    assert len(shop.application.got) == at_once
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
    shop.pay.webhooks._timeout = 10.0  # it is the application that is slow, not this machine
    shop.clock.travel(timedelta(seconds=5))
    await shop.pay.idle()
    assert [delivery.status for delivery in shop.pay.deliveries] == [None, 200]


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
    paid_at = shop.pay.deliveries[0].start
    for number, wait in enumerate(RETRY_AFTER_S):
        assert len(shop.pay.deliveries) == number + 1
        assert shop.pay.webhooks.disabled_at is None
        assert shop.pay.webhooks.notices == []
        shop.clock.travel(timedelta(seconds=wait) - MOMENT)
        await shop.pay.idle()
        assert len(shop.pay.deliveries) == number + 1  # not a moment early
        shop.clock.travel(MOMENT)
        await shop.pay.idle()
    assert [delivery.attempt for delivery in shop.pay.deliveries] == list(range(1, 18))
    assert shop.pay.deliveries[-1].start - paid_at == timedelta(days=3)
    assert shop.pay.webhooks.disabled_at is not None
    (notice,) = shop.pay.webhooks.notices
    assert re.search(r"disabled: 17 attempts to tell about invoice 1 failed, the last one with 500", notice.text)
    shop.application.default = 200
    await shop.pay.pay(2)
    assert await shop.pay.send_webhook(1) == []
    shop.clock.travel(timedelta(days=30))
    await shop.pay.idle()
    assert len(shop.pay.deliveries) == 17
    shop.pay.webhooks.enable()
    await shop.pay.send_webhook(2)
    assert len(shop.pay.deliveries) == 18


async def test_disabling_gives_up_what_is_on_its_way_for_good(shop: Shop) -> None:
    shop.application.answers = [500]
    await shop.invoice()
    await shop.invoice()
    await shop.pay.pay(1)
    await shop.pay.idle()
    shop.application.gate.clear()
    await shop.pay.pay(2)
    await until(lambda: len(shop.application.got) == 2)
    shop.pay.webhooks.disable()  # one waits for its second attempt, one is under way
    shop.application.gate.set()
    await shop.pay.idle()
    shop.pay.webhooks.enable()
    shop.clock.travel(timedelta(days=4))
    await shop.pay.idle()
    assert len(shop.application.got) == 2
    assert shop.pay.webhooks.notices == []  # the owner did it, and need not be told


async def test_an_attempt_that_just_failed_is_given_up_with_the_rest(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.application.default = 500
    hooks = shop.pay.webhooks
    deliver = hooks._deliver

    async def deliver_then_disable(pending: Any) -> Any:
        delivery = await deliver(pending)
        asyncio.get_running_loop().call_soon(hooks.disable)  # the task is done, but it was not looked at yet
        return delivery

    monkeypatch.setattr(hooks, "_deliver", deliver_then_disable)
    await shop.invoice()
    await shop.pay.pay(1)
    await until(lambda: hooks.disabled_at)
    await asyncio.sleep(0)
    assert (hooks.waiting, hooks._running) == ([], {})
    assert len(shop.application.got) == 1


async def test_disabled_stays_disabled_over_a_restart_and_the_owner_stays_told(
    make_shop: Callable[..., Any], tmp_path: Path
) -> None:
    store = tmp_path / "pay.sqlite"
    first = await make_shop(store=store, retry_after=[])
    first.application.default = 500
    await first.invoice()
    await first.pay.pay(1)
    await first.pay.idle()
    told = first.pay.webhooks.notices
    await first.pay.stop()
    second = await make_shop(store=store, clock=first.clock)
    assert second.pay.webhooks.notices == told
    assert second.pay.webhooks.disabled_at == told[0].at
    await second.pay.send_webhook(1)
    assert len(second.application.got) == 1


async def test_a_lost_attempt_is_made_again_by_the_schedule(shop: Shop) -> None:
    await shop.invoice()
    await shop.pay.pay(1, lost_attempts=2)
    await shop.pay.idle()
    assert [(one.attempt, one.reason) for one in shop.pay.deliveries] == [(1, LOST)]
    for wait in RETRY_AFTER_S[:2]:
        assert not shop.application.got
        shop.clock.travel(timedelta(seconds=wait))
        await shop.pay.idle()
    assert [(one.attempt, one.status) for one in shop.pay.deliveries] == [(1, None), (2, None), (3, 200)]
    assert len(shop.application.got) == 1


async def test_a_lost_answer_makes_the_application_hear_it_twice(shop: Shop) -> None:
    shop.pay.webhooks.lose_next(answer_only=True)
    shop.pay.webhooks.lose_next()
    await shop.invoice()
    await shop.pay.pay(1)
    for wait in (0, *RETRY_AFTER_S[:2]):
        shop.clock.travel(timedelta(seconds=wait))
        await shop.pay.idle()
    assert [(one.status, one.reason) for one in shop.pay.deliveries] == [(None, ANSWER_LOST), (None, LOST), (200, "")]
    payloads = [json.loads(body)["payload"] for _, body in shop.application.got]
    assert len(payloads) == 2
    assert payloads[0] == payloads[1]


async def test_a_webhook_that_is_always_lost_is_disabled_like_any_other(shop: Shop) -> None:
    shop.pay.faults.standing = Standing(lost=1)
    await shop.invoice()
    await shop.pay.pay(1)
    for wait in (0, *RETRY_AFTER_S):
        shop.clock.travel(timedelta(seconds=wait))
        await shop.pay.idle()
    assert len(shop.pay.deliveries) == 17
    assert not shop.application.got
    assert shop.pay.webhooks.notices[0].text.endswith("the last one with lost on the way.")


@pytest.mark.parametrize("newest_first", [True, False])
async def test_held_webhooks_are_released_in_the_asked_order(
    make_shop: Callable[..., Any], tmp_path: Path, *, newest_first: bool
) -> None:
    store = tmp_path / "pay.sqlite"
    first = await make_shop(store=store)
    first.pay.webhooks.hold()
    for number in range(1, 5):
        await first.invoice()
        await first.pay.pay(number)
    first.clock.travel(timedelta(days=1))
    await first.pay.idle()
    assert not first.application.got
    await first.pay.stop()
    second = await make_shop(store=store, clock=first.clock)  # they are still held after a restart
    await second.pay.idle()
    assert not second.application.got
    second.application.gate.clear()
    second.pay.webhooks.release(newest_first=newest_first)
    await until(lambda: second.application.got)
    await all_that_can_happen()
    assert len(second.application.got) == 1  # each waits for the one before it
    second.application.gate.set()
    await second.pay.idle()
    came = [json.loads(body)["payload"]["invoice_id"] for _, body in second.application.got]
    assert came == ([4, 3, 2, 1] if newest_first else [1, 2, 3, 4])
    await second.invoice()
    await second.pay.pay(5)  # no longer held
    await second.pay.idle()
    assert len(second.application.got) == 5


async def test_standing_faults_double_delay_and_lose(shop: Shop) -> None:
    shop.pay.faults.dice = random.Random(1)  # noqa: S311 -- the same faults each time
    shop.pay.faults.standing = Standing(copies=2, late_s=100, lost=0.2, unanswered=0.2)
    for number in range(1, 11):
        await shop.invoice()
        await shop.pay.pay(number)
    await shop.pay.idle()
    for _ in range(40):
        shop.clock.travel(timedelta(seconds=10))
        await shop.pay.idle()
    assert shop.pay.webhooks.waiting == []
    came = [json.loads(body)["payload"]["invoice_id"] for _, body in shop.application.got]
    reasons = [delivery.reason for delivery in shop.pay.deliveries]
    assert all(came.count(number) >= 2 for number in range(1, 11))
    assert came != sorted(came)
    assert len(came) == 20 + reasons.count(ANSWER_LOST)
    assert reasons.count(LOST) > 0
    assert reasons.count(ANSWER_LOST) > 0


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
