"""P7: a pass of `sweep_payments` over open invoices, against a provider that answers each call in 50 ms.

The sweep's own work runs here, with its adapter of Crypto Pay and a database session as a function has it; the provider is a stand-in
behind the HTTP client, which holds every invoice as unpaid, counts the calls and lets each wait. What it is compared with is one
request an invoice: that many times 50 ms, which needs no measuring.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from typing import TYPE_CHECKING, Any, cast

import httpx

from bench.figures import Bar, Outcome, Plot, Row, Series
from bench.settled import open_orders
from functions.sweeps import sweep_payments
from lib import bootstrap
from lib.db import Database
from lib.db.connection import Timeouts
from lib.payments.cryptopay import CryptoPay
from lib.settings.plain import CryptoPaySettings
from lib.sweeps.runner import Run

if TYPE_CHECKING:
    from bench.buyers import Buyers
    from bench.sizes import Sizes
    from lib.db.lock import SweepLock
    from sandbox.system.system import System

_ANSWER_S = 0.05
_MOST_CALLS, _MOST_S = 12, 3.0
_FIRST = 20_000_001
_CLOSE = "update orders set status = 'expired', provider_closed_at = atlas.now() where status = 'open' or provider_closed_at is null and status <> 'paid'"


class WrongPassError(RuntimeError):
    """A pass looked at other invoices than there are."""


class _Provider:
    """Crypto Pay's `getInvoices`, every invoice from the first number on still unpaid."""

    def __init__(self) -> None:
        self.held = 0
        self.calls = 0
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self._serve))

    async def _serve(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        asked = json.loads(request.content)
        numbers = [int(one) for one in str(asked.get("invoice_ids", "")).split(",") if one]
        items = [
            {"invoice_id": one, "status": "active", "currency_type": "fiat", "fiat": "RUB", "amount": "149"}
            for one in numbers
            if one < _FIRST + self.held
        ]
        await asyncio.sleep(_ANSWER_S)
        return httpx.Response(200, json={"ok": True, "result": {"items": items}})


class _NoQueue:
    """Nothing is paid, so nothing follows."""

    async def create(self, _task: object) -> bool:
        raise WrongPassError("something was to follow")


class _Held:
    """The lock of a run that is the only one."""

    async def renew(self) -> None:
        """It is there."""


async def measure(system: System, _buyers: Buyers, sizes: Sizes) -> Outcome:
    """Raises: WrongPassError."""
    provider = _Provider()
    settings = CryptoPaySettings(("1:bench",), "http://pay.bench", ("USDT",))
    adapter = CryptoPay(lambda: provider.client, settings, invoice_seconds=3600)
    db = Database(system.database.functions_url, connections=3, application="bench", timeouts=Timeouts(20_000))
    made: dict[str, Any] = {"invoices": lambda: {adapter.name: adapter}, "giving_back": dict, "task_queue": _NoQueue}
    had = {name: getattr(bootstrap, name) for name in made}
    for name, make in made.items():
        setattr(bootstrap, name, make)
    held = [sizes.watched // 10, sizes.watched, sizes.watched * sizes.watched_growth]
    passes: list[list[float]] = []
    calls: list[int] = []
    try:
        await system.sql(_CLOSE)
        for size in held:
            await open_orders(system, _FIRST + provider.held, size - provider.held)
            provider.held = size
            rounds = []
            for _ in range(sizes.watched_rounds + 1):  # the first one prepares its statements
                provider.calls = 0
                rounds.append(await _pass(db, size))
            passes.append(rounds[1:])
            calls.append(provider.calls)
        await system.sql(_CLOSE)
    finally:
        for name, make in had.items():
            setattr(bootstrap, name, make)
        await db.close()
        await provider.client.aclose()
    return _outcome(held, passes, calls)


async def _pass(db: Database, size: int) -> float:
    """Seconds of one."""
    run = Run(db, "payments", "bench", {}, cast("SweepLock", _Held()))
    began = time.perf_counter()
    await sweep_payments._work(run)  # noqa: SLF001 -- a run as the runner makes it, without the request around it
    took = time.perf_counter() - began
    if run.broken or run.failed or (run.claimed != size and not run.more):
        raise WrongPassError(f"{run.claimed} of {size} looked at, {run.failed} failed")
    return took


def _outcome(held: list[int], passes: list[list[float]], calls: list[int]) -> Outcome:
    ours = [Series.of(one) for one in passes]
    alone = held[1] * _ANSWER_S
    exponent = math.log(ours[-1].median / ours[0].median) / math.log(held[-1] / held[0])
    grown = ", ".join(
        f"{size}: {one.median:.2f} s, {made} calls" for size, one, made in zip(held, ours, calls, strict=True)
    )
    rows = (
        Row("P7", f"a pass over {held[1]} open invoices, a call answered in {_ANSWER_S * 1000:.0f} ms", ours[1].median, "s",
            f"one request an invoice: {alone:.0f} s", ours[1].median / alone, _MOST_S, quantity="value"),
        Row("P7", "its calls to the provider", calls[1], "calls", limit=_MOST_CALLS, quantity="value"),
        Row("P7", "how its time grows with open invoices, exponent", exponent, "", grown),
    )  # fmt: skip
    measured: dict[str, Any] = {
        "pass_s": {str(size): one.as_dict() for size, one in zip(held, ours, strict=True)},
        "calls": dict(zip(map(str, held), calls, strict=True)),
        "exponent": exponent,
    }
    bars = (Bar("Atlas", ours[1].median, ours=True), Bar("one request an invoice", alone, ours=False))
    return Outcome("P7", rows, measured, Plot("open-invoices", f"A pass over {held[1]} open invoices", "s", bars))
