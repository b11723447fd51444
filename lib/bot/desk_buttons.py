"""What the buttons of every operators' desk have in common: their numbers, and how one that comes back is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import Field, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiogram.filters.callback_data import CallbackData

    Button = TypeVar("Button", bound=CallbackData)

Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
IdOrNone = Annotated[int, Field(ge=0, le=2**63 - 1)]


def read(kinds: Mapping[str, type[Button]], data: str) -> Button | None:
    """What a button means, by the prefixes of its desk; None of one that is forged, or of a later release."""
    kind = kinds.get(data.partition(":")[0])
    if kind is None:
        return None
    try:
        return kind.unpack(data)
    except (TypeError, ValueError, ValidationError):
        return None
