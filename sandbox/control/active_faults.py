"""What is wrong on purpose right now, in words; and the way back to a system where all is well."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from sandbox.cloud.scheduler.faults import TickFaults
from sandbox.cryptopay.faults import Standing
from sandbox.postgres.link import Wire
from sandbox.stand_in.faults import NONE
from sandbox.system.nodes import NODE_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.node.lab import XrayNode
    from sandbox.system.system import System

# What the page calls them: whose they are, their name there, the most they may be.
SHARES: Final = {
    "tasks_twice": ("tasks", "double_share", 1.0),
    "tasks_disorder_s": ("tasks", "disorder_s", 600.0),
    "ticks_missed": ("scheduler", "missed_share", 1.0),
    "ticks_twice": ("scheduler", "doubled_share", 1.0),
    "ticks_late": ("scheduler", "late_share", 1.0),
}
"""Faults of the task queues and of the scheduler, beside those of delivery (`sandbox.stand_in.faults.Faults`)."""
_WORDS = {
    "twice": "{:.0%} of webhooks arrive twice",
    "lost": "{:.0%} of webhooks are lost",
    "unanswered": "{:.0%} of answers to webhooks are lost",
    "flooded": "{:.0%} of Bot API calls are answered 429",
    "refused": "{:.0%} of what the bot says is refused",
    "slow_s": "answers of the Bot API pause up to {:g} s, twice",
    "late_s": "webhooks are up to {:g} s late",
    "tasks_twice": "{:.0%} of tasks arrive twice",
    "tasks_disorder_s": "tasks are held back by up to {:g} s",
    "ticks_missed": "{:.0%} of ticks are missed",
    "ticks_twice": "{:.0%} of ticks come twice",
    "ticks_late": "{:.0%} of ticks are late",
}
_STANDING_WORDS = {
    "copies": "Crypto Pay sends each webhook {} times",
    "lost": "{:.0%} of Crypto Pay's webhook attempts are lost",
    "unanswered": "{:.0%} of answers to Crypto Pay's webhooks are lost",
    "late_s": "Crypto Pay's webhooks set out up to {:g} s late",
    "refused": "{:.0%} of Crypto Pay's calls are answered 429",
    "missing": "{:.0%} of the rows are absent from Crypto Pay's listings",
    "short": "{:.0%} of Crypto Pay's listings are cut short",
    "foreign": "{:.0%} of Crypto Pay's listings hold rows of another shop",
    "slow_s": "Crypto Pay's answers pause up to {:g} s, twice",
    "balance_off": "Crypto Pay says {:+d} of the last digit of each balance",
}

NEXT_TASK: Final = {
    "lost": "is lost",
    "twice": "comes twice",
    "refused": "is refused",
    "unclear": "is refused though it is kept",
}
"""What can be asked for the next task of a queue, and what is said of it."""
_NEXT_TICK = {"missed": "never comes", "twice": "comes twice", "late": "comes late"}


def shares(system: System) -> dict[str, float]:
    """Every share that something goes wrong for, by what the page calls it."""
    own = {name: float(getattr(getattr(system, part).faults, field)) for name, (part, field, _) in SHARES.items()}
    return asdict(system.faults) | own


def set_share(system: System, name: str, value: float) -> None:
    """One of `SHARES`."""
    part, field, _ = SHARES[name]
    setattr(getattr(system, part).faults, field, value)


def active_faults(system: System) -> list[str]:
    """Every fault that is on, one sentence each; empty when all is well. Flags are an operator's choice, not a fault."""
    return [
        *(_WORDS[name].format(share) for name, share in shares(system).items() if share),
        *_of_nodes(system),
        *_of_database(system),
        *_of_functions(system),
        *(f"queue {name} is paused" for name in system.tasks.queues if system.tasks.is_paused(name)),
        *(_next(queue, "task", NEXT_TASK[what], count) for queue, what, count in system.tasks.faults.asked()),
        *_of_scheduler(system),
        *_of_cryptopay(system),
        *_of_stars(system),
        *(f"failpoint {place} is armed: {action}" for place, action in system.failpoints.armed().items()),
    ]


