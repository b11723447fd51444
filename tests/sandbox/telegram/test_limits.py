"""Too many messages are answered 429, with the time to wait in the three places where a bot may look for it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sandbox.telegram import Limits
from sandbox.telegram.calls.limits import Throttle
from sandbox.telegram.protocol.arguments import Arguments
from sandbox.telegram.protocol.errors import ApiError
from tests.sandbox.telegram.conftest import TOKEN
from tests.still_clock import StillClock

if TYPE_CHECKING:
    from tests.sandbox.telegram.conftest import Bench


def sent(throttle: Throttle, method: str, chat: str, times: int) -> list[int]:
    """How many calls pass, then the seconds that the refused ones are told."""
    passed, waits = 0, []
    for _ in range(times):
        try:
            throttle.check(method, Arguments({"chat_id": chat}))
            passed += 1
        except ApiError as error:
            waits.append((error.parameters or {})["retry_after"])
    return [passed, *waits]


def test_a_chat_gets_a_short_burst_and_then_one_a_second() -> None:
    clock = StillClock()
    throttle = Throttle(clock, Limits())
    assert sent(throttle, "sendMessage", "777", 7) == [5, 1, 1]
    assert sent(throttle, "SENDPHOTO", "777", 1) == [0, 1]
    assert sent(throttle, "sendMessage", "778", 1) == [1]
    for _ in range(20):
        clock.travel(timedelta(seconds=1))
        assert sent(throttle, "copyMessage", "777", 2) == [1, 1]


def test_a_group_gets_twenty_a_minute() -> None:
    clock = StillClock()
    throttle = Throttle(clock, Limits(per_chat=100, per_chat_burst=100))
    assert sent(throttle, "sendMessage", "-1001", 21) == [20, 3]
    clock.travel(timedelta(seconds=3))
    assert sent(throttle, "sendMessage", "-1001", 2) == [1, 3]
    clock.travel(timedelta(seconds=60))
    assert sent(throttle, "forwardMessage", "-1001", 21) == [20, 3]


def test_all_chats_together_get_thirty_a_second() -> None:
    clock = StillClock()
    throttle = Throttle(clock, Limits())
    passed = [sent(throttle, "sendMessage", str(user_id), 1)[0] for user_id in range(1, 40)]
    assert passed == [1] * 30 + [0] * 9
    clock.travel(timedelta(seconds=0.5))
    passed = [sent(throttle, "sendMessage", str(user_id), 1)[0] for user_id in range(100, 140)]
    assert sum(passed) == 15


@pytest.mark.parametrize(
    "method", ["editMessageText", "deleteMessage", "answerCallbackQuery", "sendChatAction", "getMe"]
)
def test_what_sends_nothing_is_not_counted(method: str) -> None:
    assert sent(Throttle(StillClock(), Limits()), method, "777", 100) == [100]


async def test_a_bot_is_told_in_text_parameter_and_header(still_bench: Bench) -> None:
    bench = still_bench
    await bench.telegram.user(777).send("/start")
    for _ in range(10):  # without limits everything passes
        assert (await bench.call("sendMessage", chat_id=777, text="a"))["ok"]
    bench.telegram.limits = Limits(per_chat=0.1, per_chat_burst=1)
    url, hello = f"{bench.url}/bot{TOKEN}/sendMessage", {"chat_id": 777, "text": "a"}
    assert (await bench.client.post(url, json=hello)).status_code == 200
    refused = await bench.client.post(url, json=hello)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
    assert refused.json() == {
        "ok": False,
        "error_code": 429,
        "description": "Too Many Requests: retry after 10",
        "parameters": {"retry_after": 10},
    }
    assert len(bench.telegram.user(777).messages) == 12
    bench.clock.travel(timedelta(seconds=10))
    assert (await bench.client.post(url, json=hello)).status_code == 200
    bench.telegram.limits = None
    assert (await bench.client.post(url, json=hello)).status_code == 200
