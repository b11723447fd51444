"""What operators' buttons carry. Never trusted: role, customer and state are checked again by each of them."""

from __future__ import annotations

from typing import Annotated

from aiogram.filters.callback_data import CallbackData
from pydantic import Field

from lib.bot import desk_buttons
from lib.domain.access_desk import MOST_DAYS, Change

Id = desk_buttons.Id
IdOrNone = desk_buttons.IdOrNone


class Home(CallbackData, prefix="acc"):
    """The desk: ask whom to look for."""


class Card(CallbackData, prefix="acc_card"):
    """One customer's access, and what may be done to it."""

    account: Id


class History(CallbackData, prefix="acc_past"):
    """What changed it, older than that row; 0: the newest."""

    account: Id
    before: IdOrNone


class Begin(CallbackData, prefix="acc_do"):
    """Begin a change."""

    change: Change
    account: Id


class PickTariff(CallbackData, prefix="acc_tariff"):
    """Of a grant."""

    tariff: Annotated[str, Field(min_length=1, max_length=24)]
    version: IdOrNone


class PickDays(CallbackData, prefix="acc_days"):
    """Of a grant or a freeze."""

    days: Annotated[int, Field(ge=1, le=MOST_DAYS)]
    version: IdOrNone


class Confirm(CallbackData, prefix="acc_yes"):
    """Make the change that the confirm screen shows."""

    version: IdOrNone


Pressed = Home | Card | History | Begin | PickTariff | PickDays | Confirm
_BUTTONS: dict[str, type[Pressed]] = {
    one.__prefix__: one for one in (Home, Card, History, Begin, PickTariff, PickDays, Confirm)
}


def read(data: str) -> Pressed | None:
    """What a button means; None of one that is forged, or of a later release."""
    return desk_buttons.read(_BUTTONS, data)
