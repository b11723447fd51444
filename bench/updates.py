"""P1: /start updates per second, CPU and p99 of them at 8 connections, beside two other servers.

All of them run the whole time, on one durable Postgres; a round loads each in turn, and the next round begins with another one.
A ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench import consumption
from bench.figures import Bar, Outcome, Plot, Row, Series, paired_ratio
from bench.load import PERSONS_FROM, Load, in_a_process
from bench.places import PROGRAMS
from sandbox.cloud.instances import settings_of
from sandbox.processes.child import Process, bare_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.buyers import Buyers
    from bench.load import Taken
    from bench.sizes import Sizes
    from sandbox.system.system import System

ATLAS, ASYNCPG, EMPTY = "Atlas", "aiogram, aiohttp, asyncpg (a)", "empty function (b)"
CONNECTIONS = 8
_TARGET = "telegram_webhook"
_TO_NEW = "/privacy"
"""What the greeting of a new person says beside the menu."""
_MENU = ["sendMessage", "inline_keyboard", "{chat_id}"]
_FASTER, _CHEAPER, _STEADIER = 1.2, 0.8, 0.9


class UnlikeError(RuntimeError):
    """Two servers that are compared did not do the same; the text says what differs."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that is loaded, and what its answers must hold."""

    name: str
    process: Process
    answered: list[str]


@dataclass(frozen=True, slots=True)
class Block:
    """One load of one server: seconds of each update, updates per second, CPU seconds of server and load."""

    seconds: Series
    per_second: float
    cpu_s: float
    load_cpu_s: float


async def measure(system: System, _buyers: Buyers, sizes: Sizes) -> Outcome:
    """Raises: WrongAnswerError, UnlikeError, ProcessFailedError."""
    await system.fleet.stop()  # a function without calls still has a process here
    contenders = _contenders(system)
    blocks: dict[str, list[Block]] = defaultdict(list)
    number = 0
    async with AsyncExitStack() as undo:
        for contender in contenders:
            undo.push_async_callback(contender.process.stop)
            await contender.process.start()
        for round_ in range(sizes.update_rounds + 1):
            turn = round_ % len(contenders)
            for contender in contenders[turn:] + contenders[:turn]:
                count = sizes.updates if round_ else sizes.updates_thrown_away
                taken = await block(contender, system.webhook_secret, number, count)
                number += count
                if round_:
                    blocks[contender.name].append(taken)
    replies = await _same_replies(system)
    return _outcome(blocks, sizes, replies)


def ours(system: System) -> Contender:
    """The webhook's server, started as deployed."""
    return Contender(ATLAS, _process(system, "atlas", system.checkout.root, [*_served(system), _TARGET], {}), _MENU)


def _served(system: System) -> list[str]:
    return [system.checkout.framework, "--port", "{port}", "--target"]


def _process(system: System, name: str, folder: Path, argv: Sequence[str], more: Mapping[str, str]) -> Process:
    table = system.checkout.table
    settings = settings_of(table.functions[_TARGET], system.settings(), table)
    del settings["ATLAS_FAILPOINTS"]  # as deployed: places that tests stop at cost nothing
    port = system.home.port(f"bench.{name}")
    return Process(
        [part.replace("{port}", str(port)) for part in argv],
        cwd=folder,
        env=bare_environment({**settings, "PORT": str(port), **more}),
        log=system.home.logs / f"bench.{name}.log",
        port=port,
    )


def _contenders(system: System) -> list[Contender]:
    served = _served(system)
    theirs = _process(system, "asyncpg", PROGRAMS / "asyncpg_bot", [sys.executable, "main.py"], {})
    empty = _process(system, "empty", PROGRAMS / "empty", [*served, "empty"], {})
    return [
        ours(system),
        Contender(ASYNCPG, theirs, _MENU),
        Contender(EMPTY, empty, ['{"ok":true}']),
    ]


