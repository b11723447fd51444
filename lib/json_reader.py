"""The one reader of JSON that others send: webhooks, tasks, sweeps, nodes, providers, Telegram, Cloud Tasks and the metadata server.

(docs/architecture.md, Edges.) What it refuses it refuses with one exception in words; what it returns holds no number beyond its
type, no NaN, no name that stood there twice, and is nested no deeper than code that walks it can follow.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

MOST_DEPTH = 100
"""Telegram's and Crypto Pay's objects stay below ten; up to here every walk through a value stays well within Python's stack."""
_OPENING = (b"[", b"{")
# One that is never closed ends with the body: else each of its quotation marks would be tried as another beginning.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.?)*+(?:"|\Z)', re.DOTALL)
_BIGGEST_ID = 2**63
_NUL, _REPLACEMENT = "\x00", "\ufffd"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class UnreadableJson(ValueError):
    """Not JSON that can be worked with; the text says why and quotes nothing."""


def read(body: bytes, *, exact: bool = False) -> Any:
    """The value of a body.

    Args:
        body: as it came; its size was bounded where it was read.
        exact: numbers with a fraction or an exponent become Decimal, for money; else float.

    Raises:
        UnreadableJson: not UTF-8, not JSON, NaN or an infinity, a number of thousands of digits, nested too deep, or a name
            twice in one object: two readers would take such a body for two different things.
    """
    if sum(body.count(one) for one in _OPENING) > MOST_DEPTH and _depth(body) > MOST_DEPTH:
        raise UnreadableJson("nested too deep")
    try:
        return json.loads(
            body.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_decimal if exact else _float,
            object_pairs_hook=_unique,
        )
    except UnreadableJson:
        raise
    except UnicodeDecodeError:
        raise UnreadableJson("not UTF-8") from None
    except (ValueError, ArithmeticError, RecursionError):
        raise UnreadableJson("not JSON") from None


def read_object(body: bytes, *, exact: bool = False) -> dict[str, Any]:
    """`read`, of an object.

    Raises:
        UnreadableJson: as `read`, or another kind of value.
    """
    value = read(body, exact=exact)
    if not isinstance(value, dict):
        raise UnreadableJson("not an object")
    return value


def is_id(value: object) -> bool:
    """Whether a value is an id that a bigint column holds: whole, above zero, below 2^63."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < _BIGGEST_ID


def id_or_zero(value: object) -> int:
    """The id, or 0 for whatever is none."""
    return value if isinstance(value, int) and is_id(value) else 0


def is_storable(text: str) -> bool:
    """Whether Postgres takes this text: it holds neither NUL nor half of a surrogate pair."""
    return _UNSTORABLE.search(text) is None


def storable(text: str) -> str:
    """The same text as Postgres takes it: NUL is left out, half a surrogate pair replaced."""
    return text if is_storable(text) else _UNSTORABLE.sub(_mended, text)


def _mended(found: re.Match[str]) -> str:
    return "" if found[0] == _NUL else _REPLACEMENT


def _depth(body: bytes) -> int:
    """How deep brackets are nested, outside strings."""
    depth = deepest = 0
    for character in _STRINGS.sub(b"", body):
        if character in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in b"]}":
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise UnreadableJson("a name twice in one object")
    return made


def _refuse_constant(_name: str) -> NoReturn:
    raise UnreadableJson("a number that is none")


def _float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise UnreadableJson("a number beyond all ranges")
    return number


def _decimal(text: str) -> Any:
    from decimal import Decimal  # noqa: PLC0415 -- only readers of money pay for its import

    return Decimal(text)
