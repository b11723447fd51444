"""P9: a duplicate storm. Each of 1 000 payment webhooks is sent 20 times, over four processes of `cryptobot_webhook`, all copies mixed.

Compared with as many requests in flight that are all distinct: what a copy of news costs must not be more than the news. Requests
come from a process of their own (`bench/at_once.py`), as many at once as the instances take, and go straight to the processes, as the
platform's front end would spread them. The queues are paused: what follows a settlement runs elsewhere.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from bench.at_once import Flood, Request, in_a_process
from bench.figures import Bar, Outcome, Plot, Row, Series, paired_ratio
from bench.settled import body, open_orders, signature
from lib import function_table

if TYPE_CHECKING:
    from bench.at_once import Answer
    from bench.buyers import Buyers
    from bench.sizes import Sizes
    from sandbox.system.system import System

PROCESSES = 4
_TARGET = "cryptobot_webhook"
_LIMIT = 1.2
_P99 = 99
_HAD_EFFECT = frozenset({"settled", "repeated"})


class WrongAnswerError(RuntimeError):
    """A webhook was answered otherwise than it must be; the text says how."""


@dataclass
class _Taken:
    """Seconds of every acknowledgement, a list a round; settlements that the storms left."""

    storm: list[list[float]] = field(default_factory=list)
    distinct: list[list[float]] = field(default_factory=list)
    settled: int = 0
    wanted: int = 0


class _Bench:
    def __init__(self, system: System, sizes: Sizes) -> None:
        self._system = system
        self._sizes = sizes
        self._next = 2_000_001
        self._chance = random.Random(9)  # noqa: S311 -- in which order copies come
        self.taken = _Taken()

    async def flood(self, numbers: list[int]) -> list[float]:
        """Send one webhook for each number; how long each was waited for."""
        ports = [one.port for one in self._system.fleet.processes[_TARGET]]
        requests = []
        for place, number in enumerate(numbers):
            told = body(number)
            requests.append(
                Request(ports[place % len(ports)], told.decode(), signature(self._system.cryptopay_token, told))
            )
        at_once = len(ports) * function_table.load().functions[_TARGET].concurrency
        answers = await in_a_process(Flood("/", at_once, requests))
        for one in answers:
            _check(one)
        return [one.seconds for one in answers]

    async def orders(self, count: int) -> list[int]:
        """New ones."""
        first, self._next = self._next, self._next + count
        await open_orders(self._system, first, count)
        return list(range(first, first + count))

    async def storm(self) -> None:
        """Every copy of every webhook, mixed; afterwards each order is settled once."""
        numbers = await self.orders(self._sizes.storm)
        copies = numbers * self._sizes.storm_copies
        self._chance.shuffle(copies)
        self.taken.storm.append(await self.flood(copies))
        (row,) = await self._system.sql(
            "select count(*) as settled from payments where kind = 'settling'"
            " and charge_id = any(cast(:numbers as text[]))",
            numbers=[str(number) for number in numbers],
        )
        self.taken.settled += row["settled"]
        self.taken.wanted += len(numbers)

    async def distinct(self) -> None:
        """As many in flight, all of them news."""
        self.taken.distinct.append(await self.flood(await self.orders(self._sizes.storm)))


def _check(one: Answer) -> None:
    if one.status != HTTPStatus.OK or json.loads(one.body).get("outcome") not in _HAD_EFFECT:
        raise WrongAnswerError(f"{one.status} {one.body}")


async def measure(system: System, _buyers: Buyers, sizes: Sizes) -> Outcome:
    """Raises: WrongAnswerError: one was not acknowledged."""
    for queue in ("nodes", "messages"):
        system.tasks.pause(queue)
    bench = _Bench(system, sizes)
    await bench.flood(await bench.orders(max(PROCESSES, sizes.storm // 4)))  # whatever a process does once, it has done
    for number in range(sizes.storm_rounds):
        for work in (bench.storm, bench.distinct) if number % 2 else (bench.distinct, bench.storm):
            await work()
    for queue in ("nodes", "messages"):
        system.tasks.purge(queue)
    return _outcome(bench.taken, sizes)


def _outcome(taken: _Taken, sizes: Sizes) -> Outcome:
    storm, distinct = (
        Series.of([Series.of(round_).percentile(_P99) for round_ in rounds]) for rounds in (taken.storm, taken.distinct)
    )
    ratio = paired_ratio(storm, distinct)
    ms = 1000
    copies = f"{sizes.storm} payment webhooks, each {sizes.storm_copies} times, over {PROCESSES} processes"
    rows = (
        Row("P9", f"{copies}: acknowledged, p99", storm.median * ms, "ms",
            f"as many in flight, all distinct: {distinct.median * ms:.1f} ms", ratio.median, _LIMIT),
        Row("P9", f"the same, settlements of {taken.wanted} too many or too few", abs(taken.settled - taken.wanted), "settlements",
            limit=0, quantity="value"),
    )  # fmt: skip
    measured: dict[str, Any] = {
        "settled": taken.settled,
        "orders": taken.wanted,
        "p99_s": {"storm": storm.as_dict(), "distinct": distinct.as_dict()},
        "p50_s": {
            name: [round(Series.of(round_).median, 5) for round_ in rounds]
            for name, rounds in (("storm", taken.storm), ("distinct", taken.distinct))
        },
        "ratio": ratio.as_dict(3),
    }
    bars = (
        Bar("each 20 times", storm.median * ms, ours=True),
        Bar("all distinct", distinct.median * ms, ours=True),
    )
    return Outcome("P9", rows, measured, Plot("storm", "Payment webhooks acknowledged, p99", "ms", bars))
