"""setWebhook, deleteWebhook, getWebhookInfo, getUpdates."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.telegram import Telegram
from sandbox.telegram.methods.webhook import check_url
from sandbox.telegram.protocol.errors import ApiError
from tests.sandbox.telegram.conftest import SECRET, TOKEN
from tests.waiting import until

if TYPE_CHECKING:
    from tests.sandbox.telegram.conftest import Bench


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"url": "http://example.com/hook"}, "bad webhook: An HTTPS URL must be provided for webhook"),
        ({"url": "https://example.com:8080/"}, "bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443"),
        ({"url": "https://10.0.0.1/"}, "bad webhook: IP address 10.0.0.1 is reserved"),
        ({"url": "http://127.0.0.1/", "secret_token": "x" * 257}, "secret token is too long"),
        ({"url": "http://127.0.0.1/", "secret_token": "é"}, "secret token contains unallowed characters"),
    ],
)
async def test_bad_webhooks_are_refused(bench: Bench, parameters: dict[str, Any], reason: str) -> None:
    assert await bench.refusal("setWebhook", **parameters) == f"Bad Request: {reason}"


def test_loopback_is_refused_unless_allowed() -> None:
    check_url("http://127.0.0.1:8080/hook", allow_local=True)
    with pytest.raises(ApiError, match="HTTPS"):
        check_url("http://127.0.0.1:8080/hook", allow_local=False)
    with pytest.raises(ApiError, match="reserved"):
        check_url("https://127.0.0.1/hook", allow_local=False)


async def test_setting_twice(still_bench: Bench) -> None:
    bench = still_bench
    first = await bench.call("setWebhook", url=bench.hook_url, max_connections=1000)
    assert first["description"] == "Webhook was set"
    assert (await bench.call("getWebhookInfo"))["result"]["max_connections"] == 100
    bench.clock.travel(timedelta(seconds=1))
    again = await bench.call("setWebhook", url=bench.hook_url, max_connections=100)
    assert (again["ok"], again["description"]) == (True, "Webhook is already set")
    for connections in (100, 40):  # the second is not even looked at, whether it would change anything or not
        hasty = await bench.call("setWebhook", url=bench.hook_url, max_connections=connections)
        assert (hasty["error_code"], hasty["parameters"]) == (429, {"retry_after": 1})
    bench.clock.travel(timedelta(seconds=1))
    assert (await bench.call("setWebhook", url=bench.hook_url))["description"] == "Webhook was set"
    assert (await bench.call("deleteWebhook"))["description"] == "Webhook was deleted"
    assert (await bench.call("deleteWebhook"))["description"] == "Webhook is already deleted"


async def test_allowed_updates_are_kept_and_filter(still_bench: Bench) -> None:
    bench = still_bench
    await bench.set_webhook(allowed_updates=["message", "nonsense"])
    assert (await bench.call("getWebhookInfo"))["result"]["allowed_updates"] == ["message"]
    anna = bench.telegram.user(777)
    await anna.send("a")
    anna.block()
    await anna.send("b")
    await bench.telegram.idle()
    assert [set(update) - {"update_id"} for update in bench.hook.updates] == [{"message"}, {"message"}]
    bench.clock.travel(timedelta(seconds=1))
    await bench.set_webhook(max_connections=5)
    assert (await bench.call("getWebhookInfo"))["result"]["allowed_updates"] == ["message"]
    hasty = await bench.call("setWebhook", url=bench.hook_url, allowed_updates=[], drop_pending_updates=True)
    assert hasty["error_code"] == 429
    assert (await bench.call("getWebhookInfo"))["result"]["allowed_updates"] == ["message"]
    bench.clock.travel(timedelta(seconds=1))
    await bench.set_webhook(max_connections=5, allowed_updates=[])
    assert "allowed_updates" not in (await bench.call("getWebhookInfo"))["result"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ('["message",', ["callback_query"]),
        ('{"message": true}', ["callback_query"]),
        ('["message", 5]', ["callback_query"]),
        ("", ["callback_query"]),
        ('["MESSAGE"]', ["message"]),
        ('["nonsense"]', None),
    ],
)
async def test_allowed_updates_that_are_no_list_of_names_change_nothing(
    bench: Bench, given: str, kept: list[str] | None
) -> None:
    await bench.set_webhook(allowed_updates=["callback_query"])
    bench.clock.travel(timedelta(seconds=1))
    again = await bench.call("setWebhook", url=bench.hook_url, secret_token=SECRET, allowed_updates=given)
    assert again["description"] == "Webhook is already set"  # even where the kinds are others from now on
    assert (await bench.call("getWebhookInfo"))["result"].get("allowed_updates") == kept


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://example.com/hook"},
        {"url": "https://example.com:8080/"},
        {"url": "http://127.0.0.1/", "secret_token": "é"},
    ],
)
async def test_a_refused_webhook_costs_the_bot_the_one_it_had(bench: Bench, wrong: dict[str, Any]) -> None:
    await bench.set_webhook()
    bench.clock.travel(timedelta(seconds=1))
    await bench.refusal("setWebhook", **wrong)
    assert (await bench.call("getWebhookInfo"))["result"]["url"] == ""
    await bench.telegram.user(777).send("a")
    bench.clock.travel(timedelta(seconds=1))
    await bench.refusal("setWebhook", drop_pending_updates=True, **wrong)
    assert bench.telegram.pending == []
    assert bench.hook.updates == []


async def test_pending_updates_can_be_dropped(bench: Bench) -> None:
    await bench.telegram.user(777).send("a")
    assert (await bench.call("getWebhookInfo"))["result"]["pending_update_count"] == 1
    await bench.set_webhook(drop_pending_updates=True)
    await bench.telegram.idle()
    assert bench.hook.updates == []


async def test_updates_wait_for_the_webhook(bench: Bench) -> None:
    sent = await bench.telegram.user(777).send("a")
    await bench.set_webhook()
    await bench.telegram.idle()
    assert [update["update_id"] for update in bench.hook.updates] == [sent]


async def test_get_updates_confirms_by_offset(bench: Bench) -> None:
    anna = bench.telegram.user(777)
    sent = [await anna.send(text) for text in "abc"]
    got = (await bench.call("getUpdates", limit=2))["result"]
    assert [update["update_id"] for update in got] == sent[:2]
    assert len((await bench.call("getUpdates", limit=0))["result"]) == 1
    assert len((await bench.call("getUpdates", limit=1000))["result"]) == 3
    got = (await bench.call("getUpdates", offset=sent[1]))["result"]
    assert [update["update_id"] for update in got] == sent[1:]
    assert [pending.update_id for pending in bench.telegram.pending] == sent[1:]
    got = (await bench.call("getUpdates", offset=-1))["result"]
    assert [update["update_id"] for update in got] == sent[2:]
    assert (await bench.call("getUpdates", offset=sent[2] + 1))["result"] == []
    assert bench.telegram.pending == []


async def test_get_updates_waits_and_gives_way(bench: Bench) -> None:
    first = asyncio.create_task(bench.call("getUpdates", timeout=5))
    await until(lambda: len(bench.telegram.calls) == 1)
    second = asyncio.create_task(bench.call("getUpdates", timeout=5))
    conflict = await first
    assert conflict["error_code"] == 409
    assert conflict["description"].startswith("Conflict: terminated by other getUpdates request")
    sent = await bench.telegram.user(777).send("a")
    assert [update["update_id"] for update in (await second)["result"]] == [sent]


async def test_get_updates_conflicts_with_a_webhook(bench: Bench) -> None:
    polling = asyncio.create_task(bench.call("getUpdates", timeout=5))
    await until(lambda: len(bench.telegram.calls) == 1)
    await bench.set_webhook()
    assert (await polling)["error_code"] == 409
    refused = await bench.refusal("getUpdates")
    assert refused.startswith("Conflict: can't use getUpdates method while webhook is active")


def test_the_bots_own_id_is_no_user(bench: Bench) -> None:
    with pytest.raises(ValueError, match="not the bot's"):
        bench.telegram.user(int(TOKEN.partition(":")[0]))
    assert isinstance(bench.telegram, Telegram)
