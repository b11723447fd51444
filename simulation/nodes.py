"""VPN nodes of a run: the real node service (its HTTP face, state file and clock) over an Xray in memory, or over a real one.

A node may be down, hang, lose its state, have a wrong wall clock, lie in its answers, and come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import httpx

from lib.nodes.transport import NodeError
from simulation import processes
from simulation.network import AnswerLost, LostOnTheWay, Network
from xray_api import app, inbound
from xray_api.clock import Sources
from xray_api.converge import Converger, Settled
from xray_api.inbound import FLOW, Inbound, LinkMaker
from xray_api.service import Service
from xray_api.store import Store
from xray_api.xray import RunningUser, XrayUnavailableError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from simulation.virtual_time import RunClock

_HANGS_S = 3600.0
_READ_S = 10.0
_GRACE_MS = 6 * 3600 * 1000
_INBOUND = Inbound(
    tag="vless",
    protocol="vless",
    ports=(443,),
    network="tcp",
    security="reality",
    header="none",
    decryption="none",
    private_key=bytes(range(32)),
    server_names=("www.example.com",),
    short_ids=("0123456789abcdef",),
    min_client_version=(1, 8, 0),
    max_client_version=None,
)
Mood = Literal["up", "down", "hangs", "lies", "refuses"]


class MemoryXray:
    """What the service needs of `xray_api.xray.Xray`, in memory; it forgets all when it restarts."""

    tag = _INBOUND.tag

    def __init__(self) -> None:
        self.running: dict[str, str] = {}
        self.up = True
        self._began = time.monotonic()
        self._lost: Callable[[], None] | None = None

    def restart(self) -> None:
        """Another one, without users."""
        self.running.clear()
        self._began = time.monotonic()
        if self._lost is not None:
            self._lost()

    def close(self) -> None:
        """Nothing is open."""

    def on_loss(self, lost: Callable[[], None]) -> None:
        """See `Xray`."""
        self._lost = lost

    def inbound(self, timeout_seconds: float = 0) -> Inbound:
        """See `Xray`."""
        del timeout_seconds
        self._answers()
        return _INBOUND

    def uptime_seconds(self) -> int | None:
        """See `Xray`."""
        self._answers()
        return int(time.monotonic() - self._began)

    def user_count(self) -> int:
        """See `Xray`."""
        self._answers()
        return len(self.running)

    def users(self) -> list[RunningUser]:
        """See `Xray`."""
        self._answers()
        return [RunningUser(name, uuid, FLOW) for name, uuid in self.running.items()]

    def lookup(self, names: Iterable[str]) -> dict[str, RunningUser | None]:
        """See `Xray`."""
        self._answers()
        return {name: RunningUser(name, self.running[name], FLOW) if name in self.running else None for name in names}

    def add(self, users: Iterable[tuple[str, str]]) -> None:
        """See `Xray`."""
        self._answers()
        for name, uuid in users:
            self.running.setdefault(name, uuid)

    def remove(self, names: Iterable[str]) -> None:
        """See `Xray`."""
        self._answers()
        for name in names:
            self.running.pop(name, None)

    def online_addresses(self) -> dict[str, frozenset[str]]:
        """See `Xray`: no customer is online here."""
        return {}

    def _answers(self) -> None:
        if not self.up:
            raise XrayUnavailableError("UNAVAILABLE")


class _NoCutter:
    able = False

    def cut(self, names: Iterable[str], port: int) -> None:
        """There are no connections."""

    def close(self) -> None:
        """There is no thread."""


class _AtOnce(Converger):
    """Has Xray brought to the state when it is asked, on this very thread."""

    def start(self) -> None:
        self._xray.on_loss(self._stale.set)
        self._reader = self._store.reader()
        self.look()

    def stop(self) -> None:
        self._reader.close()

    def settle(self, clients: Iterable[str]) -> Future[dict[str, Settled]]:
        done: Future[dict[str, Settled]] = Future()
        done.set_result(self._now(set(clients)))
        return done

    def look(self) -> None:
        """As the thread does from time to time."""
        self._now(set())
        self.looked.set()

    def _now(self, clients: set[str]) -> dict[str, Settled]:
        try:
            return self._turn(self._reader, clients, 0.0)
        except XrayUnavailableError as error:
            self._down(str(error))
            return {}


class _Service(Service):
    """The service without its threads and its second hand: the run calls `tick` in its place."""

    def __init__(self, store: Store, xray: Any, links: LinkMaker, sources: Sources) -> None:
        super().__init__(store, xray, links, (), sources)
        self._cutter = _NoCutter()  # type: ignore[assignment] # as far as it is used
        self._at_once = self._converger = _AtOnce(store, xray, self._cutter)

    async def start(self) -> None:
        """Without a second hand."""
        self._converger.start()

    async def stop(self) -> None:
        """As a kill: what is in the file is all that stays."""
        self._converger.stop()
        self._xray.close()
        self._store.close()

    async def tick(self) -> None:
        """A second of its life: see `_sweep_expired`."""
        self._at_once.look()
        now_ms = self.clock.now_ms()
        await self._keep_time(at_least_ms=10_000)
        dropped = await self._stored(self._store.drop_expired, now_ms) if now_ms is not None else []
        if dropped:
            await self._settle(dropped)


@dataclass
class Node:
    """One machine.

    Attributes:
        mood: how it answers now.
        wall_off_ms: how far its wall clock is wrong.
        lies: draws what a lying one says.
    """

    name: str
    url: str
    key: str
    folder: Path
    clock: RunClock
    mood: Mood = "up"
    wall_off_ms: int = 0
    xray: MemoryXray = field(default_factory=MemoryXray)
    boots: int = 0
    _service: _Service | None = None
    _app: Any = None

    async def start(self) -> None:
        """The service comes up with what its file holds; the machine is another boot."""
        self.boots += 1
        boot, began = self.boots, self.clock.now()
        sources = Sources(
            lambda: int(self.clock.now().timestamp() * 1000) + self.wall_off_ms,
            lambda: int((self.clock.now() - began).total_seconds() * 1000),
            f"boot-{boot}",
        )
        store = Store(self.folder / "state.sqlite3", _GRACE_MS)
        self._service = _Service(store, self.xray, LinkMaker(f"{self.name}.example.com", self.name, "chrome"), sources)
        await self._service.start()
        self._app = httpx.ASGITransport(app=app.build(self._service, [self.key]))

    async def stop(self) -> None:
        """Power off: Xray's users are gone."""
        if self._service is not None:
            await self._service.stop()
            self._service = None
        self.xray.restart()

    async def lose_state(self) -> None:
        """Its disk is replaced."""
        await self.stop()
        for file in self.folder.glob("state.sqlite3*"):
            file.unlink()
        await self.start()

    async def tick(self) -> None:
        """It looks after Xray and after ends."""
        if self._service is not None:
            await self._service.tick()

    @property
    def lets_in(self) -> dict[str, str]:
        """UUID by subscription, of what its Xray runs now."""
        return {name.rpartition(".")[0]: uuid for name, uuid in self.xray.running.items()}

    async def answer(self, request: httpx.Request) -> tuple[int, bytes]:
        """What the service says."""
        if self._service is None:
            raise LostOnTheWay
        answer = await self._app.handle_async_request(request)
        return answer.status_code, await answer.aread()


