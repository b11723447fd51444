"""What buttons carry, at most 64 bytes. Never trusted: owner, state and amount are checked again by the handler."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from aiogram.filters.callback_data import CallbackData
from pydantic import Field

Key = Annotated[int, Field(ge=1, le=2**63 - 1)]
"""A row's id; anything beyond a bigint is forged."""
Version = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""The version of the dialogue a button belongs to (lib/domain/chat_state.py)."""


class Place(StrEnum):
    """Screens that need nothing but the account."""

    MENU = "menu"
    PROFILE = "profile"
    BUY = "buy"
    BALANCE = "balance"
    TOP_UP_OTHER = "top_up_other"
    TRIAL = "trial"
    KEY = "key"
    REISSUE = "reissue"
    FREEZE = "freeze"
    THAW = "thaw"
    QR = "qr"
    INSTRUCTION = "instruction"
    LANGUAGE = "language"
    SUPPORT = "support"
    TERMS = "terms"
    PRIVACY = "privacy"
    PAY_SUPPORT = "pay_support"
    AUTO_RENEWAL = "auto_renewal"


class Platform(StrEnum):
    """What the customer connects from."""

    IOS = "ios"
    ANDROID = "android"
    WINDOWS = "windows"
    MACOS = "macos"
    LINUX = "linux"


class Go(CallbackData, prefix="go"):
    """Show a screen."""

    to: Place


class SetLanguage(CallbackData, prefix="lang"):
    """Speak this language from now on."""

    code: str


class AnswerData(CallbackData, prefix="data"):
    """Whether one's data may be kept; the deep link that they came by is carried on."""

    accepted: bool
    payload: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_-]*$")] = ""


class ShowMoves(CallbackData, prefix="moves"):
    """Balance: what moved it, before that transfer; 0: the last moves."""

    before: Annotated[int, Field(ge=0, le=2**63 - 1)]


class SetAutoRenewal(CallbackData, prefix="renew"):
    """Auto-renewal: on, of what that order bought and for the price that was shown, minor units; or off, and the two are 0."""

    on: bool
    order: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    price: Annotated[int, Field(ge=0, le=10**17)] = 0


class StartTrial(CallbackData, prefix="trial"):
    """Begin the free period."""


class Instruct(CallbackData, prefix="how"):
    """Steps for one platform."""

    platform: Platform


class PickTariff(CallbackData, prefix="tariff"):
    """Buy dialogue: this tariff."""

    tariff: str
    version: Version


class PickPeriod(CallbackData, prefix="period"):
    """Buy dialogue: this period of the tariff chosen before."""

    days: Annotated[int, Field(ge=1, le=100_000)]
    version: Version


class Pay(CallbackData, prefix="pay"):
    """Buy dialogue: consent to the terms, and an order for what the confirm screen shows, paid by that provider."""

    method: Annotated[str, Field(min_length=1, max_length=20)]
    version: Version


class PickTopUp(CallbackData, prefix="top_up"):
    """Balance: top up by so much, minor units."""

    amount: Annotated[int, Field(ge=1, le=10**17)]


class PayTopUp(CallbackData, prefix="pay_top_up"):
    """Balance: consent to the terms, and an order for the top-up that the confirm screen shows, paid by that provider."""

    method: Annotated[str, Field(min_length=1, max_length=20)]
    version: Version


class CheckOrder(CallbackData, prefix="order_id", sep="="):
    """Ask the provider about one order, and show it."""

    order: Key


class Reissue(CallbackData, prefix="reissue"):
    """A new key in place of the one of that generation."""

    generation: Key


class PickFreeze(CallbackData, prefix="freeze_days"):
    """Show what a freeze of so many days would do to access with that end (seconds since 1970)."""

    days: Annotated[int, Field(ge=1, le=366)]
    end: Key


class Freeze(CallbackData, prefix="freeze"):
    """Let access with that end stand still for so many days."""

    days: Annotated[int, Field(ge=1, le=366)]
    end: Key


class Thaw(CallbackData, prefix="thaw"):
    """Let frozen access with that end run again now."""

    end: Key
