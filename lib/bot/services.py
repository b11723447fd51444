"""What the bot is put together from, once per process (lib/bot/wiring.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

    from lib.db import Database
    from lib.domain.pricelist import PriceList
    from lib.payments.provider import Invoices
    from lib.settings.plain import TelegramSettings


@dataclass(frozen=True, slots=True)
class Services:
    """Adapters and configuration, the same for every update of a process.

    Attributes:
        invoices: by name, the providers that are configured and make invoices: what can be paid by, in the order of the screen.
        zone: in which times are shown (`DISPLAY_TZ`).
    """

    db: Database
    prices: PriceList
    telegram: TelegramSettings
    invoices: Mapping[str, Invoices]
    zone: ZoneInfo
