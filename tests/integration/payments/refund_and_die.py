"""A process of its own that makes the refunds that are due: `python -m tests.integration.payments.refund_and_die URL`.

A failpoint of the code ends it (lib/failpoints.py), or `after-commit`, which is here.
"""

from __future__ import annotations

import asyncio
import sys

from lib import bootstrap, failpoints
from lib.db import Database
from lib.payments import giving_back
from tests.integration.sweeps.runs import Queue, sweep_run


class DyingQueue(Queue):
    """The commit is done when its work comes here."""

    async def create(self, task: object) -> bool:
        failpoints.reach("after-commit")
        return await super().create(task)  # type: ignore[arg-type] # as it came


async def main(url: str) -> None:
    database = Database(url, connections=1, application="dying", guards=False)
    bootstrap.task_queue = DyingQueue  # type: ignore[assignment] # each call a queue that dies
    await giving_back.make_due(sweep_run(database, "payments"))
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
