"""Every method of the Bot API with its parameters, taken from aiogram's models so that it is not typed by hand.

`methods.json` beside this file is the table; `python -m sandbox.telegram.protocol.method_table` writes it anew after an upgrade of
aiogram, and a test compares the two. The sandbox reads the file: importing aiogram costs seconds.
"""

from __future__ import annotations

import functools
import json
import pathlib
from typing import Any

TABLE = pathlib.Path(__file__).with_name("methods.json")
# aiogram's annotations, by what they look like on the wire. Anything else travels as JSON.
_KINDS = {"bool": "boolean", "int": "integer", "float": "number", "str": "string", "int | str": "chat"}


@functools.cache
def methods() -> dict[str, dict[str, Any]]:
    """By lower-case name (names are case-insensitive): `name`, and `parameters`, kind by name, `!` = required."""
    return {row["name"].lower(): row for row in json.loads(TABLE.read_text())}


def _kind(annotation: str) -> str:
    parts = [part for part in annotation.split(" | ") if part not in {"None", "Default"}]
    if "InputFile" in parts:
        return "file"
    if "datetime" in parts or "timedelta" in parts:
        return "integer"
    return _KINDS.get(" | ".join(parts), "json")


def generate() -> list[dict[str, Any]]:
    """The table from the aiogram that is installed."""
    # Here, not above: the sandbox itself must start without aiogram.
    import typing  # noqa: PLC0415 - see above

    import aiogram.methods  # noqa: PLC0415 - see above

    def shown(annotation: Any) -> str:
        parts = typing.get_args(annotation) if typing.get_origin(annotation) is not list else ()
        return " | ".join(shown(part) for part in parts) if parts else getattr(annotation, "__name__", str(annotation))

    rows = []
    for name in aiogram.methods.__all__:
        model = getattr(aiogram.methods, name)
        if name in {"Request", "Response", "TelegramMethod"}:
            continue
        parameters = {
            field: _kind(shown(info.annotation).replace("NoneType", "None")) + ("!" if info.is_required() else "")
            for field, info in model.model_fields.items()
        }
        rows.append({"name": model.__api_method__, "parameters": parameters})
    return sorted(rows, key=lambda row: str(row["name"]))


def render(rows: list[dict[str, Any]]) -> str:
    """The file's text: one method a line, so that a change of the API reads well in a diff."""
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"


if __name__ == "__main__":
    TABLE.write_text(render(generate()))
