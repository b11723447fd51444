"""One run of one seed: people live, the weather changes, sweeps tick, and the judges look on."""

from __future__ import annotations

import asyncio
import json
import time as wall
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TextIO

from simulation import faults
from simulation.checks import Checks, Found
from simulation.customers import Person
from simulation.faults import FINE
from simulation.log_watch import watching
from simulation.world import World, dice, open_for_news, world

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from sandbox.postgres.server import Postgres
    from simulation.log_watch import LogWatch
    from simulation.nodes import Node

_HOUR_S: Final = 3600.0
_TICKS_TO_CONVERGE: Final = 8
"""Once all is well again, so many ticks later nothing waits."""
_REST_TICKS: Final = 12
_LOOK_EVERY: Final = 6
"""Ticks between two looks of the judges."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run.

    Attributes:
        severity: of the weather; 0: nothing goes wrong.
        longest_tick_s: between two ticks of the scheduler.
    """

    seed: int
    customers: int = 100
    days: float = 10.0
    severity: float = 1.0
    longest_tick_s: float = 3600.0


@dataclass(slots=True)
class Outcome:
    """What came of it.

    Attributes:
        found: what must not be; empty when all held.
        at_s: the moment of the run at which it was found.
        digest: of the log of events.
        series: for the report: at each look, the figures by name.
    """

    plan: Plan
    found: list[Found] = field(default_factory=list)
    at_s: float = 0.0
    digest: str = ""
    events: int = 0
    calls: int = 0
    deaths: int = 0
    ticks: int = 0
    looks: int = 0
    met: dict[str, int] = field(default_factory=dict)
    took_s: float = 0.0
    last: list[str] = field(default_factory=list)
    series: list[dict[str, float]] = field(default_factory=list)

    @property
    def customer_days(self) -> float:
        """How much life was run."""
        return self.plan.customers * min(self.plan.days, self.at_s / 86_400)

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        """What `as_json` wrote."""
        said = json.loads(text)
        said["plan"] = Plan(**said["plan"])
        said["found"] = [Found(**one) for one in said["found"]]
        return cls(**said)

    def as_json(self) -> str:
        """All of it but the series, one object."""
        shown: dict[str, Any] = asdict(replace(self, series=[]))
        return json.dumps(shown)


class _Stopped(Exception):
    """A judge found something."""


def simulate(plan: Plan, server: Postgres, folder: Path, copy: TextIO | None = None) -> Outcome:
    """Run it, in this very process, whose seams it exchanges meanwhile."""
    began = wall.perf_counter()
    outcome = Outcome(plan)
    with (
        watching() as log_watch,
        world(server, folder, plan.seed, longest_tick_s=plan.longest_tick_s, copy=copy) as made,
    ):
        asyncio.set_event_loop(made.loop)
        made.loop.set_exception_handler(lambda _loop, _context: None)  # tasks of killed processes
        try:
            made.loop.run_until_complete(_Run(plan, made, outcome, log_watch).live())
        finally:
            outcome.at_s = made.loop.time()
            outcome.digest, outcome.events = made.events.digest, made.events.count
            outcome.calls, outcome.deaths = made.functions.calls, made.functions.deaths
            outcome.ticks, outcome.met = made.ticks.count, dict(made.faults.met)
            outcome.last = made.events.last[-200:] if outcome.found else []
    outcome.took_s = wall.perf_counter() - began
    return outcome


