"""A process of its own that makes a new key: `python -m tests.integration.sweeps.reissue_and_die URL ACCOUNT GENERATION`.

A failpoint ends it (lib/failpoints.py): of the code, or `after-commit`, which is here.
"""

from __future__ import annotations

import asyncio
import sys

from lib import failpoints
from lib.db import Database
from lib.domain import reissue


async def main(url: str, account_id: int, generation: int) -> None:
    database = Database(url, connections=1, application="dying", guards=False)
    await database.run(reissue.reissue, account_id, correlation_id="c-1", generation=generation)
    failpoints.reach("after-commit")
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
