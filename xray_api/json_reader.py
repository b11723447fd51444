"""The one reader of JSON in this service: what callers ask, Xray's file, and what the service itself kept.

The functions have one like it (`lib/json_reader.py`); a node has no `lib`. Both follow one rule for what is doubtful: refuse it.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

# One that is never closed ends with the body: else each of its quotation marks would be tried as another beginning.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.?)*+(?:"|\Z)', re.DOTALL)
_BRACKET: Final = re.compile(rb"[\[\]{}]")


class UnreadableJsonError(ValueError):
    """Not JSON that can be worked with; the text says why and quotes nothing."""


def read(body: bytes, *, most_depth: int) -> Any:
    """The value of a body or a file.

    Raises:
        UnreadableJsonError: not UTF-8, not JSON, NaN or an infinity, a key twice in one object, or nested deeper than `most_depth`.
    """
    _check_depth(body, most_depth)
    try:
        return json.loads(body.decode(), parse_constant=_no_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise UnreadableJsonError("body is not JSON in UTF-8, or holds a key twice") from None


def _check_depth(body: bytes, most_depth: int) -> None:
    """Refuse what nests deeper than it may, before a parser recurses into it."""
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        if depth > most_depth:
            raise UnreadableJsonError(f"body is nested more than {most_depth} deep")


def _no_constant(_text: str) -> Any:
    raise ValueError("NaN or Infinity")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; with a key twice it would be read one way here and another way there."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found
