"""P11: from the signed payment webhook of a new order to access on the real node, and on to the key in the chat.

One node; beside it the same with two, which are asked side by side.

Everything runs: every function in its own process, Postgres with synchronous commit, the node service with its durable
record, Xray, the task queue's stand-in. The webhook goes straight to the function, as the platform's front end would hand
it over; follow-up work takes the queue's way.

The floor, measured between the orders of the same series, is what could not be left out: one `/apply` of one
client over HTTP, durable, and one settlement transaction.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx

from bench import cold_start, consumption
from bench.access import AccessWatch
from bench.cold_key import cold_key
from bench.figures import Bar, Outcome, Plot, Row, Series, paired_ratio
from lib.domain import inbox
from lib.nodes import keys
from lib.payments import cryptopay_news
from sandbox.system.customer import link_of
from sandbox.system.nodes import ADD_NODE, NODE_NAMES

if TYPE_CHECKING:
    from bench.buyers import Buyers, Paid
    from bench.sizes import Sizes
    from sandbox.system.system import System

_FLOOR_LIMIT = 2.3
_COLD_LIMIT = 6.0
_DEADLINE_S = 30.0
_AN_HOUR_MS = 3_600_000
_PAGE = 1000
ON_THE_WAY = ("cryptobot_webhook", "task_provision", "task_notify")
"""Whose CPU an order takes; the others only idle meanwhile, which on the platform costs nothing."""
_UNPACED = 500.0


class NotGrantedError(RuntimeError):
    """A part answered what it must not; the text says which."""


@dataclass
class _Taken:
    """Samples in seconds."""

    answered: list[float] = field(default_factory=list)
    access: list[float] = field(default_factory=list)
    key: list[float] = field(default_factory=list)
    node_add: list[float] = field(default_factory=list)
    settle: list[float] = field(default_factory=list)
    parallel: list[float] = field(default_factory=list)
    per_second: float = 0.0
    with_two_nodes: list[float] = field(default_factory=list)
    functions_cpu: float = 0.0
    postgres_cpu: float = 0.0
    cold: list[float] = field(default_factory=list)
    empty: list[float] = field(default_factory=list)


class _Bench:
    def __init__(self, system: System, buyers: Buyers, client: httpx.AsyncClient, watch: AccessWatch) -> None:
        self._system = system
        self._buyers = buyers
        self._client = client
        self._watch = watch
        port = system.fleet.processes["cryptobot_webhook"][0].port
        self._webhook = f"http://127.0.0.1:{port}/"
        self.taken = _Taken()

    async def warm_up(self) -> None:
        """Whatever a process does once, it has done."""
        await self._key(await self._buyers.paid())
        await self._node_add(0)
        await self._settle()

    async def keys(self, count: int) -> None:
        """Webhook to key message; one at a time, and no faster than the message queue lets a pair of messages pass."""
        queue = self._system.tasks.queues["messages"]
        for _ in range(count):
            paid = await self._buyers.paid()
            await self._system.settled()
            await asyncio.sleep(queue.max_burst / queue.rate)
            self.taken.key.append(await self._key(paid))

    async def one_by_one(self, count: int) -> None:
        """An order, the floor, an order, the floor."""
        for number in range(count):
            answered, access = await self._access()
            self.taken.answered.append(answered)
            self.taken.access.append(access)
            self.taken.node_add.append(await self._node_add(number + 1))
            self.taken.settle.append(await self._settle())

    async def _access(self) -> tuple[float, float]:
        """Seconds of one order until the webhook was answered, and until access."""
        paid = await self._buyers.paid()
        self._system.tasks.purge("messages")  # receipts and keys of the order before: another customer's load
        began = time.perf_counter()
        granted = asyncio.create_task(self._watch.granted(paid.account_id, _DEADLINE_S))
        await self._post(paid)
        answered = time.perf_counter() - began
        return answered, await granted - began

    async def on_two_nodes(self, count: int) -> None:
        """The same with the second node, from now on."""
        node, name = self._system.nodes[1], NODE_NAMES[1]
        await self._system.sql(ADD_NODE, name=name, api_url=node.url, key_name=keys.MASTER_KEYS, pin=node.pin)
        for _ in range(count):
            self.taken.with_two_nodes.append((await self._access())[1])

    async def unwatched(self, count: int) -> None:
        """CPU of functions and Postgres for an order with all that follows it, messages too, when only they look at it."""
        orders = [await self._buyers.paid() for _ in range(count)]
        queue = self._system.tasks.dispatcher("messages")
        paced = queue.queue
        queue.configure(replace(paced, rate=_UNPACED))
        await self._system.settled()
        functions = self._system.fleet.chosen(ON_THE_WAY)
        cpu, postgres = consumption.cpu_s(functions), await consumption.backends_cpu_s(self._system)
        for paid in orders:
            await self._post(paid)
        await self._system.settled()
        self.taken.postgres_cpu = (await consumption.backends_cpu_s(self._system) - postgres) / count
        self.taken.functions_cpu = (consumption.cpu_s(functions) - cpu) / count
        queue.configure(paced)

    async def all_asleep(self, count: int) -> None:
        """The key when every function sleeps, and the start of an empty function, in turn."""
        for _ in range(count):
            paid = await self._buyers.paid()
            took, _cpu = await cold_key(self._system, paid)
            self.taken.cold.append(took)
            self.taken.empty.append(await cold_start.empty(self._system))

    async def side_by_side(self, count: int, at_once: int) -> None:
        """Orders per second with so many under way, from the first webhook to the last access."""
        orders = [await self._buyers.paid() for _ in range(count)]
        self._system.tasks.purge("messages")
        left = iter(orders)
        last = 0.0

        async def customer() -> None:
            nonlocal last
            for paid in left:
                began = time.perf_counter()
                granted = asyncio.create_task(self._watch.granted(paid.account_id, _DEADLINE_S))
                await self._post(paid)
                moment = await granted
                self.taken.parallel.append(moment - began)
                last = max(last, moment)

        began = time.perf_counter()
        async with asyncio.TaskGroup() as customers:
            for _ in range(at_once):
                customers.create_task(customer())
        self.taken.per_second = count / (last - began)

    async def all_on_the_node(self) -> None:
        """Every client that Postgres says is applied runs in Xray, by the node's own list.

        Raises:
            NotGrantedError: one does not.
        """
        rows = await self._system.sql(
            "select cast(uuid as text) as uuid from node_clients where applied_version = version"
        )
        running: set[str] = set()
        after: str | None = ""
        while after is not None:
            page = await self._node("GET", f"/list-users?limit={_PAGE}&after={after}")
            running |= {user["uuid"] for user in page["users"] if user["applied"]}
            after = page["next"]
        missing = {row["uuid"] for row in rows} - running
        if missing:
            raise NotGrantedError(f"{len(missing)} of {len(rows)} applied clients do not run in Xray")

    async def _key(self, paid: Paid) -> float:
        began = time.perf_counter()
        await self._post(paid)
        await paid.user.wait_for(lambda messages: any(link_of(message) for message in messages), _DEADLINE_S)
        return time.perf_counter() - began

    async def _post(self, paid: Paid) -> None:
        response = await self._client.post(self._webhook, content=paid.body, headers=paid.headers)
        if response.status_code != HTTPStatus.OK or response.json().get("outcome") != "settled":
            raise NotGrantedError(f"the webhook answered {response.status_code} {response.text[:200]}")

    async def _node_add(self, number: int) -> float:
        item = {
            "client": f"bench-{number}",
            "version": 1,
            "wanted": True,
            "uuid": str(uuid.uuid4()),
            "expiry_timestamp_ms": int(time.time() * 1000) + _AN_HOUR_MS,
        }
        began = time.perf_counter()
        answer = await self._node("POST", "/apply", {"items": [item]})
        took = time.perf_counter() - began
        if answer["items"][0]["code"] != HTTPStatus.OK:
            raise NotGrantedError(f"the node answered {answer['items'][0].get('error')}")
        return took

    async def _node(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        node = self._system.nodes[0]
        response = await self._client.request(
            method, f"{node.url}{path}", json=body, headers={"X-API-Key": node.key}, timeout=_DEADLINE_S
        )
        response.raise_for_status()
        return response.json()

    async def _settle(self) -> float:
        """The very transaction of the webhook, from a process that is warm; nothing follows it."""
        paid = await self._buyers.paid()
        event = cryptopay_news.read_webhook(paid.body, "bench")
        began = time.perf_counter()
        received = await self._buyers.db.run(inbox.receive, event, self._buyers.prices)
        took = time.perf_counter() - began
        if received.outcome != "settled":
            raise NotGrantedError(f"settlement: {received.outcome} {received.reason}{received.error}")
        return took


async def measure(system: System, buyers: Buyers, sizes: Sizes) -> Outcome:
    """Raises: NotGrantedError, TimeoutError, and what making an order may raise."""
    watch = AccessWatch(system.database.owner_url)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=sizes.at_once)
    await system.sql("delete from nodes where name <> :first", first=NODE_NAMES[0])
    try:
        async with httpx.AsyncClient(trust_env=False, limits=limits, timeout=_DEADLINE_S) as client:
            bench = _Bench(system, buyers, client, watch)
            await bench.warm_up()
            await bench.keys(sizes.keys)
            await bench.one_by_one(sizes.orders)
            await bench.side_by_side(sizes.parallel_orders, sizes.at_once)
            await bench.unwatched(sizes.orders)
            await bench.all_asleep(sizes.cold_keys)
            await bench.all_on_the_node()
            await bench.on_two_nodes(sizes.orders)
    finally:
        await watch.close()
        system.tasks.purge("messages")
    return _outcome(bench.taken, sizes)


def _outcome(taken: _Taken, sizes: Sizes) -> Outcome:
    floor = Series.of([add + settle for add, settle in zip(taken.node_add, taken.settle, strict=True)])
    access, key, node_add, settle = (
        Series.of(samples) for samples in (taken.access, taken.key, taken.node_add, taken.settle)
    )
    ms = 1000
    told = f"node add {node_add.median * ms:.1f} ms + settlement {settle.median * ms:.1f} ms"
    cold, empty = Series.of(taken.cold), Series.of(taken.empty)
    rows = (
        Row(
            "P11",
            "paid webhook to access on the node, one by one, p50",
            access.median * ms,
            "ms",
            told,
            access.median / floor.median,
            _FLOOR_LIMIT,
        ),
        Row(
            "P11", "the same, p99", access.percentile(99) * ms, "ms", f"floor's p99 {floor.percentile(99) * ms:.1f} ms"
        ),
        Row("P11", "the same with two nodes, p50", Series.of(taken.with_two_nodes).median * ms, "ms"),
        Row("P11", "webhook answered (settled, durable), p50", Series.of(taken.answered).median * ms, "ms"),
        Row(
            "P11",
            f"paid webhook to access on the node, {sizes.at_once} in parallel",
            taken.per_second,
            "/s",
        ),
        Row("P11", "CPU of the functions, a paid order with its messages", taken.functions_cpu * ms, "ms"),
        Row("P11", "CPU of Postgres, the same", taken.postgres_cpu * ms, "ms"),
        Row(
            "P11",
            "paid webhook to the key in the chat, every function cold",
            cold.median,
            "s",
            f"start of an empty function {empty.median * ms:.0f} ms",
            paired_ratio(cold, empty).median,
            _COLD_LIMIT,
        ),
        Row("", "paid webhook to the key in the chat, all warm, p50", key.median * ms, "ms"),
    )
    measured = {
        "seconds": {
            "webhook_answered": Series.of(taken.answered).as_dict(),
            "access": access.as_dict(),
            "floor": floor.as_dict(),
            "node_add": node_add.as_dict(),
            "settlement": settle.as_dict(),
            "key": key.as_dict(),
            "access_in_parallel": Series.of(taken.parallel).as_dict(),
            "access_with_two_nodes": Series.of(taken.with_two_nodes).as_dict(),
            "key_all_cold": cold.as_dict(),
            "empty_function_started": empty.as_dict(),
        },
        "orders_per_second": round(taken.per_second, 1),
        "cpu_s_per_order": {"functions": round(taken.functions_cpu, 5), "postgres": round(taken.postgres_cpu, 5)},
        "at_once": sizes.at_once,
    }
    bars = (
        Bar("node add", node_add.median * ms, ours=False),
        Bar("settlement transaction", settle.median * ms, ours=False),
        Bar("webhook answered", Series.of(taken.answered).median * ms, ours=True),
        Bar("access on the node", access.median * ms, ours=True),
        Bar("key in the chat", key.median * ms, ours=True),
    )
    return Outcome("P11", rows, measured, Plot("payment", "Paid webhook of a new order to ..., p50", "ms", bars))
