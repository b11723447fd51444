"""`make migrate`: bring the database that MIGRATE_DATABASE_URL or DATABASE_URL names to the newest schema.

`python -m lib.migrate [--pre | --post]`: only the files that run before the new code, or those that run once the old code has no
traffic; both unless said.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING

from lib.db import Database
from lib.db.address import DatabaseAddress
from lib.db.errors import DatabaseError
from lib.db.migrate import (
    BOTH,
    MigrationChanged,
    MigrationFailed,
    MigrationOutOfOrder,
    UnfitDatabase,
    migrate,
)
from lib.domain import subscriptions
from lib.payments import registry
from lib.settings import plain, pricelist

if TYPE_CHECKING:
    from lib.db.migrate import Kind

# What people meet most, in words instead of codes.
_WORDS = {
    "3D000": "there is no such database (create it first)",
    "28P01": "wrong user or password",
    "28000": "this user may not log in",
    "42501": "this user may not create the schema",
    "57P03": "Postgres is starting or stopping; try again",
    "55P03": "a table is in use for too long; try again",
    "InterfaceError": "no server answers there",
    "ConnectionRefusedError": "no server answers there",
}


def main(given: list[str] | None = None) -> int:
    """0 when the database is at the newest schema, 1 and a sentence when not."""
    parser = argparse.ArgumentParser(prog="python -m lib.migrate", description="Migrate the database.")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--pre", action="store_true", help="only what must be there before the new code")
    only.add_argument("--post", action="store_true", help="only what must wait until the old code has no traffic")
    options = parser.parse_args(given)
    kinds: frozenset[Kind] = BOTH
    if options.pre or options.post:
        kinds = frozenset({"pre"}) if options.pre else frozenset({"post"})
    try:
        url = plain.read("MIGRATE_DATABASE_URL", plain.database_url) or plain.read("DATABASE_URL", plain.database_url)
        environment, zone = plain.environment(), plain.zone()
        prices = pricelist.load()
    except (plain.UnusableSetting, pricelist.InvalidPriceList) as error:
        return _refused(str(error))
    if not url:
        return _refused("set MIGRATE_DATABASE_URL or DATABASE_URL")
    address = DatabaseAddress.parse(url)
    try:
        takers = registry.providers(environment)
        done = migrate(url, environment, kinds=kinds, zone=str(zone), currency=prices.currency, providers=takers)
        held = asyncio.run(_tariffs_held(url))
    except MigrationFailed as error:
        words = next((f": {words}" for code, words in _WORDS.items() if code in error.code), "")
        return _refused(f"{address}: {error}{words}")
    except (DatabaseError, MigrationChanged, MigrationOutOfOrder, UnfitDatabase, ValueError) as error:
        words = next((words for code, words in _WORDS.items() if code in str(error)), "")
        return _refused(f"{address}: {words or error}")
    if lacking := [tariff for tariff in held if tariff not in prices.tariffs]:
        return _refused(
            f"the price list lacks {', '.join(lacking)}, which customers hold or may still pay for: retire a tariff by"
            " sold = false, so that its prices go on saying what its time is worth"
        )
    sys.stdout.write(f"migrate: {', '.join(done) if done else 'nothing to do'}\n")
    return 0


async def _tariffs_held(url: str) -> list[str]:
    database = Database(url, connections=1, application="migrate")
    try:
        return await database.run(subscriptions.tariffs_held)
    finally:
        await database.close()


def _refused(problem: str) -> int:
    sys.stderr.write(f"migrate: {problem}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
