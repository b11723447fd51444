"""P12: a payment webhook while 200 new people press /start in the same moment, against one without that.

The whole local system. The updates come from a process of their own as Telegram delivers them, as many at once as setWebhook allows,
to the server of `telegram_webhook`; payment webhooks come from another at a steady pace to that of `cryptobot_webhook`, each
counted from the moment it was due. As deployed, those are two services, here two processes: what they share is Postgres, and here
also the machine's cores. The sandbox's gateway is left out: through it both wait for one Python process that is not deployed. What follows payments (access on the node, messages) runs
meanwhile.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from bench.figures import Bar, Outcome, Plot, Row, Series, paired_ratio
from bench.load import Load, in_a_process
from bench.paced import Answer, Paced, pacer
from lib import function_table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bench.buyers import Buyers
    from bench.sizes import Sizes
    from sandbox.system.system import System

EVERY_S = 0.04
_TELEGRAM = "telegram_webhook"
_LONGEST_BURST = 2
"""Payments that are ready for a burst, in payments of a quiet time."""
_LIMIT = 3.0
_P95 = 95
_BEST_PEER_START_MS, _BEST_PEER_STARTS_PER_S = 12.0, 158.0
_PEER = "best open-source shop"


@dataclass
class _Taken:
    """Seconds of every payment and every /start, a list for each round; failures in words."""

    quiet: list[list[float]] = field(default_factory=list)
    busy: list[list[float]] = field(default_factory=list)
    starts: list[list[float]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class _Bench:
    def __init__(self, system: System, buyers: Buyers, sizes: Sizes) -> None:
        self._system = system
        self._buyers = buyers
        self._sizes = sizes
        self._updates = 0
        self.taken = _Taken()

    async def round(self) -> None:
        """A quiet time and a burst."""
        count = self._sizes.burst_payments
        quiet, busy = await self._payments(count), await self._payments(count * _LONGEST_BURST)
        async with pacer(quiet) as sender:
            await self._rest()
            await sender.go()
            await sender.finish()
        self.taken.quiet.append(self._settled(sender.answers))
        async with pacer(busy) as sender:
            await self._rest()
            self.taken.starts.append(await self._press(sender.go))
            await sender.end()
        self.taken.busy.append(self._settled(sender.answers))

    async def _payments(self, count: int) -> Paced:
        paid = [await self._buyers.paid() for _ in range(count)]
        return Paced(self._port("cryptobot_webhook"), "/", EVERY_S, [(one.body.decode(), one.headers) for one in paid])

    async def _rest(self) -> None:
        """Nothing is left of what was before: messages are paced, so they would go on for long."""
        self._system.tasks.purge("messages")
        await self._system.settled()

    async def _press(self, first: Callable[[], Awaitable[None]]) -> list[float]:
        """Everybody presses, right after `first`; seconds until each one was answered with the menu, when all are."""
        load = Load(
            port=self._port(_TELEGRAM),
            path="/",
            first=self._updates,
            count=self._sizes.burst,
            connections=function_table.load().functions[_TELEGRAM].concurrency,
            secret=self._system.webhook_secret,
            answered=["sendMessage", "inline_keyboard", "{chat_id}"],
            returning=False,
        )
        self._updates += load.count
        return (await in_a_process(load, first)).answered_at

    def _port(self, target: str) -> int:
        """Of the function's own server: the sandbox's gateway, one process for all, is nothing that production has."""
        return self._system.fleet.processes[target][0].port

    def _settled(self, answers: list[Answer]) -> list[float]:
        for one in answers:
            if one.status != HTTPStatus.OK or json.loads(one.body).get("outcome") != "settled":
                self.taken.errors.append(f"payment: {one.status} {one.body}")
        return [one.seconds for one in answers]


async def measure(system: System, buyers: Buyers, sizes: Sizes) -> Outcome:
    """Raises: WrongAnswerError: a /start was not answered; AssertionError: no rest; and what making an order may raise."""
    bench = _Bench(system, buyers, sizes)
    await bench.round()  # whatever a process does once, it has done
    bench.taken = _Taken()
    for _ in range(sizes.burst_rounds):
        await bench.round()
    system.tasks.purge("messages")
    return _outcome(bench.taken, sizes)


def _outcome(taken: _Taken, sizes: Sizes) -> Outcome:
    quiet, busy, starts = (
        Series.of([Series.of(round_).percentile(_P95) for round_ in rounds])
        for rounds in (taken.quiet, taken.busy, taken.starts)
    )
    ratio = paired_ratio(busy, quiet)
    per_second = Series.of([len(round_) / max(round_) for round_ in taken.starts])
    ms = 1000
    work = f"payment webhook answered while {sizes.burst} new accounts press /start at once, p95"
    rows = (
        Row("P12", work, busy.median * ms, "ms", f"without them {quiet.median * ms:.1f} ms", ratio.median, _LIMIT),
        Row("P12", "the same, errors", len(taken.errors), "errors",
            f"{_PEER}: its payment webhook failed after 30 s", limit=0, quantity="value"),
        Row("P12", "/start of those, from the burst's beginning to the answer, p95", starts.median * ms, "ms",
            f"{_PEER}: p50 {_BEST_PEER_START_MS:g} ms"),
        Row("P12", "/start of those, answered", per_second.median, "/s", f"{_PEER}: {_BEST_PEER_STARTS_PER_S:g}/s"),
    )  # fmt: skip
    measured: dict[str, Any] = {
        "people": sizes.burst,
        "payments_every_s": EVERY_S,
        "errors": taken.errors,
        "payments_in_burst": [len(round_) for round_ in taken.busy],
        "p95_s": {"quiet": quiet.as_dict(), "busy": busy.as_dict(), "start": starts.as_dict()},
        "ratio": ratio.as_dict(3),
        "seconds": {
            name: [[round(one, 5) for one in round_] for round_ in rounds]
            for name, rounds in (("quiet", taken.quiet), ("busy", taken.busy), ("start", taken.starts))
        },
    }
    bars = (
        Bar("payment, quiet", quiet.median * ms, ours=True),
        Bar("payment, in the burst", busy.median * ms, ours=True),
        Bar("/start, in the burst", starts.median * ms, ours=True),
    )
    return Outcome("P12", rows, measured, Plot("burst", f"{sizes.burst} new accounts at once, p95", "ms", bars))
