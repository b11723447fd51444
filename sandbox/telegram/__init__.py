"""Telegram on loopback, as strict as the real one: the Bot API, its delivery of updates, and a chat page.

    telegram = Telegram(token="42:TEST", bot_username="atlas_local_bot", clock=Clock())
    server = Server(telegram.app)
    anna = telegram.user(777, first_name="Anna", language_code="ru")
    await anna.send("/start")

What is refused is refused with the real server's words. What the real server can do and the stand-in can not is answered
501, never with a success that means nothing.
"""

from sandbox.telegram.calls.bot_api import Call
from sandbox.telegram.calls.limits import Limits
from sandbox.telegram.payments.checkout import Payment
from sandbox.telegram.stand_in import Telegram
from sandbox.telegram.state.queries import Answer
from sandbox.telegram.updates.delivery import Attempt, Timing, Webhook
from sandbox.telegram.user import User

__all__ = ["Answer", "Attempt", "Call", "Limits", "Payment", "Telegram", "Timing", "User", "Webhook"]