async def end_all(system: System) -> None:
    """Undo every fault: as if nothing had been broken. What broke while they were on is for the sweeps to mend."""
    system.faults = NONE
    system.scheduler.faults = TickFaults()
    for name in SHARES:
        set_share(system, name, 0.0)
    system.tasks.faults.forget_asked()
    system.failpoints.disarm()
    for name in system.tasks.queues:
        if system.tasks.is_paused(name):
            system.tasks.resume(name)
    for name in system.scheduler.jobs:
        system.scheduler.resume(name)
    await asyncio.to_thread(system.database.server.start)
    if system.link is not None:
        await system.link.heal()
    for process in system.fleet.chosen():
        if process.running and process.frozen:
            process.resume()
    await system.nodes.start()
    await system.fleet.start()
    _end_cryptopays(system)
    if not system.messenger.real:
        system.telegram.payments.balance_off = 0


def _end_cryptopays(system: System) -> None:
    """What was held sets out in the order it was made, to functions that run again."""
    cryptopay = system.cryptopay
    cryptopay.faults.standing = Standing()
    cryptopay.suspended = False
    cryptopay.webhooks.enable()
    if cryptopay.webhooks.holding:
        cryptopay.webhooks.release(newest_first=False)


def node_state(node: XrayNode) -> str:
    """`up`, `hung` (connections are taken, nothing is answered) or `down`."""
    if node.service.frozen:
        return "hung"
    return "up" if node.service.running and node.core.running else "down"


def _of_nodes(system: System) -> Iterator[str]:
    for name, node in zip(NODE_NAMES, system.nodes, strict=True):
        state = node_state(node)
        if state == "hung":
            yield f"the {name} VPN node hangs"
        elif state == "down":
            yield f"the {name} VPN node is down"


def _of_database(system: System) -> Iterator[str]:
    if not system.database.server.running:
        yield "PostgreSQL does not run"
    link = system.link
    if link is None:
        return
    if link.state is Wire.CUT:
        yield "the database is cut off"
    elif link.state is Wire.HUNG:
        yield "the database hangs"
    elif link.delay_s:
        yield f"the database is slow: {link.delay_s * 1000:.0f} ms a message"


def _of_functions(system: System) -> Iterator[str]:
    for name, group in system.fleet.processes.items():
        down = sum(not process.running for process in group)
        frozen = sum(process.running and process.frozen for process in group)
        if down:
            yield f"{name} is down"
        if frozen:
            yield f"{name} is frozen"


def _of_scheduler(system: System) -> Iterator[str]:
    for name in system.scheduler.jobs:
        if system.scheduler.is_paused(name):
            yield f"ticks of {name} pass unheard"
    for name, what, count in system.scheduler.faults.asked():
        yield _next(name, "tick", _NEXT_TICK[what], count)


def _of_stars(system: System) -> Iterator[str]:
    if not system.messenger.real and (off := system.telegram.payments.balance_off):
        yield f"Telegram says {off:+d} nanostars of its balance"


def _next(where: str, what: str, words: str, count: int) -> str:
    return f"{where}: the next {what} {words}" if count == 1 else f"{where}: each of the next {count} {what}s {words}"


def _of_cryptopay(system: System) -> Iterator[str]:
    cryptopay = system.cryptopay
    well = asdict(Standing())
    for name, value in asdict(cryptopay.faults.standing).items():
        if value != well[name]:
            yield _STANDING_WORDS[name].format(value)
    if cryptopay.suspended:
        yield "the Crypto Pay account is suspended"
    if cryptopay.webhooks.disabled_at is not None:
        yield "Crypto Pay's webhooks are disabled"
    if cryptopay.webhooks.holding:
        yield "Crypto Pay holds new webhooks"
