"""Everything the control page shows, gathered into one JSON value."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from lib.db import DatabaseError
from sandbox.control.actions import PRESETS
from sandbox.control.active_faults import active_faults, node_state, shares
from sandbox.control.books import Books
from sandbox.control.machinery import Machinery
from sandbox.system.nodes import NODE_NAMES

if TYPE_CHECKING:
    from sandbox.control.money import Money
    from sandbox.control.time_travel import TimeTravel
    from sandbox.system.system import System

_INVARIANTS_EVERY_S: Final = 2.0


class View:
    """Reads; changes nothing."""

    def __init__(self, system: System, time_travel: TimeTravel, money: Money) -> None:
        self._system = system
        self._money = money
        self._time_travel = time_travel
        self._books = Books(system.database)
        self._machinery = Machinery(system)
        self._checked_at = float("-inf")
        self._invariants: list[dict[str, Any]] = []

    async def state(self) -> dict[str, Any]:
        """The whole page. When the database can't be had, `database` says why and its tables are missing."""
        system, machinery = self._system, self._machinery
        books, _ = await asyncio.gather(self._read(), asyncio.to_thread(machinery.look))
        found: dict[str, Any] = books | self._money.state()
        queues = machinery.queues()
        functions = machinery.functions()
        return found | {
            "now": system.clock.now().isoformat(timespec="seconds"),
            "ahead_seconds": round(system.clock.offset.total_seconds()),
            "links": {
                "Chat with the bot": system.chat_url,
                "Crypto Pay invoices": f"{system.urls['cryptopay']}/",
            },
            "real_bot": f"@{system.messenger.username}" if system.messenger.real else None,
            "folder": str(system.home.path),
            "scheduler_on": system.scheduler_is_on,
            "time_travel": self._time_travel.state(),
            "active_faults": active_faults(system),
            "faults": shares(system),
            "presets": [{"id": name, "says": says} for name, (says, _) in PRESETS.items()],
            "nodes": [
                {"name": name, "state": node_state(node), "url": node.url}
                for name, node in zip(NODE_NAMES, system.nodes, strict=True)
            ],
            "link": self._link(),
            "functions": functions,
            "functions_up": sum(row["state"] == "up" for row in functions),
            "sweeps": machinery.sweeps(),
            "queues": queues,
            "oldest_task_s": max(queue["oldest_s"] for queue in queues),
            "attempts": machinery.attempts(),
            "requests": machinery.requests(),
            "failpoints": machinery.failpoints(),
            "undelivered_updates": system.messenger.undelivered,
        }

    def check_again(self) -> None:
        """Look at the invariants with the next state, however fresh the last look is."""
        self._checked_at = float("-inf")

    def close(self) -> None:
        """End the session with the database. Blocks."""
        self._books.close()

    def _link(self) -> dict[str, Any] | None:
        link = self._system.link
        if link is None:
            return None
        return {"state": str(link.state), "delay_ms": round(link.delay_s * 1000), "connections": link.connections}

    async def _read(self) -> dict[str, Any]:
        try:
            books = await asyncio.to_thread(self._books.read)
            if time.monotonic() - self._checked_at > _INVARIANTS_EVERY_S:
                self._invariants = await asyncio.to_thread(self._books.invariants)
                self._checked_at = time.monotonic()
        except (DatabaseError, OSError) as error:
            return {"database": str(error) or type(error).__name__}
        violations = [one for one in self._invariants if not one["holds"]]
        return books | {"database": "up", "invariants": self._invariants, "violations": violations}
