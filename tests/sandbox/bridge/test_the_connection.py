"""The long poll outlives what heals, and ends in words at what does not."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from sandbox.stand_in.server import Server
from tests.waiting import until

if TYPE_CHECKING:
    from tests.sandbox.bridge.conftest import Near


async def test_no_network_is_told_once_and_outlived(near: Near) -> None:
    line = Server(near.far.telegram.app)
    await line.start()
    near.far.url = line.url
    async with near.bridge() as bridge:
        await until(lambda: near.far.telegram.calls)
        await line.stop()
        await until(lambda: any("can't be reached" in said for said in near.said))
        await near.far.telegram.user(1, "Anna").send("meanwhile")
        line = Server(near.far.telegram.app, line.port)
        await line.start()
        await until(lambda: near.function.updates)
        await bridge.idle(5)
    await line.stop()
    assert near.function.texts() == ["meanwhile"]
    assert [said.partition(" (")[0] for said in near.said] == ["Telegram can't be reached", "Telegram answers again."]
    assert "real_looking" not in "".join(near.said)


async def test_a_server_that_is_ill_is_asked_again(near: Near) -> None:
    near.far.telegram.fail_next("getUpdates", 502, "Bad Gateway", times=3)
    async with near.bridge() as bridge:
        await near.far.telegram.user(1, "Anna").send("x")
        await until(lambda: near.function.updates)
        await bridge.idle(5)
    assert any("502" in line for line in near.said)


async def test_flood_control_is_waited_out(near: Near) -> None:
    near.far.telegram.fail_next("getUpdates", 429, retry_after=1)
    began = time.monotonic()
    async with near.bridge():
        await near.far.telegram.user(1, "Anna").send("x")
        await until(lambda: near.function.updates)
    assert time.monotonic() - began >= 1


async def test_a_revoked_token_ends_it(near: Near) -> None:
    async with near.bridge() as bridge:
        near.far.telegram.fail_next("getUpdates", 401, "Unauthorized")
        assert "revoked" in await asyncio.wait_for(bridge.ended(), 5)


async def test_a_webhook_set_by_another_ends_it_and_stays(near: Near) -> None:
    async with near.bridge() as bridge:
        await until(lambda: near.far.telegram.calls)
        assert (await near.far.call("setWebhook", url=near.function.url))["ok"]
        assert "webhook" in await asyncio.wait_for(bridge.ended(), 5)
    assert (await near.far.call("getWebhookInfo"))["result"]["url"] == near.function.url


async def test_another_poller_is_told_and_waited_for(near: Near) -> None:
    async with near.bridge():
        await until(lambda: near.far.telegram.calls)
        async with asyncio.timeout(30):
            while not near.said:  # between two polls of the bridge there is none to end
                await near.far.call("getUpdates", timeout=0)
        await near.far.telegram.user(1, "Anna").send("x")
        await until(lambda: near.function.updates)
    assert [line for line in near.said if "Another program" in line] == near.said


async def test_another_poller_that_goes_on_ends_it(near: Near) -> None:
    async def goes_on() -> None:
        while True:
            await near.far.call("getUpdates", timeout=1)

    async with near.bridge() as bridge:
        other = asyncio.create_task(goes_on())
        try:
            reason = await asyncio.wait_for(bridge.ended(), 10)
        finally:
            other.cancel()
            await asyncio.wait([other])
    assert "Another program keeps asking" in reason
