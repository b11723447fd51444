from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from lib.bot.services import Services
from lib.settings import pricelist
from lib.settings.plain import TelegramSettings
from tests.integration.bot.customer import Customer, FakeProvider

if TYPE_CHECKING:
    from lib.db import Database

TELEGRAM = TelegramSettings("42:TEST", "http://127.0.0.1:9", "atlas_bot", "https://t.me/atlas_support")


def services_over(database: Database, provider: FakeProvider | None) -> Services:
    return Services(
        database, pricelist.load(), TELEGRAM, {provider.name: provider} if provider else {}, ZoneInfo("Europe/Moscow")
    )


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


@pytest.fixture
def anna(db: Database, provider: FakeProvider) -> Customer:
    """A customer whose updates run through the bot, every transaction twice."""
    return Customer(services_over(db, provider), telegram_id=700_000_001)


@pytest.fixture
def racer(racing_db: Database, provider: FakeProvider) -> Customer:
    """As `anna`, for taps that race each other."""
    return Customer(services_over(racing_db, provider), telegram_id=700_000_002)
