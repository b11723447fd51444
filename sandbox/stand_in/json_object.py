"""What a page of the sandbox is sent: one JSON object that can be handed on and sent back."""

from __future__ import annotations

import json
from typing import Any


def json_object(raw: bytes) -> dict[str, Any]:
    """The object.

    Raises:
        ValueError: no JSON, no object, nested too deep, or text with half of a surrogate pair, which UTF-8 can't write.
    """
    try:
        content = json.loads(raw)
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise ValueError("the body must be JSON in UTF-8") from None
    if not isinstance(content, dict):
        raise ValueError("the body must be an object")  # noqa: TRY004 - bad input, not a defect of the caller
    return content
