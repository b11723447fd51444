"""Cards by Telegram Payments: invoice links with the token of a payment provider, in the shop's currency.

A link can be paid by anyone, any number of times, and can be neither listed nor withdrawn: whether it takes money is decided at the
pre-checkout (`lib/domain/checkout.py`). Telegram lists no card payments, so what no update told of is found in the provider's
statement (`card_statement`), and money goes back at the provider, by hand, which the statement tells as well.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lib import currencies, json_reader
from lib.domain import statements
from lib.payments import telegram_charges
from lib.payments.bot_api import BotApi
from lib.payments.provider import Looked, PaidPage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from typing import Any

    import httpx

    from lib.domain.inbox import StoredEvent
    from lib.domain.orders import Order
    from lib.domain.settlement import Event
    from lib.payments.provider import Invoice, Unpaid
    from lib.settings.plain import CardSettings

NAME = telegram_charges.CARD
_UNREADABLE = "not what a statement's line is stored as"
_PAGE = 100
_LONGEST_ITEM = 128
# What is paid into the balance is an advance, whatever the shop sells.
_ADVANCE = {"payment_subject": "payment", "payment_mode": "advance"}
_SALE = {"payment_subject": "service", "payment_mode": "full_payment"}


def read(stored: StoredEvent) -> Event:
    """See `Provider.read`: an update, or a line of a statement."""
    if stored.via != statements.VIA:
        return telegram_charges.read(stored)
    try:
        said = json_reader.read_object(stored.body)
        event = statements.event_of_body(NAME, said, stored.body, stored.via, stored.correlation_id)
    except json_reader.UnreadableJson as error:
        return telegram_charges.unreadable(stored, str(error))
    except (LookupError, TypeError, ValueError):
        return telegram_charges.unreadable(stored, _UNREADABLE)
    same = (event.external_id, event.kind) == (stored.external_id, stored.kind)
    return event if same else telegram_charges.unreadable(stored, _UNREADABLE)


def connect(http: Callable[[], httpx.AsyncClient]) -> Card | None:
    """See `Provider.connect`."""
    from lib.settings import plain  # noqa: PLC0415 -- only where invoices are made

    settings = plain.card()
    if not settings.token:
        return None
    # where no invoice is made (a sweep), the bot's own token may be lacking
    return Card(lambda: BotApi(http, plain.telegram()), settings)


def gives_back(_http: Callable[[], httpx.AsyncClient]) -> None:
    """See `Provider.gives_back`: Telegram gives back Stars alone; a card's money goes back at its provider, by hand."""


def account(_http: Callable[[], httpx.AsyncClient]) -> None:
    """See `Provider.account`: there is nothing to ask; a statement is compared when it is uploaded."""


class Card:
    """What makes invoices.

    Args:
        api: gives what calls Telegram, when the first call is made.
        settings: of the provider.
    """

    def __init__(self, api: Callable[[], BotApi], settings: CardSettings) -> None:
        self._api = api
        self._settings = settings

    @property
    def name(self) -> str:
        """See `Invoices`."""
        return NAME

    @property
    def label(self) -> str:
        """See `Invoices`."""
        return "Bank card"

    @property
    def page(self) -> int:
        """See `Invoices`."""
        return _PAGE

    @property
    def stride(self) -> int:
        """See `Invoices`."""
        return _PAGE

    @property
    def asks_first(self) -> bool:
        """See `Invoices`."""
        return True

    async def make(self, order: Order, title: str) -> Invoice:
        """See `Invoices.make`. What is made twice is harmless: a pre-checkout lets one charge of an order through."""
        return await self._api().invoice_link(
            order, title, self._settings.token, **_receipt(order, title, self._settings.receipt)
        )

    async def unpaid(self) -> AsyncIterator[Sequence[Unpaid]]:
        """See `Invoices.unpaid`: links can't be listed."""
        none: tuple[Sequence[Unpaid], ...] = ()
        for page in none:
            yield page

    async def look(self, invoice_ids: Sequence[str]) -> Looked:  # noqa: ARG002 -- as the port has it
        """See `Invoices.look`: links can't be asked about, and that says nothing of them."""
        return Looked({}, frozenset(), frozenset(), complete=False)

    async def listed(self, start: int) -> PaidPage:
        """See `Invoices.listed`: Telegram has no list of them."""
        return PaidPage({}, start + 1)

    def event(self, said: Mapping[str, Any], via: str, correlation_id: str) -> Event:
        """See `Invoices.event`: a line of a statement, as it is stored."""
        return statements.event_of_body(NAME, said, json.dumps(said).encode(), via, correlation_id)

    async def withdraw(self, invoice_id: str) -> None:
        """See `Invoices.withdraw`: a link can't be; its order's pre-checkout is refused from now on."""


def _receipt(order: Order, title: str, fields: Mapping[str, str]) -> dict[str, str | bool]:
    """What the provider needs for the receipt that it sends: one item over the price, and where to send it."""
    if not fields:
        return {}
    price = currencies.of(order.currency).decimal(order.price)
    said = {**_SALE, **fields} | (_ADVANCE if order.kind == "top_up" else {})
    item = {
        "description": title[:_LONGEST_ITEM],
        "quantity": "1.00",
        "amount": {"value": price, "currency": order.currency},
        "vat_code": int(said["vat_code"]),
        "payment_subject": said["payment_subject"],
        "payment_mode": said["payment_mode"],
    }
    receipt: dict[str, object] = {"items": [item]}
    if "tax_system_code" in said:
        receipt["tax_system_code"] = int(said["tax_system_code"])
    data = json.dumps({"receipt": receipt}, ensure_ascii=False)
    return {"provider_data": data, "need_email": True, "send_email_to_provider": True}
