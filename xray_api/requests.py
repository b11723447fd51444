"""What callers may ask, checked by hand: each mistake is one sentence, and a bad item never spoils its neighbours."""

from __future__ import annotations

import re
import uuid as uuid_module
from typing import Any, Final

from xray_api import json_reader
from xray_api.store import Change

MAX_ITEMS: Final = 500
MAX_PAGE: Final = 1000
_CLIENT: Final = re.compile(r"[0-9a-z_-]{1,64}")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BIGGEST: Final = (1 << 63) - 1
# A version that could be counted up no more would lock its client for ever; the file holds 64 bits.
_BIGGEST_VERSION: Final = 1 << 62
MAX_DEPTH: Final = 8  # an /apply body needs three
_EARLIEST_MS: Final = 1_577_836_800_000  # 2020: nothing of Atlas is older
_TIME: Final = re.compile(r"[0-9]{13,15}")
_LATEST_MS: Final = 253_402_300_799_999  # the end of the year 9999


class BadRequestError(ValueError):
    """The request can't be understood; the text says why, to the caller."""


def document(body: bytes) -> Any:
    """A body, parsed by the one strict reader.

    Raises:
        BadRequestError: it can't be.
    """
    try:
        return json_reader.read(body, most_depth=MAX_DEPTH)
    except json_reader.UnreadableJsonError as error:
        raise BadRequestError(str(error)) from None


def items(body: Any) -> list[Any]:
    """The raw items of an `/apply` body, up to 500."""
    found = body.get("items", []) if isinstance(body, dict) else None
    if not isinstance(found, list) or len(found) > MAX_ITEMS:
        raise BadRequestError(f"body must be an object with items, a list of 1..{MAX_ITEMS}")
    return found


def acknowledged(body: Any) -> list[tuple[str, int]]:
    """The (client, version) pairs of an `/apply` body that the caller has been told were dropped, up to 500."""
    found = body.get("acknowledged", [])
    if not isinstance(found, list) or len(found) > MAX_ITEMS:
        raise BadRequestError(f"acknowledged must be a list of up to {MAX_ITEMS}")
    pairs = []
    for raw in found:
        if not isinstance(raw, dict) or not is_client(raw.get("client")) or not is_version(raw.get("version")):
            raise BadRequestError("acknowledged holds objects of client and version, as dropped does")
        pairs.append((raw["client"], raw["version"]))
    return pairs


def time_ms(values: list[str]) -> int | None:
    """Atlas's time as its header says it, Unix milliseconds; None without one."""
    if not values:
        return None
    if len(values) > 1 or not _TIME.fullmatch(values[0]) or not _EARLIEST_MS <= int(values[0]) <= _LATEST_MS:
        raise BadRequestError("X-Atlas-Time-Ms must be one Unix time in milliseconds")
    return int(values[0])


def item(raw: Any) -> Change:
    """One item of `/apply`."""
    if not isinstance(raw, dict):
        raise BadRequestError("item must be an object")
    key, wanted = raw.get("client"), raw.get("wanted")
    if not isinstance(key, str) or not is_client(key):
        raise BadRequestError("client must be 1..64 of 0-9 a-z _ -")
    if not isinstance(wanted, bool):
        raise BadRequestError("wanted must be true or false")
    version = _integer(raw, "version", 1, _BIGGEST_VERSION)
    if not wanted:
        return Change(key, version, wanted=False)
    return Change(key, version, wanted=True, uuid=uuid(raw.get("uuid")), expiry_ms=_expiry(raw))


def is_client(value: Any) -> bool:
    """Whether the value can be a client's key."""
    return isinstance(value, str) and _CLIENT.fullmatch(value) is not None


def is_version(value: Any) -> bool:
    """Whether the value can be a version."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _BIGGEST_VERSION


def person(body: Any, *, uuid_needed: bool) -> Change:
    """The body of `/add-user` and `/update-user`: a wanted client known by `telegram_id`; uuid None where it may be left out."""
    if not isinstance(body, dict):
        raise BadRequestError("body must be an object")
    telegram_id = _integer(body, "telegram_id", 1, _BIGGEST)
    found = uuid(body.get("uuid")) if uuid_needed or body.get("uuid") is not None else None
    return Change(f"tg{telegram_id}", optional_version(body), wanted=True, uuid=found, expiry_ms=_expiry(body))


def optional_version(body: Any) -> int | None:
    """A version where it may be left out."""
    if not isinstance(body, dict):
        raise BadRequestError("body must be an object")
    return None if body.get("version") is None else _integer(body, "version", 1, _BIGGEST_VERSION)


def uuid(value: Any) -> str:
    """A UUID in its 36-character form, in small letters. Anything shorter Xray would hash into a UUID of its own."""
    text = value.lower() if isinstance(value, str) and value.isascii() else ""
    if not _UUID.fullmatch(text) or not uuid_module.UUID(text).int:
        raise BadRequestError("uuid must be a UUID of 36 characters")
    return text


def page(after: str | None, limit: str | None) -> tuple[str, int]:
    """The cursor and size of a page."""
    if after is not None and after != "" and not is_client(after):
        raise BadRequestError("after must be a client's key")
    if limit is None:
        return after or "", MAX_PAGE
    if not (limit.isascii() and limit.isdigit() and len(limit) <= len(str(MAX_PAGE)) and 1 <= int(limit) <= MAX_PAGE):
        raise BadRequestError(f"limit must be 1..{MAX_PAGE}")
    return after or "", int(limit)


def _expiry(body: dict[str, Any]) -> int:
    return _integer(body, "expiry_timestamp_ms", 1, _LATEST_MS)


def _integer(body: dict[str, Any], name: str, low: int, high: int) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise BadRequestError(f"{name} must be a whole number, {low}..{high}")
    return value
