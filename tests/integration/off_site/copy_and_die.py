"""A process of its own that copies every day that is due: `python -m tests.integration.off_site.copy_and_die DATABASE_URL`.

The store is that of the settings, and a failpoint ends it (lib/failpoints.py).
"""

from __future__ import annotations

import asyncio
import sys

import httpx

from lib.db import Database
from lib.domain import ledger_export
from lib.off_site.copy import copy_day
from lib.off_site.store import Store
from lib.settings import plain


async def _alive() -> None:
    """It does, for now."""


async def main(url: str) -> None:
    settings = plain.ledger_store()
    assert settings is not None
    database = Database(url, connections=1, application="dying", guards=False)
    async with httpx.AsyncClient(trust_env=False) as client:
        store = Store(lambda: client, settings)
        while due := await database.run(ledger_export.due, store.address):
            await copy_day(database, store, due, "versioned", _alive)
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
