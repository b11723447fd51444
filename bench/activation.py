"""P5: the activation sweep over access that no node holds yet, on the real node service and the real Xray, against Xray's own rate.

The rate to beat by half is Xray's, one add after the other over one gRPC channel, on the same core just before and just after: no
database, no record of it, no HTTP. The shop around the sweep is `bench.one_node`'s.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.figures import Bar, Outcome, Plot, Row, Series, paired_ratio
from bench.one_node import WrongSweepError, exponent, most_memory_mib
from functions.sweeps import sweep_activation
from sandbox.node.lab import INBOUND_TAG
from xray_api.xray import Xray

if TYPE_CHECKING:
    from bench.one_node import Shop
    from bench.sizes import Sizes

_LIMIT = 0.5

# As a grant leaves them: a client that its node has not confirmed, which is what activates the subscription.
_MAKE_PENDING = """
with those as (
    update subscriptions set activation_status = 'pending', pending_since = atlas.now()
    where id between {first} and {last} returning id
)
update node_clients c set applied_version = null, applied_at = null, applied_uuid = null, link = null, next_attempt_at = atlas.now()
from those where c.subscription_id = those.id;
"""
_APPLIED = """
select count(*) from subscriptions s join node_clients c on c.subscription_id = s.id
where s.id between :first and :last and s.activation_status = 'active' and c.applied_version = c.version and c.applied_uuid = s.uuid
"""


@dataclass
class _Taken:
    """Clients a second, a figure a round."""

    ours: list[float] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)


async def _activated(shop: Shop, count: int) -> float:
    """So many become pending and are applied: seconds.

    Raises:
        WrongSweepError
    """
    first, last = shop.take(count)
    await shop.change(_MAKE_PENDING, first=first, last=last)
    keys = shop.queue.taken

    async def is_done() -> bool:
        return await shop.row(_APPLIED, first=first, last=last) == [count]

    took = await shop.swept("activation", sweep_activation._work, is_done)  # noqa: SLF001 -- as the scheduler has it, without its HTTP
    if shop.queue.taken - keys != count:
        raise WrongSweepError(f"{count} applied, {shop.queue.taken - keys} keys were to be sent")
    return took


async def _raw(shop: Shop, count: int) -> float:
    """So many others added to the core itself, one after the other over one channel, and taken away again: adds a second."""
    users = [(f"raw-{number}.1", str(uuid.uuid4())) for number in range(count)]

    def added() -> float:
        core = Xray(f"127.0.0.1:{shop.node.api_port}", INBOUND_TAG)
        try:
            core.user_count()  # the channel stands
            began = time.perf_counter()
            for user in users:
                core.add([user])
            took = time.perf_counter() - began
            core.remove(name for name, _ in users)
        finally:
            core.close()
        return len(users) / took

    return await asyncio.to_thread(added)


async def measure(shop: Shop, sizes: Sizes) -> Outcome:
    """Raises: WrongSweepError."""
    taken = _Taken()
    few, many = max(1, sizes.activated // 10), sizes.activated * sizes.activated_growth
    keys, put_off = shop.queue.taken, shop.put_off
    await _activated(shop, few)  # whatever a process does once, it has done
    of_few = Series.of([await _activated(shop, few) for _ in range(sizes.activation_rounds)])
    before = most_memory_mib()
    for _ in range(sizes.activation_rounds):
        raw = [await _raw(shop, sizes.raw_adds)]
        taken.ours.append(sizes.activated / await _activated(shop, sizes.activated))
        raw.append(await _raw(shop, sizes.raw_adds))
        taken.raw.append(sum(raw) / len(raw))
    memory = most_memory_mib() - before
    of_many = await _activated(shop, many)
    ours, raw_rate = Series.of(taken.ours), Series.of(taken.raw)
    ratio = paired_ratio(ours, raw_rate)
    pending = [few, sizes.activated, many]
    seconds = [of_few.median, sizes.activated / ours.median, of_many]
    grown = ", ".join(f"{size}: {took:.2f} s" for size, took in zip(pending, seconds, strict=True))
    rows = (
        Row("P5", f"activation sweep, {sizes.activated} pending among {sizes.subscriptions}, one node", ours.median, "/s",
            f"Xray itself, one add after the other: {raw_rate.median:.0f}/s", ratio.median, _LIMIT, relation="≥"),
        Row("P5", "how its time grows with the number pending, exponent", exponent(pending, seconds), "", grown),
        Row("P5", "what its memory grew by over a tenth as many", memory, "MiB"),
    )  # fmt: skip
    measured: dict[str, Any] = {
        "per_second": {"ours": ours.as_dict(1), "raw": raw_rate.as_dict(1)},
        "ratio": ratio.as_dict(3),
        "seconds_of_a_tenth": of_few.as_dict(),
        "median_s_by_pending": dict(zip(map(str, pending), seconds, strict=True)),
        "exponent": exponent(pending, seconds),
        "memory_mib": memory,
        "keys": shop.queue.taken - keys,
        "put_off": shop.put_off - put_off,
    }
    bars = (Bar("the sweep", ours.median, ours=True), Bar("Xray itself", raw_rate.median, ours=False))
    return Outcome("P5", rows, measured, Plot("activation", "Clients applied a second", "/s", bars))
