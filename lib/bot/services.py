"""What the bot is put together from, once per process (lib/bot/wiring.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.domain.balance import PROVIDER as BALANCE
from lib.settings import values

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from zoneinfo import ZoneInfo

    from lib.db import Database
    from lib.domain.pricelist import PriceList
    from lib.payments.provider import Invoices
    from lib.settings.plain import TelegramSettings


@dataclass(frozen=True, slots=True)
class Services:
    """Adapters and configuration, the same for every update of a process.

    Attributes:
        invoices: by name, the providers that are configured and make invoices.
        zone: in which times are shown (`DISPLAY_TZ`).
        asks_data: whether a person is asked before anything of them is kept (`ASK_DATA_CONSENT`).
        owners: Telegram ids of those who may do everything (`ADMIN_IDS`).
        giving_back: names the providers that give charges back; asked when an operator comes.
        wanted: the ways to pay that the operator wants, in their order (`PAYMENT_METHODS`); None: all that there are.
    """

    db: Database
    prices: PriceList
    telegram: TelegramSettings
    invoices: Mapping[str, Invoices]
    zone: ZoneInfo
    wanted: tuple[str, ...] | None = None
    asks_data: bool = False
    owners: frozenset[int] = frozenset()
    giving_back: Callable[[], Collection[str]] | None = None

    @property
    def methods(self) -> dict[str, str]:
        """By name, what each provider that one can pay by is called on a button, in the order of the screen."""
        order = self.wanted or (*values.PAYMENT_METHODS, *self.invoices)
        return {name: self.invoices[name].label for name in order if name in self.invoices}

    @property
    def balance_offered(self) -> bool:
        """Whether one can pay from the balance."""
        return self.wanted is None or BALANCE in self.wanted
