"""The other side of the sample provider: what it would answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx

from tests.integration.payments.sample import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable


class SampleStandIn:
    """Takes money for invoices that it made.

    Attributes:
        down: every call is refused.
        refunds: by the charge, what was given back.
        frozen: charges that are not given back.
        withdrawn: what left the account besides, by currency.
        now: its clock.
    """

    now: Callable[[], datetime] = staticmethod(lambda: datetime.now(UTC))

    def __init__(self) -> None:
        self.invoices: dict[str, dict[str, Any]] = {}
        self.charges: list[dict[str, Any]] = []
        self.refunds: dict[str, dict[str, Any]] = {}
        self.frozen: set[str] = set()
        self.down = False
        self.withdrawn: dict[str, Decimal] = {}
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self._serve))

    def pay(self, invoice_id: str) -> dict[str, Any]:
        invoice = self.invoices[invoice_id]
        number = len(self.charges) + 1
        charge = {name: invoice[name] for name in ("invoice", "purchase", "amount", "currency")}
        charge |= {"charge": f"ch-{number}", "fee": "1.23", "at": self.now().isoformat()}
        invoice["charge"] = charge
        self.charges.append(charge)
        return charge

    def expire(self, invoice_id: str) -> None:
        self.invoices[invoice_id]["over"] = True

    def _serve(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            return httpx.Response(503)
        if request.headers["Authorization"] != SECRET:
            return httpx.Response(401)
        answer = getattr(self, f"_{request.url.path.strip('/')}")(json.loads(request.content))
        return httpx.Response(200, json=answer)

    def _invoices(self, asked: dict[str, Any]) -> Any:
        number = f"in-{len(self.invoices) + 1}"
        self.invoices[number] = asked | {
            "invoice": number,
            "url": f"https://sample.test/{number}",
            "charge": None,
            "over": False,
        }
        return self.invoices[number]

    def _unpaid(self, _asked: dict[str, Any]) -> Any:
        return [one for one in self.invoices.values() if not one["charge"] and not one["over"]]

    def _look(self, asked: dict[str, Any]) -> Any:
        return [self.invoices[key] for key in asked["invoices"] if key in self.invoices]

    def _charges(self, asked: dict[str, Any]) -> Any:
        return self.charges[asked["start"] : asked["start"] + asked["count"]]

    def _refund(self, asked: dict[str, Any]) -> Any:
        key = asked["charge"]
        charge = next((one for one in self.charges if one["charge"] == key), None)
        if charge is None or key in self.frozen:
            return {"error": "unknown" if charge is None else "frozen"}
        if key in self.refunds:
            return {"error": "already"}
        said = {"refund": f"re-{len(self.refunds) + 1}", "charge": key, "fee": "0.50", "at": self.now().isoformat()}
        self.refunds[key] = said | {name: charge[name] for name in ("amount", "currency")}
        return self.refunds[key]

    def _refunds(self, asked: dict[str, Any]) -> Any:
        return [one for key, one in self.refunds.items() if key == asked.get("charge", key)]

    def _balances(self, _asked: dict[str, Any]) -> Any:
        held = {currency: -amount for currency, amount in self.withdrawn.items()}
        for one in self.charges:
            came = Decimal(one["amount"]).scaleb(-2) - Decimal(one["fee"])
            held[one["currency"]] = held.get(one["currency"], Decimal(0)) + came
        for one in self.refunds.values():
            held[one["currency"]] -= Decimal(one["amount"]).scaleb(-2) + Decimal(one["fee"])
        return {currency: str(amount) for currency, amount in held.items()}

    def _withdraw(self, asked: dict[str, Any]) -> Any:
        self.expire(asked["invoice"])
        return True
