"""A sixth provider, as another one would be added: this module, and one line of the registry.

It differs from Crypto Pay in whatever the port leaves open: charges have ids of their own, amounts are whole minor units, a fee is
kept in the currency of the price, and the list of charges begins with the oldest.
"""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx

from lib import json_reader
from lib.domain.reconciliation import CHARGE, REFUND, Line
from lib.domain.settlement import Event, Money
from lib.payments.provider import Answer, GivenBack, Invoice, Listed, Looked, PaidPage, ProviderError, Unpaid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from lib.domain.inbox import StoredEvent
    from lib.domain.orders import Order
    from lib.domain.refund_requests import Charge

NAME = "sample"
ADDRESS = "https://sample.test"
SECRET = "sample-secret"


def read(stored: StoredEvent) -> Event:
    try:
        charge = json_reader.read_object(stored.body)
        if stored.kind == "refund":
            return refund_of(charge, stored.body, stored.via, stored.correlation_id)
        return event_of(charge, stored.body, stored.via, stored.correlation_id)
    except (json_reader.UnreadableJson, KeyError, TypeError, ValueError):
        return Event(
            NAME,
            stored.external_id,
            stored.body,
            stored.via,
            stored.correlation_id,
            None,
            "unreadable",
            kind=stored.kind,
        )


def connect(http: Callable[[], httpx.AsyncClient]) -> Sample:
    return Sample(http)


def gives_back(http: Callable[[], httpx.AsyncClient]) -> Sample:
    return Sample(http)


def refund_of(refund: Mapping[str, Any], body: bytes, via: str, correlation_id: str) -> Event:
    """A refund has an id of its own; the fee is what the refund cost."""
    money = Money(
        amount=int(refund["amount"]),
        currency=refund["currency"],
        invoice_id="",
        purchase_id=None,
        fee_asset=refund["currency"] if refund["fee"] else None,
        fee_amount=refund["fee"],
    )
    return Event(NAME, refund["refund"], body, via, correlation_id, money, kind="refund", charge_id=refund["charge"])


def account(http: Callable[[], httpx.AsyncClient]) -> SampleAccount:
    return SampleAccount(Sample(http))


def event_of(charge: Mapping[str, Any], body: bytes, via: str, correlation_id: str) -> Event:
    money = Money(
        amount=int(charge["amount"]),
        currency=charge["currency"],
        invoice_id=charge["invoice"],
        purchase_id=UUID(charge["purchase"]) if charge["purchase"] else None,
        fee_asset=charge["currency"],
        fee_amount=charge["fee"],
    )
    return Event(NAME, charge["charge"], body, via, correlation_id, money)


class Sample:
    name = NAME
    label = "Sample"
    page = 100
    stride = 100
    asks_first = False

    def __init__(self, http: Callable[[], httpx.AsyncClient]) -> None:
        self._http = http

    async def make(self, order: Order, title: str) -> Invoice:
        asked = {"purchase": str(order.purchase_id), "amount": order.price, "currency": order.currency, "title": title}
        made = await self.call("invoices", asked)
        return Invoice(made["invoice"], made["url"])

    async def unpaid(self) -> AsyncIterator[Sequence[Unpaid]]:
        yield [
            Unpaid(UUID(one["purchase"]), one["amount"], one["currency"], Invoice(one["invoice"], one["url"]))
            for one in await self.call("unpaid", {})
            if one["purchase"]
        ]

    async def look(self, invoice_ids: Sequence[str]) -> Looked:
        said = await self.call("look", {"invoices": list(invoice_ids)})
        return Looked(
            {one["invoice"]: one["charge"] for one in said if one["charge"]},
            frozenset(one["invoice"] for one in said if one["over"]),
            frozenset(one["invoice"] for one in said if not one["over"] and not one["charge"]),
            complete=True,
        )

    async def listed(self, start: int) -> PaidPage:
        charges = await self.call("charges", {"start": start, "count": self.page})
        return PaidPage({one["charge"]: one for one in charges}, start + max(1, len(charges)))

    def event(self, said: Mapping[str, Any], via: str, correlation_id: str) -> Event:
        return event_of(said, json.dumps(said).encode(), via, correlation_id)

    async def withdraw(self, invoice_id: str) -> None:
        await self.call("withdraw", {"invoice": invoice_id})

    async def give_back(self, charge: Charge, correlation_id: str) -> GivenBack:
        try:
            said = await self.call("refund", {"charge": charge.charge_id})
        except ProviderError as error:
            return GivenBack(Answer.UNKNOWN, reason=str(error))
        if "error" in said:
            answer = Answer.ALREADY if said["error"] == "already" else Answer.REFUSED
            return GivenBack(answer, reason=said["error"])
        return GivenBack(Answer.DONE, refund_of(said, json.dumps(said).encode(), "sweep", correlation_id))

    async def outcome(self, charge: Charge, correlation_id: str) -> GivenBack:
        try:
            listed = await self.call("refunds", {"charge": charge.charge_id})
        except ProviderError as error:
            return GivenBack(Answer.UNKNOWN, reason=str(error))
        if not listed:
            return GivenBack(Answer.NOT)
        news = refund_of(listed[0], json.dumps(listed[0]).encode(), "sweep", correlation_id)
        return GivenBack(Answer.DONE, news)

    async def call(self, method: str, asked: dict[str, Any]) -> Any:
        try:
            answer = await self._http().post(f"{ADDRESS}/{method}", json=asked, headers={"Authorization": SECRET})
        except httpx.HTTPError as error:
            raise ProviderError(f"{method}: {type(error).__name__}") from None
        if answer.status_code != httpx.codes.OK:
            raise ProviderError(f"{method}: HTTP {answer.status_code}")
        return json_reader.read(answer.content)


class SampleAccount:
    lists = frozenset({CHARGE, REFUND})
    begins: datetime | None = None
    ends: datetime | None = None

    def __init__(self, client: Sample) -> None:
        self._client = client

    async def balances(self) -> Mapping[str, Decimal]:
        return {asset: Decimal(amount) for asset, amount in (await self._client.call("balances", {})).items()}

    async def lines(self, _since: datetime | None) -> AsyncIterator[Listed]:
        start = 0
        while rows := await self._client.call("charges", {"start": start, "count": self._client.page}):
            start += len(rows)
            yield Listed([line_of(row) for row in rows], complete=True)
        yield Listed([refund_line_of(row) for row in await self._client.call("refunds", {})], complete=True)

    async def look(self, _ids: Sequence[str]) -> Listed:
        return Listed((), complete=False)


def line_of(charge: Mapping[str, Any]) -> Line:
    amount = Decimal(charge["amount"]).scaleb(-2)
    return Line(
        CHARGE,
        charge["charge"],
        charge["currency"],
        amount,
        Decimal(charge["fee"]),
        at=datetime.fromisoformat(charge["at"]),
    )


def refund_line_of(refund: Mapping[str, Any]) -> Line:
    amount, fee = -Decimal(refund["amount"]).scaleb(-2), Decimal(refund["fee"])
    return Line(REFUND, refund["refund"], refund["currency"], amount, fee, at=datetime.fromisoformat(refund["at"]))
