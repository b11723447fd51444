"""A person at the other end of the bot: sends updates, remembers the last screen, presses its buttons by their text."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any

from lib.bot.handle import handle
from lib.domain.settlement import Event, Money
from lib.domain.updates import Incoming
from lib.payments.provider import Invoice, Looked, PaidPage, ProviderError, Unpaid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from uuid import UUID

    from lib.bot.services import Services
    from lib.domain.orders import Order
    from lib.domain.updates import Handled

_update_ids = itertools.count(1000)


class FakeProvider:
    """Counts what it is asked; invoices are paid by the test."""

    name = "cryptobot"
    label = "CryptoBot"
    page = 1000
    stride = 1000
    asks_first = False

    def __init__(self) -> None:
        self.created: list[Order] = []
        self.descriptions: list[str] = []
        self.deleted: list[str] = []
        self.over: set[str] = set()
        self.asked: list[str] = []
        self.paid: dict[str, Money] = {}
        self.hidden: dict[UUID, Invoice] = {}
        self.down = False
        self.gate: asyncio.Event | None = None

    async def make(self, order: Order, title: str) -> Invoice:
        self.created.append(order)
        self.descriptions.append(title)
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)
        if self.down:
            raise ProviderError("down")
        number = len(self.created)
        return Invoice(f"inv-{number}", f"https://t.me/CryptoBot?start=inv{number}")

    async def unpaid(self) -> AsyncIterator[list[Unpaid]]:
        agreed = {order.purchase_id: order for order in self.created}
        yield [
            Unpaid(key, agreed[key].price, agreed[key].currency, invoice)
            for key, invoice in self.hidden.items()
            if key in agreed
        ]

    async def look(self, invoice_ids: Sequence[str]) -> Looked:
        self.asked += invoice_ids
        if self.down:
            raise ProviderError("down")
        paid = {key: {"invoice_id": key} for key in invoice_ids if key in self.paid and key not in self.over}
        over = frozenset(key for key in invoice_ids if key in self.over)
        return Looked(paid, over, frozenset(invoice_ids) - paid.keys() - over, complete=True)

    async def listed(self, start: int) -> PaidPage:
        raise NotImplementedError

    def event(self, said: Mapping[str, Any], via: str, correlation_id: str) -> Event:
        invoice_id = said["invoice_id"]
        return Event(self.name, invoice_id, b"{}", via, correlation_id, self.paid[invoice_id])

    async def withdraw(self, invoice_id: str) -> None:
        self.deleted.append(invoice_id)
        if self.down:
            raise ProviderError("down")

    def pay(self, order: Order, invoice_id: str) -> None:
        self.paid[invoice_id] = Money(order.price, order.currency, invoice_id, order.purchase_id)


class Customer:
    def __init__(self, services: Services, telegram_id: int, *, name: str = "Anna", language: str = "ru") -> None:
        self.services = services
        self.telegram_id = telegram_id
        self.user: dict[str, Any] = {"id": telegram_id, "is_bot": False, "first_name": name, "language_code": language}
        self.chat: dict[str, Any] = {"id": telegram_id, "type": "private", "first_name": name}
        self.screen: dict[str, Any] = {}
        self.toast = ""

    @property
    def text(self) -> str:
        return str(self.screen.get("text") or self.screen.get("caption") or "")

    @property
    def buttons(self) -> list[dict[str, Any]]:
        return [button for row in self.screen["reply_markup"]["inline_keyboard"] for button in row]

    def button(self, text: str) -> dict[str, Any]:
        found = [button for button in self.buttons if text in button["text"]]
        assert len(found) == 1, f"{text!r} among {[button['text'] for button in self.buttons]}"
        return found[0]

    def data(self, text: str) -> str:
        return str(self.button(text)["callback_data"])

    def typed(self, text: str) -> dict[str, Any]:
        return {
            "update_id": next(_update_ids),
            "message": {"message_id": 10, "date": 1_700_000_000, "chat": self.chat, "from": self.user, "text": text},
        }

    def tap_of(self, data: str) -> dict[str, Any]:
        number = next(_update_ids)
        message = {"message_id": 11, "date": 1_700_000_000, "chat": self.chat, "text": "a screen"}
        query = {"id": f"q{number}", "from": self.user, "chat_instance": "1", "data": data, "message": message}
        return {"update_id": number, "callback_query": query}

    async def give(self, update: dict[str, Any]) -> Handled:
        number = update["update_id"]
        handled = await handle(self.services, Incoming(number, json.dumps(update), f"tg-{number}"), update)
        for call in handled.reply:
            if call["method"] == "answerCallbackQuery":
                self.toast = call.get("text", "")
            else:
                self.screen = call
        return handled

    async def say(self, text: str) -> Handled:
        return await self.give(self.typed(text))

    async def tap(self, data: str) -> Handled:
        return await self.give(self.tap_of(data))

    async def press(self, text: str) -> Handled:
        return await self.tap(self.data(text))

    async def go_to_confirm(self, tariff: str = "Basic", period: str = "30 дней") -> None:
        await self.say("/buy")
        await self.press(tariff)
        await self.press(period)
