"""The few calls of the Bot API that a deploy makes. The token is in the address: no error's text holds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx

_TIMEOUT_S = 30


class TelegramRefused(Exception):
    """Telegram said no, or did not answer; the text is the method and Telegram's own words."""


@dataclass(frozen=True, slots=True)
class BotApi:
    """One bot.

    Args:
        base: of the addresses, without a slash at the end.
        token: the bot's.
    """

    base: str
    token: str = field(repr=False)

    def call(self, method: str, **arguments: Any) -> Any:
        """The call's result.

        Raises:
            TelegramRefused
        """
        try:
            answer = httpx.post(
                f"{self.base}/bot{self.token}/{method}", json=arguments, timeout=_TIMEOUT_S, follow_redirects=False
            )
            told = answer.json()
        except httpx.HTTPError as error:
            raise TelegramRefused(f"{method}: no answer from {self.base} ({type(error).__name__})") from None
        except ValueError:
            raise TelegramRefused(f"{method}: {self.base} does not answer as the Bot API does") from None
        if not isinstance(told, dict) or told.get("ok") is not True:
            description = told.get("description", "refused") if isinstance(told, dict) else "refused"
            raise TelegramRefused(f"{method}: {str(description).replace(self.token, '<token>')}")
        return told.get("result")
