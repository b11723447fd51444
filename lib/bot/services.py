"""What the bot is put together from, once per process (lib/bot/wiring.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from lib.db import Database
    from lib.domain.pricelist import PriceList
    from lib.payments.provider import Provider
    from lib.settings.plain import TelegramSettings


@dataclass(frozen=True, slots=True)
class Services:
    """Adapters and configuration, the same for every update of a process.

    Attributes:
        cryptopay: None when CryptoBot is not configured: it is not offered.
        zone: in which times are shown (`DISPLAY_TZ`).
    """

    db: Database
    prices: PriceList
    telegram: TelegramSettings
    cryptopay: Provider | None
    zone: ZoneInfo
