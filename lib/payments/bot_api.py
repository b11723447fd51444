"""The few calls of the Bot API that are about money, without aiogram. The token stands in the address: no text names either."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from lib import json_reader
from lib.payments.provider import Invoice, ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from lib.domain.orders import Order
    from lib.settings.plain import TelegramSettings

_MOST_BYTES = 4 * 1024 * 1024
"""An answer about a hundred transactions is a hundredth of it."""
_TITLE, _DESCRIPTION = 32, 255
# What may be repeated of a refusal: Telegram's own names of errors, and its plain words.
_WORDS = re.compile(r"[A-Za-z0-9_ :,.'()-]{1,200}", re.ASCII)
_WHOLE_BOT = frozenset({401, 404, 429})


class NotSent(ProviderError):
    """Telegram certainly did nothing: out of reach, the bot is refused as a whole, too many calls, or trouble that it tells of."""


class Refused(ProviderError):
    """Telegram refuses this very call, and did nothing.

    Attributes:
        name: of the error, as Telegram writes it (`CHARGE_ALREADY_REFUNDED`), or its words.
    """

    def __init__(self, method: str, code: int, name: str) -> None:
        super().__init__(f"{method}: HTTP {code} {name}".rstrip())
        self.name = name


class BotApi:
    """Calls for one bot.

    Args:
        client: gives the HTTP client when the first call is made.
        settings: of the bot.
    """

    def __init__(self, client: Callable[[], httpx.AsyncClient], settings: TelegramSettings) -> None:
        self._client = client
        self._settings = settings

    async def call(self, method: str, parameters: Mapping[str, Any]) -> Any:
        """The result of a call.

        Raises:
            NotSent, Refused: see there.
            ProviderError: it may have had its effect.
        """
        import httpx  # noqa: PLC0415 -- loaded only when a call is made: the webhook's first answer makes none

        address = f"{self._settings.api_base}/bot{self._settings.token}/{method}"
        try:
            answer = await self._client().post(address, json=dict(parameters), timeout=httpx.Timeout(10.0, connect=5.0))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSent(f"{method}: {type(error).__name__}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProviderError(f"{method}: {type(error).__name__}") from None
        return _result(method, answer.status_code, answer.content)

    async def invoice_link(
        self, order: Order, title: str, provider_token: str = "", **more: str | int | bool
    ) -> Invoice:
        """Make the link of an order's invoice, which anyone may open, and which can be neither listed nor withdrawn.

        Args:
            order: its purchase id is what the charge will name.
            title: what is bought.
            provider_token: of the card's provider; Stars have none.
            more: further parameters of `createInvoiceLink`.

        Raises:
            ProviderError: refused, or unknown whether it was made. One that was made and never heard of takes no money by itself.
        """
        link = await self.call(
            "createInvoiceLink",
            {
                "title": title[:_TITLE],
                "description": title[:_DESCRIPTION],
                "payload": str(order.purchase_id),
                "provider_token": provider_token,
                "currency": order.currency,
                "prices": json.dumps([{"label": title[:_TITLE], "amount": order.price}]),
                **more,
            },
        )
        if not isinstance(link, str) or not link.startswith("https://") or not json_reader.is_storable(link):
            raise ProviderError("createInvoiceLink: unreadable answer")
        return Invoice(link.rpartition("/")[2] or link, link)


def _result(method: str, status: int, body: bytes) -> Any:
    if len(body) > _MOST_BYTES:
        raise ProviderError(f"{method}: an answer of more than 4 MiB")
    try:
        answer = json_reader.read_object(body)
    except json_reader.UnreadableJson as error:
        raise ProviderError(f"{method}: HTTP {status}, {error}") from None
    if answer.get("ok") is True:
        return answer.get("result")
    if answer.get("ok") is not False:
        raise ProviderError(f"{method}: HTTP {status}, neither yes nor no")
    code = json_reader.id_or_zero(answer.get("error_code")) or status
    said = answer.get("description")
    words = said.removeprefix("Bad Request: ") if isinstance(said, str) else ""
    name = words if _WORDS.fullmatch(words) else ""
    if code in _WHOLE_BOT or code >= 500:  # noqa: PLR2004 -- trouble of the server, which tells that it did nothing
        raise NotSent(f"{method}: HTTP {code} {name}".rstrip())
    raise Refused(method, code, name)
