"""What operators' buttons carry. Never trusted: role, subject, state and amount are checked again by each of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from aiogram.filters.callback_data import CallbackData
from pydantic import Field

from lib.bot import desk_buttons

Id = desk_buttons.Id
IdOrNone = desk_buttons.IdOrNone


class Act(StrEnum):
    """What an operator may do to money; the end of its texts' names."""

    ASSIGN = "assign"
    CREDIT = "credit"
    GIVEN_BACK = "given-back"
    PAID_BACK = "paid-back"
    NOTE = "note"
    PAID_OUT = "paid-out"
    OWNERS = "owners"
    GIVE = "give"
    TAKE = "take"
    REFUND = "refund"
    ASK_BACK = "ask-back"
    TAKEN = "taken"
    AS_CHARGE = "as-charge"


class Home(CallbackData, prefix="fin"):
    """The desk."""


class Waiting(CallbackData, prefix="fin_waits"):
    """What waits in suspense, older than that event; 0: the newest."""

    before: IdOrNone


class Event(CallbackData, prefix="fin_event"):
    """One charge that waits, or waited."""

    event: Id


class Search(CallbackData, prefix="fin_find"):
    """Ask whom to look for."""


class Customer(CallbackData, prefix="fin_card"):
    """One customer's money."""

    account: Id


class Begin(CallbackData, prefix="fin_act"):
    """Begin to do something.

    Attributes:
        subject: the event, payment or customer it is done to.
        target: the order or customer it is for, where the button names one.
    """

    act: Act
    subject: Id
    target: IdOrNone = 0


class Payment(CallbackData, prefix="fin_pay"):
    """One payment."""

    payment: Id


class Pick(CallbackData, prefix="fin_pick"):
    """One of the answers that the form offers."""

    value: Annotated[str, Field(min_length=1, max_length=12, pattern=r"^[a-z]+$")]
    version: IdOrNone


class NoFee(CallbackData, prefix="fin_no_fee"):
    """The bank took nothing beside it."""

    version: IdOrNone


class Confirm(CallbackData, prefix="fin_do"):
    """Do what the confirm screen shows."""

    version: IdOrNone


class Books(CallbackData, prefix="fin_books"):
    """The trial balance."""


class Month(CallbackData, prefix="fin_month"):
    """What a month of the books earned and spent, such as 202611; 0: the present one."""

    month: Annotated[int, Field(ge=0, le=999_912)]


class Statement(CallbackData, prefix="fin_lines"):
    """What moved an account of the ledger before that transfer; 0: the last moves."""

    ledger_account: Id
    before: IdOrNone


class Differences(CallbackData, prefix="fin_differ"):
    """Where a provider's own account and the books differ, after that one; 0: the oldest."""

    after: IdOrNone


Pressed = (
    Home
    | Waiting
    | Event
    | Search
    | Customer
    | Begin
    | NoFee
    | Confirm
    | Books
    | Month
    | Statement
    | Differences
    | Payment
    | Pick
)
_BUTTONS: dict[str, type[Pressed]] = {
    one.__prefix__: one
    for one in (
        Home,
        Waiting,
        Event,
        Search,
        Customer,
        Begin,
        NoFee,
        Confirm,
        Books,
        Month,
        Statement,
        Differences,
        Payment,
        Pick,
    )
}


def read(data: str) -> Pressed | None:
    """What a button means; None of one that is forged, or of a later release."""
    return desk_buttons.read(_BUTTONS, data)
