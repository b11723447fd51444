"""The real Telegram on this machine without a public address: getUpdates, carried to the local webhook.

    bot = await look(token, PUBLIC_API)          # refuses a bot that has a webhook
    System(home, messenger=functools.partial(Bridge, bot=bot, say=print))

Functions can't tell: updates come as Telegram sends them (the same queues, retries and expiry as the stand-in's, the same
code), and they call the real Bot API themselves. The token is in no text that this package makes.
"""

from sandbox.bridge.api import PUBLIC_API
from sandbox.bridge.bot import Bot, UnusableBotError, look
from sandbox.bridge.carrier import Bridge

__all__ = ["PUBLIC_API", "Bot", "Bridge", "UnusableBotError", "look"]
