"""Everything the control page shows, gathered into one JSON value."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from functions import table
from lib.db import DatabaseError

if TYPE_CHECKING:
    from sandbox.system import System

_SHOWN: Final = 50
_INVARIANTS_EVERY_S: Final = 5.0

_SUBSCRIPTIONS = """
select s.id, a.telegram_id, a.first_name, s.tariff, s.source, s.status, s.activation_status,
       to_char(s.expires_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') as expires_at,
       c.wanted, c.version, c.applied_version, c.attempts, c.last_error
from subscriptions s join accounts a on a.id = s.account_id left join node_clients c on c.subscription_id = s.id
order by s.id desc limit :shown
"""
_ORDERS = """
select o.id, a.first_name, o.tariff, o.period_days, o.price, o.currency, o.provider, o.status,
       to_char(o.created_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') as created_at
from orders o join accounts a on a.id = o.account_id order by o.id desc limit :shown
"""
_MESSAGES = """
select m.id, a.first_name, m.kind, m.status, m.attempts, m.last_error
from messages m join accounts a on a.id = m.account_id order by m.id desc limit :shown
"""


class View:
    """Reads; changes nothing."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._checked_at = float("-inf")
        self._violations: list[dict[str, Any]] = []

    async def state(self) -> dict[str, Any]:
        """The whole page. When the database can't be had, `database` says why and the tables are empty."""
        system = self._system
        shown: dict[str, Any] = {
            "now": system.clock.now().isoformat(timespec="seconds"),
            "ahead_seconds": round(system.clock.offset.total_seconds()),
            "links": {
                "Chat with the bot": system.chat_url,
                "Crypto Pay invoices": f"{system.urls['cryptopay']}/",
            },
            "real_bot": f"@{system.messenger.username}" if system.messenger.real else None,
            "folder": str(system.home.path),
            "scheduler_on": system.scheduler_is_on,
            "sweeps": self._sweeps(),
            "node": {"running": system.node.service.running, "url": system.node.url},
            "functions": self._functions(),
            "queues": self._queues(),
            "attempts": self._attempts(),
            "undelivered_updates": system.messenger.undelivered,
            "database": "up",
        }
        try:
            shown |= await self._tables()
        except (DatabaseError, OSError) as error:
            shown["database"] = str(error)
        return shown

    async def _tables(self) -> dict[str, Any]:
        query = self._system.sql
        subscriptions, orders, messages = await asyncio.gather(
            *(query(sql, shown=_SHOWN) for sql in (_SUBSCRIPTIONS, _ORDERS, _MESSAGES))
        )
        if time.monotonic() - self._checked_at > _INVARIANTS_EVERY_S:
            found = await self._system.invariants()
            self._violations = [{"invariant": one.invariant, "keys": list(one.keys)} for one in found]
            self._checked_at = time.monotonic()
        return {
            "subscriptions": subscriptions,
            "orders": orders,
            "messages": messages,
            "violations": self._violations,
        }

    def _sweeps(self) -> list[dict[str, Any]]:
        functions = table.load().functions
        last = {run.job: run for run in self._system.scheduler.runs[-_SHOWN * 4 :]}
        rows = []
        for name in self._system.sweeps:
            function = functions[f"sweep_{name}"]
            run = last.get(function.service)
            rows.append(
                {
                    "name": name,
                    "schedule": function.schedule,
                    "last": run.start.isoformat(timespec="seconds") if run else None,
                    "status": run.status if run else None,
                    "answer": (run.body.decode(errors="replace")[:300] or run.reason) if run else "",
                }
            )
        return rows

    def _functions(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "running": sum(process.running for process in group), "instances": len(group)}
            for name, group in self._system.fleet.processes.items()
        ]

    def _queues(self) -> list[dict[str, Any]]:
        tasks = self._system.tasks
        waiting: dict[str, list[dict[str, Any]]] = {name: [] for name in tasks.queues}
        for task in list(tasks.tasks.values()):
            if len(waiting[task.queue]) < _SHOWN:
                waiting[task.queue].append(
                    {
                        "name": task.name,
                        "short": task.short_name[:12],
                        "target": task.message.http_request.url.rpartition("/")[2],
                        "due": task.eta.isoformat(timespec="seconds"),
                        "tries": task.message.dispatch_count,
                        "last": task.retry_reason,
                        "running": task.running,
                    }
                )
        return [
            {"name": name, "paused": tasks.is_paused(name), "waiting": rows} for name, rows in sorted(waiting.items())
        ]

    def _attempts(self) -> list[dict[str, Any]]:
        return [
            {
                "queue": attempt.queue,
                "target": attempt.url.rpartition("/")[2],
                "at": attempt.start.isoformat(timespec="seconds"),
                "status": attempt.status,
                "reason": attempt.reason,
                "ms": None if attempt.duration is None else round(attempt.duration * 1000),
            }
            for attempt in reversed(self._system.tasks.attempts[-15:])
        ]
