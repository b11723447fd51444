"""What calls carry: numbers, choices, texts and lists out of any of the forms that the API takes; and how it refuses them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

ID_LIMIT = 2**63
_COUNT = range(1, 1001)
_COUNT_DEFAULT = 100
_T = TypeVar("_T")


class ApiError(Exception):
    """`{"ok": false, "error": {"code", "name"}}`, the HTTP status being the code."""

    def __init__(self, code: int, name: str) -> None:
        super().__init__(f"{code} {name}")
        self.code = code
        self.name = name


def refused(parameter: str) -> ApiError:
    """400 with the parameter's name, as EXPIRES_IN_INVALID. The real service's list of names is not published."""
    return ApiError(400, f"{parameter.upper()}_INVALID")


def not_modelled(what: str) -> ApiError:
    """501: Crypto Pay knows it, this stand-in does not. Never a silent success."""
    return ApiError(501, f"NOT_MODELLED_{what.upper()}")


def integer(said: object, allowed: range, parameter: str) -> int:
    """A whole number in plain ASCII digits.

    Raises:
        ApiError: 400, by the parameter's name.
    """
    text = str(said) if isinstance(said, int | str) and not isinstance(said, bool) else ""
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(ID_LIMIT)) or int(text) not in allowed:
        raise refused(parameter)
    return int(text)


def identifier(asked: dict[str, Any], name: str) -> int:
    """A parameter such as invoice_id, required."""
    return integer(asked.get(name), range(ID_LIMIT), name)


def identifiers(said: object, parameter: str) -> set[int]:
    """Ids separated by commas; 500 APP_ERROR for an array, which the real service can't read."""
    if isinstance(said, list | dict):
        raise ApiError(500, "APP_ERROR")
    return {integer(part.strip(), range(ID_LIMIT), parameter) for part in str(said).split(",")}


def one_of(asked: dict[str, Any], name: str, allowed: Collection[str], default: str | None = None) -> str:
    """A choice, required unless there is a default."""
    value = asked.get(name, default)
    if not isinstance(value, str) or value not in allowed:
        raise refused(name)
    return value


def text(asked: dict[str, Any], name: str, length: Callable[[str], int], limit: int) -> str | None:
    """A text no longer than the limit; None when it was left out or is empty.

    Raises:
        ApiError: 400, by the parameter's name, also for half of a surrogate pair: JSON can write one, UTF-8 can't.
    """
    said = asked.get(name)
    if said is None or said == "":
        return None
    if not isinstance(said, str) or not is_utf8(said) or length(said) > limit:
        raise refused(name)
    return said


def is_utf8(said: str) -> bool:
    """Whether it can be sent back: without a lone surrogate."""
    try:
        said.encode()
    except UnicodeEncodeError:
        return False
    return True


def utf8_length(said: str) -> int:
    """Length in bytes."""
    return len(said.encode())


def flag(asked: dict[str, Any], name: str, *, default: bool) -> bool:
    """A truth value: JSON's, or the words that a query string has for it."""
    known = {"true": True, "1": True, "false": False, "0": False}
    said = str(asked.get(name, default)).lower()
    if said not in known:
        raise refused(name)
    return known[said]


def page(found: list[_T], asked: dict[str, Any]) -> list[_T]:
    """The part of a listing that offset (0) and count (100, at most 1000) ask for."""
    offset = integer(asked.get("offset", 0), range(ID_LIMIT), "offset")
    count = integer(asked.get("count", _COUNT_DEFAULT), _COUNT, "count")
    return found[offset : offset + count]
