"""A customer who presses again whenever their patience ends (sandbox/system/customer.py)."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from sandbox.system.customer import Customer
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.telegram.user import User


class _LateChat:
    """A chat whose answer comes in the very moment in which patience ends."""

    def __init__(self) -> None:
        self.account = SimpleNamespace(first_name="Anna")
        self.pressed = 0
        self.messages = [_message("Pay?", [[{"text": "Pay", "callback_data": "pay:1"}]])]

    async def wait_for(self, wanted: Callable[[list[dict[str, Any]]], Any], timeout_s: float) -> Any:
        ends = time.monotonic() + timeout_s
        if not (found := wanted(self.messages)):
            await until(lambda: time.monotonic() >= ends)
            self.messages = [_message("Order 1", [])]
            raise AssertionError("not seen")
        return found

    async def click_raw(self, _message_id: int, _data: str) -> None:
        self.pressed += 1


def _message(text: str, keyboard: list[list[dict[str, str]]]) -> dict[str, Any]:
    return {"message_id": 1, "from": {"is_bot": True}, "text": text, "reply_markup": {"inline_keyboard": keyboard}}


async def test_what_came_while_they_reached_for_the_button_again_is_taken() -> None:
    """The button is gone then, with the screen that it belonged to: to wait for it would be to wait for ever."""
    chat = _LateChat()
    anna = Customer(cast("User", chat), 0.05, None)
    async with asyncio.timeout(5):
        shown = await anna.follow(("pay:",), lambda message: message["text"] == "Order 1", "an order")
    assert (shown["text"], chat.pressed) == ("Order 1", 1)
