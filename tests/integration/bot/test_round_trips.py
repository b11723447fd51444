"""What an update costs on the way to Postgres, whose answer takes about a millisecond there (docs/performance.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lib.db import Database
from tests.integration.bot.conftest import services_over
from tests.integration.bot.customer import Customer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.database_proxy import DatabaseProxy


@pytest.fixture
async def far_away(proxy: DatabaseProxy) -> AsyncIterator[Customer]:
    """A customer of one instance with one connection, whose trips can be counted."""
    database = Database(proxy.url, connections=1, application="test", guards=False)
    yield Customer(services_over(database, None), telegram_id=700_000_003)
    await database.close()


@pytest.mark.parametrize(
    ("text", "trips"),
    [
        ("/start", 3),  # claimed and met; may they have a trial; the reply with COMMIT
        ("/language", 2),
    ],
)
async def test_an_update_takes_few_round_trips(proxy: DatabaseProxy, far_away: Customer, text: str, trips: int) -> None:
    await far_away.say(text)  # prepares the statements
    before = proxy.sent
    await far_away.say(text)
    assert proxy.sent - before == trips


async def test_a_repeated_one_takes_no_more(proxy: DatabaseProxy, far_away: Customer) -> None:
    update = far_away.typed("/start")
    first = await far_away.give(update)
    await far_away.give(update)
    before = proxy.sent
    assert (await far_away.give(update)).reply == first.reply
    assert proxy.sent - before == 3  # claimed, and not met; did they move on; COMMIT
