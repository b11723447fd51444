"""P6: one client more on a node that holds 50 000, against writing the configuration anew and restarting Xray.

Ours is a call of Atlas's own client over HTTP: recorded durably, applied to the running core, answered with the link. Meanwhile customers
download through the node, and none of their connections may break. The other way is a second core with as many clients in its file:
the file is written with one more and the core is started again, until both its ports accept.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

from bench.figures import Bar, Outcome, Plot, Row, Series
from bench.one_node import exponent
from bench.places import scratch
from lib.domain.provisioning import Node, Work
from lib.nodes.client import NodeClient
from lib.nodes.transport import AiohttpTransport
from sandbox.node.lab import Origin, TunnelClient, TunnelRefusedError, XrayCore, XrayNode, server_config

if TYPE_CHECKING:
    from pathlib import Path

    from bench.sizes import Sizes

_FASTER = 100
_BATCH = 500
_FLOW = "xtls-rprx-vision"
_DOWNLOADS = 4
_ALIVE_S = 10.0
"""A download that brings nothing for so long is broken: the page sends every 20 ms."""


class WrongAddError(RuntimeError):
    """The node did not take a client, or a download never began; the text says what."""


class _Caller:
    """As Atlas calls the node; every client is a new one."""

    def __init__(self, transport: AiohttpTransport, node: XrayNode) -> None:
        row = Node(1, "first", node.url, "XRAY_API_KEY", None, None, None, datetime.now(UTC))
        self._client = NodeClient(transport, row, (node.key,))
        self._next = 1

    async def add(self, count: int) -> str:
        """So many in one call; the last one's link.

        Raises:
            WrongAddError
        """
        end = datetime.now(UTC) + timedelta(days=30)
        me = uuid.uuid4()
        works = [Work(self._next + number, 1, uuid.uuid4(), 1, True, end, me) for number in range(count)]  # noqa: FBT003 -- the fields' order
        self._next += count
        answers = (await self._client.apply(works)).answers
        wrong = [answer.error for answer in answers if not answer.applied]
        if wrong:
            raise WrongAddError(f"{len(wrong)} of {count} were not applied: {wrong[0]}")
        return str(answers[-1].link)


class _Download:
    """One that never ends; `bytes` grows while its connection lives."""

    def __init__(self) -> None:
        self.bytes = 0
        self.broken = False
        self.began = asyncio.Event()
        self._heard = time.monotonic()

    async def run(self, client: TunnelClient, url: str) -> None:
        """Until it breaks, or is cancelled."""
        try:
            async with client.stream(url) as response:
                async for part in response.aiter_bytes():
                    self.bytes += len(part)
                    self._heard = time.monotonic()
                    self.began.set()
        except (TunnelRefusedError, httpx.HTTPError):
            pass  # what it says is told below
        self.broken = True

    @property
    def is_alive(self) -> bool:
        """Whether its connection was never broken and still brings something."""
        return not self.broken and self.bytes > 0 and time.monotonic() - self._heard < _ALIVE_S


async def measure(sizes: Sizes) -> Outcome:
    """Raises: WrongAddError."""
    with scratch() as folder:
        of_few, seconds, dropped, bytes_ = await _hot(folder / "node", sizes)
        rewrites, cut = await _rewritten(folder / "other", sizes)
    fewer, ours, theirs = Series.of(of_few), Series.of(seconds), Series.of(rewrites)
    held = [max(1, sizes.held // 10), sizes.held]
    grows = exponent(held, [fewer.median, ours.median])
    faster = theirs.median / ours.median
    rows = (
        Row("P6", f"one client more, durable, over HTTP, while {sizes.held} exist, p50", ours.median * 1000, "ms",
            f"configuration written anew and Xray restarted: {theirs.median * 1000:.0f} ms", faster, _FASTER, relation="≥"),
        Row("P6", "p99 of it", ours.percentile(99) * 1000, "ms"),
        Row("P6", "how its time grows with the clients that the node holds, exponent", grows, "",
            ", ".join(f"{size}: {one.median * 1000:.1f} ms" for size, one in zip(held, (fewer, ours), strict=True))),
        Row("P6", f"connections dropped, of {_DOWNLOADS} downloads meanwhile", dropped, "connections",
            f"a restart: {cut} of {_DOWNLOADS}", limit=0, quantity="value"),
    )  # fmt: skip
    measured: dict[str, Any] = {
        "held": sizes.held,
        "seconds": {"add": ours.as_dict(), "add_among_a_tenth": fewer.as_dict(), "rewrite": theirs.as_dict()},
        "exponent": grows,
        "faster": faster,
        "dropped": {"add": dropped, "rewrite": cut},
        "downloads": _DOWNLOADS,
        "bytes_meanwhile": bytes_,
    }
    bars = (
        Bar("one add, hot", ours.median * 1000, ours=True),
        Bar("file and restart", theirs.median * 1000, ours=False),
    )
    return Outcome("P6", rows, measured, Plot("hot-add", "One client more on a full node", "ms", bars))


async def _hot(folder: Path, sizes: Sizes) -> tuple[list[float], list[float], int, int]:
    """Seconds of each add to a tenth and to all, how many downloads were dropped, and what they brought meanwhile."""
    node, transport, origin = XrayNode(folder), AiohttpTransport(), Origin()
    await origin.start()
    try:
        await node.start()
        caller = _Caller(transport, node)
        link = await caller.add(1)
        held = max(1, sizes.held // 10)
        await _filled(caller, held - 1)
        of_few = await _one_by_one(caller, sizes.hot_adds)
        await _filled(caller, sizes.held - held - sizes.hot_adds)
        async with AsyncExitStack() as clients:
            downloads = await _downloading(clients, link, origin.drip_url)
            before = sum(one.bytes for one in downloads)
            seconds = await _one_by_one(caller, sizes.hot_adds)
            dropped = sum(not one.is_alive for one in downloads)
            return of_few, seconds, dropped, sum(one.bytes for one in downloads) - before
    finally:
        await transport.close()
        await node.stop()
        await origin.stop()


async def _filled(caller: _Caller, left: int) -> None:
    """So many clients more."""
    while left > 0:
        await caller.add(min(left, _BATCH))
        left -= _BATCH


async def _one_by_one(caller: _Caller, count: int) -> list[float]:
    """Seconds of each of so many adds."""
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        await caller.add(1)
        seconds.append(time.perf_counter() - began)
    return seconds


async def _downloading(clients: AsyncExitStack, link: str, url: str) -> list[_Download]:
    """So many through clients of their own, each of which has brought something; they end with the stack.

    Raises:
        WrongAddError
    """
    downloads = [_Download() for _ in range(_DOWNLOADS)]
    tasks = []
    for one in downloads:
        client = await clients.enter_async_context(TunnelClient(link))
        tasks.append(asyncio.create_task(one.run(client, url)))

    async def end() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    clients.push_async_callback(end)
    try:
        async with asyncio.timeout(30):
            for one in downloads:
                await one.began.wait()
    except TimeoutError:
        raise WrongAddError("a download through the node did not begin") from None
    return downloads


async def _rewritten(folder: Path, sizes: Sizes) -> tuple[list[float], int]:
    """Seconds of each restart with one client more in the file, and how many downloads the first one cut."""
    node = XrayNode(folder)  # its target, its keys and, for one link, its service
    transport, origin = AiohttpTransport(), Origin()
    await origin.start()
    config = server_config(
        port=node.port,
        api_port=node.api_port,
        target_port=node.target.port,
        private_key=node.core.config["inbounds"][0]["streamSettings"]["realitySettings"]["privateKey"],
        short_id=node.short_id,
    )
    clients = config["inbounds"][0]["settings"]["clients"]
    clients += [_in_file(number) for number in range(sizes.held)]
    core = XrayCore(folder / "core", config)
    try:
        await node.start()
        link = await _Caller(transport, node).add(1)
        await node.service.stop()
        await node.core.stop()
        clients.append({"id": link.partition("://")[2].partition("@")[0], "email": "1.1", "flow": _FLOW})
        await core.start()
        seconds, cut = [], 0
        async with AsyncExitStack() as stack:
            downloads = await _downloading(stack, link, origin.drip_url)
            for number in range(sizes.rewrites):
                clients.append(_in_file(sizes.held + number))
                began = time.perf_counter()
                await core.restart()
                seconds.append(time.perf_counter() - began)
            cut = sum(one.broken for one in downloads)
        return seconds, cut
    finally:
        await transport.close()
        await core.stop()
        await node.stop()
        await origin.stop()


def _in_file(number: int) -> dict[str, str]:
    return {"id": str(uuid.uuid4()), "email": f"{number + 10}.1", "flow": _FLOW}
