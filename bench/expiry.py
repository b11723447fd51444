"""P4: the expiry sweep over access that is over, on the real node service and the real Xray, against what can't be had for less.

That floor is one set-based UPDATE that ends as many others in the same table, and their removal from the same node by calls that hold
as many clients as a node takes: no history, no messages, no claims, no record of what the node confirmed. It is measured just
before and just after each run of the sweep. Whatever is to go is on the node before, so every end is a removal in the running core.
The shop around the sweep is `bench.one_node`'s.
"""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bench.figures import Bar, Outcome, Plot, Row, Series, paired_ratio
from bench.one_node import WrongSweepError, exponent, most_memory_mib
from functions.sweeps import sweep_expiry
from lib.domain.provisioning import Node, Work
from lib.nodes.client import NodeClient
from sandbox.node.lab import INBOUND_TAG
from xray_api.requests import MAX_ITEMS
from xray_api.xray import Xray

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.one_node import Shop
    from bench.sizes import Sizes

_LIMIT, _MOST_S = 2.0, 10.0

_ON_THE_NODE = (
    "select subscription_id, uuid, version from node_clients where subscription_id between :first and :last order by 1"
)
# A month that is over: everything of it is as it was the minute before.
_MAKE_DUE = """
with those as (
    update subscriptions set started_at = atlas.now() - interval '30 days', expires_at = atlas.now() - interval '1 second'
    where id between {first} and {last} returning id, expires_at
)
update node_clients c set expires_at = those.expires_at from those where c.subscription_id = those.id;
"""
_END = """
update subscriptions set status = 'expired', uuid = null, activation_status = 'none', pending_since = null,
    version = version + 1, updated_at = atlas.now()
where id between {first} and {last};
"""
_LEFT = """
select count(*) filter (where s.status = 'expired' and s.uuid is null), count(c.subscription_id)
from subscriptions s left join node_clients c on c.subscription_id = s.id where s.id between :first and :last
"""


class _Bench:
    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        node = Node(1, "first", shop.node.url, "XRAY_API_KEY", None, None, None, datetime.now(UTC))
        self._client = NodeClient(shop.transport, node, (shop.node.key,))

    async def swept(self, count: int) -> float:
        """So many end, and are gone from the node: seconds.

        Raises:
            WrongSweepError
        """
        first, last = await self._there(count)
        await self._shop.change(_MAKE_DUE, first=first, last=last)
        told = self._shop.queue.taken

        async def is_done() -> bool:
            return await self._shop.row(_LEFT, first=first, last=last) == [count, 0]

        took = await self._shop.swept("expiry", sweep_expiry._work, is_done)  # noqa: SLF001 -- as the scheduler has it, without its HTTP
        if (self._held(), self._shop.queue.taken - told) != (0, count):
            raise WrongSweepError(
                f"{count} ended and {self._shop.queue.taken - told} are to be told, {self._held()} are left in Xray"
            )
        return took

    async def floor(self, count: int) -> float:
        """So many others, by one statement and as few calls as a node takes: seconds.

        Raises:
            WrongSweepError
        """
        first, last = await self._there(count)
        gone = [self._works(page, wanted=False) for page in self._pages(first, last)]
        began = time.perf_counter()
        await self._shop.change(_END, first=first, last=last)
        for page in gone:
            await self._apply(page)
        took = time.perf_counter() - began
        if self._held():
            raise WrongSweepError(f"{self._held()} are left in Xray")
        await self._shop.change(
            "delete from node_clients where subscription_id between {first} and {last};", first=first, last=last
        )
        return took

    async def _there(self, count: int) -> tuple[int, int]:
        """The next so many are on the node as Postgres has them: the first and the last id."""
        first, last = self._shop.take(count)
        for page in self._pages(first, last):
            await self._apply(self._works(page, wanted=True))
        if self._held() != count:
            raise WrongSweepError(f"Xray runs {self._held()} of {count}")
        return first, last

    def _pages(self, first: int, last: int) -> Iterator[list[Any]]:
        for begin in range(first, last + 1, MAX_ITEMS):
            page = {"first": begin, "last": min(last, begin + MAX_ITEMS - 1)}
            yield self._shop.owner.execute(_ON_THE_NODE, page)[1]

    @staticmethod
    def _works(page: list[Any], *, wanted: bool) -> list[Work]:
        """Its own end lies ahead: what goes is told to go, and does not go by itself."""
        end, me = datetime.now(UTC) + timedelta(days=30), uuid.uuid4()
        return [Work(one, 1, key, version + (not wanted), wanted, end, me) for one, key, version in page]

    async def _apply(self, works: list[Work]) -> None:
        wrong = [answer.error for answer in (await self._client.apply(works)).answers if not answer.applied]
        if wrong:
            raise WrongSweepError(f"{len(wrong)} of {len(works)} were not applied: {wrong[0]}")

    def _held(self) -> int:
        """How many users the running core has."""
        core = Xray(f"127.0.0.1:{self._shop.node.api_port}", INBOUND_TAG)
        try:
            return core.user_count()
        finally:
            core.close()


