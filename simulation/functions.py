"""The real functions, called in this process as the platform calls them: by request, each in a process of its own that may die."""

from __future__ import annotations

import asyncio
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.requests import Request

from lib import function_table
from lib import target as served
from simulation import processes
from simulation.processes import Killed, Process

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.responses import Response

    from simulation.event_log import EventLog
    from simulation.faults import Faults

BASE = "http://127.0.0.1:3"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a function said. `status` is 0 when its process died or the platform's time was up."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class Functions:
    """Calls by target name or by URL below `BASE`."""

    def __init__(self, faults: Faults, events: EventLog) -> None:
        self._faults = faults
        self._events = events
        self._table = function_table.load()
        self._by_service = {row.service: row for row in self._table.functions.values()}
        self.calls = 0
        self.deaths = 0

    def load(self) -> None:
        """Import every function now, so that no import takes place in the middle of a run."""
        for row in self._table.functions.values():
            importlib.import_module(row.module)

    async def call(self, target: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """One request, its platform's time limit included."""
        row = self._table.functions[target]
        serve: Callable[[Request], Awaitable[Response]] = getattr(importlib.import_module(row.module), row.name)
        process = Process(target)
        self.calls += 1

        async def run() -> Answer:
            processes.current.set(process)
            with served.serving(target):
                async with asyncio.timeout(row.timeout_s):
                    response = await serve(_request(f"/{row.service}", body, headers or {}))
            sent = tuple((name.decode(), value.decode()) for name, value in response.raw_headers)
            return Answer(response.status_code, bytes(response.body), sent)

        try:
            return await asyncio.create_task(run())
        except (Killed, TimeoutError) as error:
            process.dead = True
            self.deaths += 1
            self._events.write(target, "was killed" if isinstance(error, Killed) else "took longer than it may")
            return Answer(0)

    async def call_url(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """By its address."""
        row = self._by_service[urlsplit(url).path.strip("/").partition("/")[0]]
        return await self.call(row.name, body, headers)

    def reach(self, place: str) -> None:
        """In place of `lib.failpoints.reach`."""
        process = processes.current.get()
        if process is None:
            return
        processes.assert_alive()
        if self._faults.happens("kill"):
            self._events.write(process.target, f"dies at {place}")
            raise process.die()


def _request(path: str, body: bytes, headers: Mapping[str, str]) -> Request:
    sent = False

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": raw,
        "server": ("127.0.0.1", 3),
        "client": ("127.0.0.1", 4),
    }
    return Request(scope, receive)