class _Run:
    def __init__(self, plan: Plan, made: World, outcome: Outcome, log_watch: LogWatch) -> None:
        self._log_watch = log_watch
        self._plan = plan
        self._world = made
        self._outcome = outcome
        self._dice = dice(plan.seed, "weather")
        self._people = [
            Person(made, number, dice(plan.seed, f"customer {number}")) for number in range(1, plan.customers + 1)
        ]
        self._checks = Checks(made, self._people)
        self._calm_since = 0.0

    async def live(self) -> None:
        """All days, then the faults stop and everything must come to rest."""
        await open_for_news(self._world)
        until = self._plan.days * 24 * _HOUR_S
        lives = [asyncio.ensure_future(person.live(self._plan.days)) for person in self._people]
        weather = asyncio.ensure_future(self._change_weather(until))
        try:
            while self._world.loop.time() < until:
                await self._tick()
                if self._world.ticks.count % _LOOK_EVERY == 0:
                    self._judge(self._checks.safety())
                    self._note()
            weather.cancel()
            await asyncio.gather(*lives)
            await self._all_is_well()
            for _ in range(_REST_TICKS):
                await self._tick()
            self._judge(self._checks.safety())
            now = self._world.clock.now()
            self._judge(self._checks.converged(now - timedelta(seconds=60)))
            self._judge(self._checks.at_rest())
            self._note()
        except _Stopped:
            pass
        finally:
            self._outcome.looks = self._checks.looks
            weather.cancel()
            for life in lives:
                life.cancel()

    async def _tick(self) -> None:
        await self._world.ticks.run(self._world.ticks.due())
        for node in self._world.nodes:
            await node.tick()
        await asyncio.sleep(self._world.ticks.pause_s())

    def _judge(self, found: list[Found]) -> None:
        found = [*found, *(Found("unforeseen error", what) for what in self._log_watch.unforeseen)]
        if found:
            self._outcome.found = found
            for one in found[:20]:
                self._world.events.write("FOUND", f"{one.check}: {one.what}")
            raise _Stopped

    # -- weather ---------------------------------------------------------------------------------------------------------

    async def _change_weather(self, until: float) -> None:
        """Bad for a while, fine for a while; at the end of each fine time what is old must be done."""
        while self._world.loop.time() < until and self._plan.severity:
            self._world.weather(faults.drawn(self._dice, self._plan.severity))
            self._world.events.write("weather", "bad")
            for node in self._world.nodes:
                await self._spoil(node, self._dice)
            await asyncio.sleep(self._dice.uniform(1, 12) * _HOUR_S)
            await self._all_is_well()
            await asyncio.sleep(self._dice.uniform(2, 12) * _HOUR_S)

    async def _spoil(self, node: Node, chance: random.Random) -> None:
        if chance.random() * self._plan.severity < 0.4:  # noqa: PLR2004 -- share of the bad times in which a node is well
            return
        how = chance.choice(("down", "hangs", "refuses", "lies", "lost", "rebooted", "clock", "xray"))
        self._world.events.write(node.name, how)
        self._world.faults.met[f"node {how}"] += 1
        match how:
            case "down" | "hangs" | "refuses" | "lies":
                node.mood = how
            case "lost":
                await node.lose_state()
            case "rebooted":
                await node.stop()
                await asyncio.sleep(chance.uniform(0, 2) * _HOUR_S)
                await node.start()
            case "clock":
                node.wall_off_ms = chance.choice((-1, 1)) * chance.randint(1, 400 * 86_400_000)
            case "xray":
                node.xray.restart()

    async def _all_is_well(self) -> None:
        self._world.weather(FINE)
        self._world.telegram.forget_failures()
        for node in self._world.nodes:
            node.mood, node.wall_off_ms = "up", 0
        self._world.events.write("weather", "fine")
        self._calm_since = self._world.loop.time()

    def _note(self) -> None:
        counted = self._world.query(
            """
            select (select count(*) from accounts), (select count(*) from subscriptions where status = 'active'),
                   (select count(*) from orders where status = 'paid'), (select count(*) from outbox where done_at is null),
                   (select coalesce(sum(value), 0) from orders where status = 'paid' and kind = 'subscription')
            """
        )[0]
        names = ("accounts", "active", "paid orders", "work waiting", "sold")
        figures = {name: float(value) for name, value in zip(names, counted, strict=True)}
        figures |= {f"on {node.name}": float(len(node.lets_in)) for node in self._world.nodes}
        figures["faults met"] = float(sum(self._world.faults.met.values()))
        self._outcome.series.append({"day": self._world.loop.time() / 86_400, **figures})
        self._world.events.write("figures", " ".join(f"{name}={value:.0f}" for name, value in figures.items()))