class NodeNetwork:
    """In place of `lib.nodes.transport.Transport`."""

    def __init__(self, nodes: Sequence[Node], network: Network, dice: random.Random) -> None:
        self.nodes = {node.url: node for node in nodes}
        self._network = network
        self._dice = dice

    async def send(
        self, url: str, body: bytes | None, headers: Mapping[str, str], _pins: Sequence[str]
    ) -> tuple[int, bytes]:
        """See `Transport`."""
        request = httpx.Request("GET" if body is None else "POST", url, headers=dict(headers), content=body)
        node = self.nodes[f"{request.url.scheme}://{request.url.netloc.decode()}"]

        async def deliver() -> tuple[int, bytes]:
            if node.mood == "down":
                raise LostOnTheWay
            if node.mood == "hangs":
                await asyncio.sleep(_HANGS_S)
            if node.mood == "refuses" or self._network.faults.happens("call_refused"):
                return self._dice.choice((429, 500, 503, 526)), b"{}"
            said = await node.answer(request)
            return self._lie(said) if node.mood == "lies" else said

        try:
            async with asyncio.timeout(_READ_S):
                found: tuple[int, bytes] = await self._network.carry(deliver)
        except TimeoutError:
            raise NodeError("no answer in time", temporary=True) from None
        except (LostOnTheWay, AnswerLost) as error:
            raise NodeError(type(error).__name__, temporary=True) from None
        processes.assert_alive()
        return found

    def _lie(self, said: tuple[int, bytes]) -> tuple[int, bytes]:
        """It did what it was asked, or not, and says something else."""
        return self._dice.choice(((200, b"<html>"), (200, b'{"items": [], "users": []}'), (401, b"{}"), said))

    async def close(self) -> None:
        """As the adapter has it."""


async def power_cycle(node: Node) -> None:
    """Off, and on again."""
    with contextlib.suppress(RuntimeError):
        await node.stop()
    await node.start()


__all__ = ["MemoryXray", "Node", "NodeNetwork", "inbound", "power_cycle"]
