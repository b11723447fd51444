"""`python -m bench.settling`: one worker of P3, which settles orders one after the other, each in a transaction of its own.

It reads one line, a `Work` as JSON, says `ready`, starts with the next line that it reads, and writes a `Done`. The address of the
database comes by the environment: it holds a password.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass

from bench.settled import body
from lib.db import Database
from lib.domain import inbox
from lib.payments import cryptopay_news
from lib.settings import pricelist


@dataclass(frozen=True, slots=True)
class Work:
    """The numbers of the orders: from `first` on, so many."""

    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Done:
    """Seconds of each settlement, and how many had which outcome."""

    seconds: list[float]
    outcomes: dict[str, int]


async def _main() -> None:
    work = Work(**json.loads(sys.stdin.readline()))
    prices = pricelist.load()
    events = [
        cryptopay_news.read_webhook(body(number), "bench") for number in range(work.first, work.first + work.count)
    ]
    db = Database(os.environ["DATABASE_URL"], connections=1, application="bench")
    await db.run(lambda tx: tx.value("select 1"))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    seconds, outcomes = [], Counter[str]()
    for event in events:
        began = time.perf_counter()
        received = await db.run(inbox.receive, event, prices)
        seconds.append(time.perf_counter() - began)
        outcomes[received.outcome] += 1
    print(json.dumps(asdict(Done(seconds, dict(outcomes)))))
    await db.close()


if __name__ == "__main__":
    asyncio.run(_main())