async def block(contender: Contender, secret: str, first: int, count: int) -> Block:
    """Load it with so many updates from number `first` on.

    Raises:
        WrongAnswerError: see there.
    """
    before = consumption.cpu_s([contender.process])
    taken: Taken = await in_a_process(
        Load(contender.process.port, "/", first, count, CONNECTIONS, secret, contender.answered)
    )
    cpu = max(consumption.cpu_s([contender.process]) - before, consumption.TICK_S)
    return Block(Series.of(taken.seconds), count / taken.all_s, cpu, taken.cpu_s)


async def _same_replies(system: System) -> int:
    """How many updates were answered; every stored reply is one of two, to a new person and to a known one, but for who it is.

    Raises:
        UnlikeError: servers that are compared answered differently.
    """
    rows = await system.sql(
        "select replace(cast(reply #- '{0,repeatable}' as text), (reply -> 0 ->> 'chat_id'), '') as reply, count(*) as updates"
        " from updates where update_id >= :first group by 1",
        first=PERSONS_FROM,
    )
    if sorted(_TO_NEW in row["reply"] for row in rows) != [False, True]:
        raise UnlikeError(json.dumps([row["reply"] for row in rows[:4]], ensure_ascii=False))
    return sum(int(row["updates"]) for row in rows)


def _outcome(blocks: Mapping[str, list[Block]], sizes: Sizes, updates: int) -> Outcome:
    rate = {name: Series.of([block.per_second for block in taken]) for name, taken in blocks.items()}
    p99 = {name: Series.of([block.seconds.percentile(99) for block in taken]) for name, taken in blocks.items()}
    cpu = {name: Series.of([block.cpu_s / sizes.updates for block in taken]) for name, taken in blocks.items()}
    rows: list[Row] = []
    ratios: dict[str, Any] = {}
    for other in (ASYNCPG, EMPTY):
        faster, cpu_ratio = paired_ratio(rate[ATLAS], rate[other]), paired_ratio(cpu[ATLAS], cpu[other])
        ratios[other] = {"per_second": faster.as_dict(3), "cpu": cpu_ratio.as_dict(3)}
        told = f"{other} {rate[other].median:.0f}/s; CPU {cpu_ratio.median:.2f}x"
        rows.append(
            Row(
                "P1",
                f"/start updates, {CONNECTIONS} connections",
                rate[ATLAS].median,
                "/s",
                told,
                faster.median,
                _FASTER if other == ASYNCPG else None,
                relation="≥",
            )
        )
    slower = paired_ratio(p99[ATLAS], p99[ASYNCPG])
    ratios[ASYNCPG]["p99"] = slower.as_dict(3)
    ms = 1000
    rows.append(
        Row(
            "P1",
            "the same, p99",
            p99[ATLAS].median * ms,
            "ms",
            f"{ASYNCPG} {p99[ASYNCPG].median * ms:.1f} ms",
            slower.median,
            _STEADIER,
        )
    )
    rows.append(
        Row(
            "P1",
            "the same, CPU of an update",
            cpu[ATLAS].median * ms,
            "ms",
            f"{ASYNCPG} {cpu[ASYNCPG].median * ms:.2f} ms",
            paired_ratio(cpu[ATLAS], cpu[ASYNCPG]).median,
            _CHEAPER,
        )
    )
    measured = {
        "connections": CONNECTIONS,
        "updates_answered_alike": updates,
        "servers": {
            name: {
                "per_second": rate[name].as_dict(1),
                "p50_s": Series.of([block.seconds.median for block in taken]).as_dict(),
                "p99_s": p99[name].as_dict(),
                "cpu_s_per_update": cpu[name].as_dict(6),
                "load_cpu_s_per_update": Series.of([block.load_cpu_s / sizes.updates for block in taken]).as_dict(6),
            }
            for name, taken in blocks.items()
        },
        "ratios": ratios,
    }
    bars = tuple(Bar(name, series.median, name == ATLAS) for name, series in rate.items())
    plot = Plot("updates", f"/start updates per second, {CONNECTIONS} connections, one worker, median", "/s", bars)
    return Outcome("P1", tuple(rows), measured, plot)
