"""What callers may ask, checked by hand: each mistake is one sentence, and a bad item never spoils its neighbours."""

from __future__ import annotations

import re
import uuid as uuid_module
from typing import Any, Final

from xray_api.store import Change

MAX_ITEMS: Final = 500
MAX_PAGE: Final = 1000
_CLIENT: Final = re.compile(r"[0-9a-z_-]{1,64}")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BIGGEST: Final = (1 << 63) - 1
_LATEST_MS: Final = 253_402_300_799_999  # the end of the year 9999


class BadRequestError(ValueError):
    """The request can't be understood; the text says why, to whoever sent it."""


def items(body: Any) -> list[Any]:
    """The 1..500 raw items of an `/apply` body."""
    found = body.get("items") if isinstance(body, dict) else None
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_ITEMS:
        raise BadRequestError(f"body must be an object with items, a list of 1..{MAX_ITEMS}")
    return found


def item(raw: Any) -> Change:
    """One item of `/apply`."""
    if not isinstance(raw, dict):
        raise BadRequestError("item must be an object")
    key, wanted = raw.get("client"), raw.get("wanted")
    if not isinstance(key, str) or not is_client(key):
        raise BadRequestError("client must be 1..64 of 0-9 a-z _ -")
    if not isinstance(wanted, bool):
        raise BadRequestError("wanted must be true or false")
    version = _integer(raw, "version", 1, _BIGGEST)
    if not wanted:
        return Change(key, version, wanted=False)
    return Change(key, version, wanted=True, uuid=uuid(raw.get("uuid")), expiry_ms=_expiry(raw))


def is_client(value: Any) -> bool:
    """Whether the value can be a client's key."""
    return isinstance(value, str) and _CLIENT.fullmatch(value) is not None


def person(body: Any, *, uuid_needed: bool) -> Change:
    """The body of `/add-user` and `/update-user`: a wanted client known by `telegram_id`; uuid None where it may be left out."""
    if not isinstance(body, dict):
        raise BadRequestError("body must be an object")
    telegram_id = _integer(body, "telegram_id", 1, _BIGGEST)
    found = uuid(body.get("uuid")) if uuid_needed or body.get("uuid") is not None else None
    return Change(f"tg{telegram_id}", optional_version(body), wanted=True, uuid=found, expiry_ms=_expiry(body))


def optional_version(body: Any) -> int | None:
    """A version where it may be left out."""
    if not isinstance(body, dict) or body.get("version") is None:
        return None
    return _integer(body, "version", 1, _BIGGEST)


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
