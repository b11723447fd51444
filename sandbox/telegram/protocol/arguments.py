"""Arguments of a call: from the query string, urlencoded, JSON or multipart, all as the server sees them: strings."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from sandbox.telegram.protocol.errors import ApiError, bad_request

if TYPE_CHECKING:
    from collections.abc import Iterable

PARAMETERS_LIMIT: Final = 1024 * 1024
UPLOAD_LIMIT: Final = 50 * 1024 * 1024
_INTEGER = re.compile(r"\s*([+-]?)0*([0-9]+)")
_LARGEST: Final = 2**63 - 1
_DIGITS: Final = len(str(_LARGEST))
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_TRUE = {"true", "yes", "1"}


@dataclass(frozen=True)
class Upload:
    """A file part of a multipart call."""

    name: str
    body: bytes


@dataclass
class Arguments:
    """What was given: values by name and files by the name of their part."""

    values: dict[str, str] = field(default_factory=dict)
    files: dict[str, Upload] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """The value, empty when there is none."""
        return self.values.get(name, "")

    def integer(self, name: str, default: int = 0) -> int:
        """Read leniently, as the server does: leading digits count, anything else is 0, nothing is the default; at most 63 bits."""
        if not self.text(name):
            return default
        found = _INTEGER.match(self.text(name))
        if found is None:
            return 0
        value = _LARGEST if len(found[2]) > _DIGITS else min(int(found[2]), _LARGEST)
        return -value if found[1] == "-" else value

    def flag(self, name: str) -> bool:
        """True for true, yes and 1 in any case."""
        return self.text(name).lower().strip() in _TRUE

    def parsed(self, name: str, complaint: str) -> Any:
        """The JSON value, None when there is none.

        Raises:
            ApiError: not JSON; `complaint` is the reason told.
        """
        if not self.text(name):
            return None
        try:
            return json.loads(self.text(name))
        except (ValueError, RecursionError):
            raise bad_request(complaint) from None

    def file(self, name: str) -> Upload | None:
        """The file that a parameter stands for: a part of that name, or `attach://<part>`."""
        value = self.text(name)
        part = value.removeprefix("attach://") if value.startswith("attach://") else name
        return self.files.get(part)


def chat_number(chat_id: str) -> int | None:
    """A call's `chat_id` as the number of a chat; None when it is none that a chat can have."""
    digits = chat_id.strip().removeprefix("-")
    return int(chat_id) if digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS else None


def whole_number(raw: Any) -> int | None:
    """A number inside JSON as the server reads it, written plainly or as a string; None for anything else."""
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    return int(raw) if isinstance(raw, str) and _WHOLE.fullmatch(raw) else None


def _add_json(found: Arguments, body: bytes) -> None:
    if not body.strip():
        return
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        raise bad_request("can't parse JSON object") from None
    if not isinstance(parsed, dict):
        raise bad_request("JSON object expected")
    for name, value in parsed.items():
        # Strings as they are, everything else as it was written: the server takes `"5"` and `5` for the same.
        found.values[name] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _add_form(found: Arguments, kind: str, options: dict[str, str], body: bytes) -> None:
    parser = FormDataParser(silent=False, max_form_memory_size=None, max_form_parts=1000)
    try:
        _, values, files = parser.parse(io.BytesIO(body), kind, len(body), options)
    except ValueError:
        raise bad_request("can't parse the form") from None
    found.values.update(values.items())
    for name, part in files.items():
        with part.stream:
            found.files[name] = Upload(part.filename or "", part.read())


def _add_pairs(found: Arguments, pairs: Iterable[tuple[str, str]]) -> None:
    found.values.update(pairs)


def parse_arguments(content_type: str, body: bytes, query: str = "") -> Arguments:
    """Every argument of a request, whichever way each came.

    Raises:
        ApiError: unreadable (400), or parameters over 1 MiB, files over 50 MB (413).
    """
    found = Arguments()
    _add_pairs(found, parse_qsl(query, keep_blank_values=True))
    kind, options = parse_options_header(content_type)
    if kind == "application/json":
        _add_json(found, body)
    elif kind == "multipart/form-data":
        _add_form(found, kind, options, body)
    elif kind == "application/x-www-form-urlencoded":
        _add_pairs(found, parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    parameters = sum(len(name) + len(value.encode(errors="replace")) for name, value in found.values.items())
    if parameters > PARAMETERS_LIMIT or sum(len(upload.body) for upload in found.files.values()) > UPLOAD_LIMIT:
        raise ApiError(413, "Request Entity Too Large")
    return found
