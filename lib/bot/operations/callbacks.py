"""What the buttons of the operations desk carry. Never trusted: role, subject and state are checked again by each of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from aiogram.filters.callback_data import CallbackData
from pydantic import Field

from lib.bot import desk_buttons

Id = desk_buttons.Id
IdOrNone = desk_buttons.IdOrNone

Name = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9_.-]+$")]


class Act(StrEnum):
    """What an operator may do to the work of the shop; the end of its texts' names."""

    SWEEP = "sweep"
    PROBE = "probe"
    DRAIN = "drain"
    UNDRAIN = "undrain"
    ON = "on"
    OFF = "off"
    UPDATE_AGAIN = "update-again"
    UPDATE_GIVE_UP = "update-give-up"
    EVENT_AGAIN = "event-again"
    EVENT_ASIDE = "event-aside"
    MESSAGE_AGAIN = "message-again"


class Home(CallbackData, prefix="ops"):
    """The desk: counts and ages."""


class Pending(CallbackData, prefix="ops_wait"):
    """Pending activations after a place of the list; 0, 0: the oldest."""

    after_us: IdOrNone
    after: IdOrNone


class Nodes(CallbackData, prefix="ops_nodes"):
    """Nodes after that one; 0: the first."""

    after: IdOrNone


class Node(CallbackData, prefix="ops_node"):
    """One node."""

    node: Id


class Sweeps(CallbackData, prefix="ops_sweeps"):
    """All sweeps."""


class Sweep(CallbackData, prefix="ops_sweep"):
    """One sweep."""

    name: Name


class Flags(CallbackData, prefix="ops_flags"):
    """The switches of the whole shop."""


class Updates(CallbackData, prefix="ops_upds"):
    """Stored updates that are not done, after a place of the list; 0, 0: the oldest."""

    place: IdOrNone
    after: IdOrNone


class GivenUp(CallbackData, prefix="ops_gone"):
    """Updates that were given up, older than that one; 0: the newest."""

    before: IdOrNone


class Update(CallbackData, prefix="ops_upd"):
    """One stored update."""

    update: Id


class Events(CallbackData, prefix="ops_events"):
    """Payment events that are kept, after that one; 0: the oldest."""

    after: IdOrNone


class Event(CallbackData, prefix="ops_event"):
    """One payment event."""

    event: Id


class Messages(CallbackData, prefix="ops_msgs"):
    """Messages that did not end well, older than that one; 0: the newest."""

    before: IdOrNone


class Message(CallbackData, prefix="ops_msg"):
    """One message."""

    message: Id


class Refunds(CallbackData, prefix="ops_backs"):
    """Refunds that wait for their providers, after that one; 0: the oldest."""

    after: IdOrNone


class Begin(CallbackData, prefix="ops_act"):
    """Begin to do something to a subject: a number, or the name of a sweep or flag."""

    act: Act
    subject: Name


class Confirm(CallbackData, prefix="ops_do"):
    """Do what the confirm screen shows."""

    version: IdOrNone


KINDS: tuple[type[CallbackData], ...] = (
    Home,
    Pending,
    Nodes,
    Node,
    Sweeps,
    Sweep,
    Flags,
    Updates,
    GivenUp,
    Update,
    Events,
    Event,
    Messages,
    Message,
    Refunds,
    Begin,
    Confirm,
)
BUTTONS = {one.__prefix__: one for one in KINDS}


def read(data: str) -> CallbackData | None:
    """What a button means; None of one that is forged, or of a later release."""
    return desk_buttons.read(BUTTONS, data)
