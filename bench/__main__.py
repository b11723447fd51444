"""`python -m bench`: measure, and write `bench/results/<date>.*` (docs/performance.md)."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import (
    activation,
    against,
    burst,
    clock,
    cold_start,
    expiry,
    first_message,
    hot_add,
    machine,
    one_node,
    open_invoices,
    pairs,
    payment,
    report,
    settlement,
    storm,
    updates,
)
from bench.buyers import Buyers
from bench.checkouts import NoSuchCommitError
from bench.places import RESULTS, scratch
from bench.sizes import FULL, SMALL
from sandbox.system.system import System

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bench.figures import Outcome
    from bench.sizes import Sizes

_ON_A_SYSTEM: dict[str, Callable[[System, Buyers, Sizes], Awaitable[Outcome]]] = {
    "P1": updates.measure,
    "P2": cold_start.measure,
    "P7": open_invoices.measure,
    "P3": settlement.measure,
    "P9": storm.measure,
    "P11": payment.measure,
    "P12": burst.measure,
}
_ON_ONE_NODE: dict[str, Callable[[one_node.Shop, Sizes], Awaitable[Outcome]]] = {
    "P4": expiry.measure,
    "P5": activation.measure,
}
_ALONE: dict[str, Callable[[Sizes], Awaitable[Outcome]]] = {"P6": hot_add.measure}
_INSTANCES = {"P9": {"cryptobot_webhook": storm.PROCESSES}}
_FIRST_MESSAGE = "first-message"
_NAMES = [
    *_ON_A_SYSTEM,
    *_ON_ONE_NODE,
    *_ALONE,
    *(name for name in against.ITEMS if name not in _ON_A_SYSTEM),
    _FIRST_MESSAGE,
]


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure what docs/performance.md promises.")
    parser.add_argument("--small", action="store_true", help="tiny sizes: only to see that everything works")
    parser.add_argument(
        "--fresh", action="store_true", help="first message after a fresh clone, install included (a minute or two)"
    )
    parser.add_argument("--only", nargs="+", choices=_NAMES, help="these alone")
    parser.add_argument(
        "--against",
        metavar="COMMIT",
        help=f"compare this checkout with that commit instead: {', '.join(against.ITEMS)}",
    )
    parser.add_argument("--pairs", type=int, default=None, help=f"pairs of laps with --against (default: {FULL.pairs})")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go (default: bench/results/)")
    return parser.parse_args(given)


async def _on_a_system(names: list[str], sizes: Sizes) -> list[Outcome]:
    """Each on a system of its own: what one leaves behind is not the next one's load."""
    outcomes = []
    for name in names:
        with scratch() as folder:
            async with System(folder, instances=_INSTANCES.get(name), durable=True) as system:
                await clock.as_deployed(system)
                buyers = Buyers(system)
                try:
                    outcomes.append(await _timed(name, _ON_A_SYSTEM[name](system, buyers, sizes)))
                finally:
                    await buyers.close()
    return outcomes


async def _on_one_node(names: list[str], sizes: Sizes) -> list[Outcome]:
    """All on one shop, each with subscriptions of its own: filling it takes longer than either."""
    if not names:
        return []
    async with one_node.shop(sizes.subscriptions) as shop:
        return [await _timed(name, _ON_ONE_NODE[name](shop, sizes)) for name in names]


async def _timed(name: str, work: Awaitable[Outcome]) -> Outcome:
    began = time.monotonic()
    print(f"{name} ...", flush=True)
    outcome = await work
    print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    return outcome


async def _measure(wanted: list[str], sizes: Sizes, *, fresh: bool) -> list[Outcome]:
    outcomes = await _on_a_system([name for name in _ON_A_SYSTEM if name in wanted], sizes)
    outcomes += await _on_one_node([name for name in _ON_ONE_NODE if name in wanted], sizes)
    for name, measure in _ALONE.items():
        if name in wanted:
            outcomes.append(await _timed(name, measure(sizes)))
    if _FIRST_MESSAGE in wanted:
        outcomes.append(await _timed(_FIRST_MESSAGE, first_message.measure(fresh=fresh, again=sizes.again)))
    return outcomes


def _against(options: argparse.Namespace, wanted: list[str], facts: dict[str, Any]) -> int:
    sizes = SMALL if options.small else FULL
    sizes = replace(sizes, pairs=options.pairs or sizes.pairs)
    try:
        compared, laps = asyncio.run(against.measure(options.against, wanted, sizes))
    except NoSuchCommitError as error:
        print(error, file=sys.stderr)
        return 1
    date = datetime.now(UTC).date().isoformat()
    page = report.write_pairs(options.out, date, facts, compared, laps)
    print(f"\n{pairs.table(compared)}\n\n{page}")
    return 0


def main(given: list[str] | None = None) -> int:
    """0 when everything was measured; whether targets were met is in the table, not in the exit code."""
    options = _arguments(given)
    wanted = options.only or _NAMES
    facts = machine.described() | {"small": options.small}
    if options.against:
        return _against(options, wanted, facts | {"against": options.against})
    outcomes = asyncio.run(_measure(wanted, SMALL if options.small else FULL, fresh=options.fresh))
    page = report.write(options.out, datetime.now(UTC).date().isoformat(), facts, outcomes)
    print(f"\n{report.table(outcomes)}\n\n{page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
