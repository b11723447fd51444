"""What a request to the control page may ask for, and how it is turned down."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sandbox.stand_in.json_object import json_object

if TYPE_CHECKING:
    from starlette.requests import Request


class RefusedError(ValueError):
    """What was asked for makes no sense; the text says why."""


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object of a request; an empty body is an empty object.

    Raises:
        RefusedError
    """
    try:
        return json_object(await request.body() or b"{}")
    except ValueError as error:
        raise RefusedError(str(error)) from None


def number(asked: dict[str, Any], name: str, *, least: float = 0.0, most: float = math.inf) -> float:
    """A finite number of the body, `least` and `most` included.

    Raises:
        RefusedError
    """
    value = asked.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not _is_finite(value):
        raise RefusedError(f"{name}: a number is needed")
    if not least <= value <= most:
        raise RefusedError(f"{name}: {value:g} is not between {least:g} and {most:g}")
    return float(value)


def whole(asked: dict[str, Any], name: str, *, least: int = 0, most: int) -> int:
    """A whole number of the body, `least` and `most` included.

    Raises:
        RefusedError
    """
    value = asked.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RefusedError(f"{name}: a whole number is needed")
    if not least <= value <= most:
        raise RefusedError(f"{name}: it is not between {least} and {most}")
    return value


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number with hundreds of digits
        return False


def text(asked: dict[str, Any], name: str) -> str:
    """A text of the body that is not empty.

    Raises:
        RefusedError
    """
    value = asked.get(name)
    if not isinstance(value, str) or not value.strip():
        raise RefusedError(f"{name}: a text is needed")
    return value.strip()