async def measure(shop: Shop, sizes: Sizes) -> Outcome:
    """Raises: WrongSweepError."""
    bench, before = _Bench(shop), shop.put_off
    few, many = max(1, sizes.ended // 10), sizes.ended * sizes.ended_growth
    await bench.swept(few)  # whatever a process does once, it has done
    of_few = Series.of([await bench.swept(few) for _ in range(sizes.ended_rounds)])
    seconds, floors = [], []
    memory = [most_memory_mib()]
    for number in range(sizes.ended_rounds):
        # the memory of the first sweep is looked at before this process has ever held what the floor needs at once
        around = [await bench.floor(sizes.ended)] if number else []
        seconds.append(await bench.swept(sizes.ended))
        memory.append(most_memory_mib())
        around.append(await bench.floor(sizes.ended))
        floors.append(sum(around) / len(around))
    of_many = await bench.swept(many)
    memory.append(most_memory_mib())
    put_off = shop.put_off - before
    return _outcome(
        sizes, Series.of(seconds), Series.of(floors), [of_few.median, of_many], memory=memory, put_off=put_off
    )


def _outcome(
    sizes: Sizes, ours: Series, floor: Series, of_few_and_many: list[float], *, memory: list[float], put_off: int
) -> Outcome:
    ratio = paired_ratio(ours, floor)
    due = [max(1, sizes.ended // 10), sizes.ended, sizes.ended * sizes.ended_growth]
    by_due = [of_few_and_many[0], ours.median, of_few_and_many[1]]
    grown = ", ".join(f"{size}: {took:.2f} s" for size, took in zip(due, by_due, strict=True))
    rows = (
        Row("P4", f"expiry sweep, {sizes.ended} due among {sizes.subscriptions}, one node, over its floor", ours.median, "s",
            f"one UPDATE and calls of {MAX_ITEMS}: {floor.median:.2f} s", ratio.median, _LIMIT),
        Row("P4", "the same, seconds", ours.median, "s", limit=_MOST_S, quantity="value"),
        Row("P4", "how its time grows with the number due, exponent", exponent(due, by_due), "", grown),
        Row("P4", "what its memory grew by over a tenth as many", memory[1] - memory[0], "MiB",
            f"{due[-1]} due, over {due[1]}: {memory[-1] - memory[-2]:.1f} MiB"),
    )  # fmt: skip
    measured: dict[str, Any] = {
        "seconds": {"sweep": ours.as_dict(), "floor": floor.as_dict()},
        "ratio": ratio.as_dict(3),
        "median_s_by_due": dict(zip(map(str, due), by_due, strict=True)),
        "exponent": exponent(due, by_due),
        "most_memory_mib": memory,
        "put_off": put_off,
    }
    bars = (Bar("the sweep", ours.median * 1000, ours=True), Bar("its floor", floor.median * 1000, ours=False))
    return Outcome("P4", rows, measured, Plot("expiry", f"{sizes.ended} subscriptions ended", "ms", bars))
