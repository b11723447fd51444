"""Requests and answers checked against Google's discovery documents, as google-api-python-client carries them.

What a document does not know is refused in the words of the real front end: unknown methods, parameters and fields, wrong types and
enums, missing required parameters. Answers are checked by the same schemas, so that this stand-in can't say what Google could not.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import googleapiclient

from sandbox.google.refusals import Refused, invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_DOCUMENTS = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
_VARIABLE = re.compile(r"\{(\+?)(\w+)\}")
_CAMEL = re.compile(r"_([a-z0-9])")

APIS = {
    "artifactregistry": "v1",
    "billingbudgets": "v1",
    "cloudbilling": "v1",
    "cloudbuild": "v1",
    "cloudresourcemanager": "v3",
    "cloudscheduler": "v1",
    "cloudtasks": "v2",
    "monitoring": "v3",
    "oauth2": "v2",
    "orgpolicy": "v2",
    "run": "v2",
    "secretmanager": "v1",
    "serviceusage": "v1",
    "sqladmin": "v1",
    "storage": "v1",
}
"""The APIs that are answered, and in which version."""

_SQL_CONNECTOR = "sql/v1beta4/"
"""Google's connectors ask the same methods of the Admin API below its older address."""


class Impossible(AssertionError):
    """An answer that Google's schema does not allow: a defect of the stand-in."""


@dataclass(frozen=True)
class Method:
    """One method of an API.

    Attributes:
        id: as the document has it, `run.projects.locations.jobs.run`.
        pattern: of the path below the API's service path.
        literal: how much of the path is fixed, to tell the more special of two that match.
        upload: it takes a body that is no JSON.
    """

    id: str
    http: str
    pattern: re.Pattern[str]
    literal: int
    parameters: Mapping[str, Mapping[str, Any]]
    request: str | None
    answer: str | None
    upload: bool


@dataclass(frozen=True)
class Api:
    """One API's document."""

    name: str
    title: str
    service_path: str
    methods: tuple[Method, ...]
    schemas: Mapping[str, Mapping[str, Any]]
    common: Mapping[str, Mapping[str, Any]]

    @property
    def older_shape(self) -> bool:
        """Whether its errors have the older JSON shape."""
        return self.name in {"storage", "sqladmin"}

    def find(self, http: str, path: str) -> tuple[Method, dict[str, str]]:
        """The method that a request is for, and what its path says.

        Args:
            http: GET, POST, ...
            path: percent-encoded, below `/<name>/`.

        Raises:
            Refused: there is none.
        """
        upload = False
        if self.name == "sqladmin" and path.startswith(_SQL_CONNECTOR):
            path = f"v1/{path.removeprefix(_SQL_CONNECTOR)}"
        if path.startswith("upload/"):
            path, upload = path.removeprefix("upload/"), True
        if path.startswith(self.service_path):
            path = path.removeprefix(self.service_path)
            for one in self.methods:
                if one.http == http and (found := one.pattern.fullmatch(path)) and (one.upload or not upload):
                    return one, {name: unquote(value) for name, value in found.groupdict().items()}
        raise Refused(404, f"The requested URL was not found on this server: {http} /{path}")

    def parameters(self, method: Method, given: list[tuple[str, str]]) -> dict[str, Any]:
        """Query parameters by their types; those that may be repeated as lists.

        Raises:
            Refused: unknown, repeated, malformed or missing.
        """
        known = {name: row for name, row in method.parameters.items() if row["location"] == "query"}
        found: dict[str, Any] = {}
        for name, value in given:
            row = known.get(name) or self.common.get(name)
            if row is None:
                raise invalid(
                    f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter. '
                    f"Field '{name}' could not be found in request message.",
                    name,
                )
            read = _parameter(name, row, value)
            if row.get("repeated"):
                found.setdefault(name, []).append(read)
            elif name in found:
                raise invalid(f"Invalid value at '{name}': it is given twice.", name)
            else:
                found[name] = read
        for name, row in known.items():
            if row.get("required") and name not in found:
                raise invalid(f"Required parameter: {name}", name)
        return found

    def body(self, method: Method, raw: bytes) -> dict[str, Any]:
        """The request's JSON body, without what Google fills in itself.

        Raises:
            Refused: no JSON object, or not what the schema says.
        """
        if method.request is None:
            if raw:
                raise invalid(
                    f'Invalid JSON payload received. Unknown name "": Root element of {method.id} takes no body.'
                )
            return {}
        try:
            given = json.loads(raw) if raw else {}
        except ValueError:
            raise invalid("Invalid JSON payload received. Parser terminated before end of string.") from None
        if not isinstance(given, dict):
            raise invalid("Invalid JSON payload received. Unexpected token: the payload must be an object.")
        read: dict[str, Any] = self._object(self.schemas[method.request], given, "", _from_caller)
        return read

    def check_answer(self, method: Method, answer: dict[str, Any]) -> None:
        """Raise Impossible unless Google could answer this."""
        if method.answer is not None:
            self._object(self.schemas[method.answer], answer, "", _from_us)

    def _value(self, schema: Mapping[str, Any], given: Any, place: str, refuse: Callable[[str, str], Exception]) -> Any:
        if "$ref" in schema:
            return self._value(self.schemas[schema["$ref"]], given, place, refuse)
        match schema.get("type"):
            case "object":
                if not isinstance(given, dict):
                    raise refuse(f"Invalid value at '{place}' (Map), {_shown(given)}", place)
                return self._object(schema, given, place, refuse)
            case "array":
                if not isinstance(given, list):
                    raise refuse(f"Invalid value at '{place}' (repeated field), {_shown(given)}", place)
                return [
                    self._value(schema["items"], one, f"{place}[{number}]", refuse) for number, one in enumerate(given)
                ]
            case "any" | None:
                return given
            case kind:
                if not _is_of(kind, schema.get("format"), given):
                    raise refuse(f"Invalid value at '{place}' (TYPE_{_told(kind, schema)}), {_shown(given)}", place)
                if "enum" in schema and given not in schema["enum"]:
                    raise refuse(f"Invalid value at '{place}' (TYPE_ENUM), {_shown(given)}", place)
                return given

    def _object(
        self, schema: Mapping[str, Any], given: Mapping[str, Any], place: str, refuse: Callable[[str, str], Exception]
    ) -> dict[str, Any]:
        fields, rest = schema.get("properties", {}), schema.get("additionalProperties")
        found: dict[str, Any] = {}
        for name, value in given.items():
            known = name if name in fields else _CAMEL.sub(lambda match: match[1].upper(), name)
            inside = f"{place}.{known}" if place else known
            if known not in fields and rest is None:
                where = f" at '{place}'" if place else ""
                raise refuse(f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.', inside)
            if value is None:
                continue
            read = self._value(fields.get(known, rest), value, inside, refuse)
            if refuse is _from_us or not _read_only(fields.get(known, {})):
                found[known] = read
        return found


def _from_caller(message: str, place: str) -> Exception:
    return invalid(message, place)


def _from_us(message: str, place: str) -> Exception:
    return Impossible(f"{place}: {message}")


def _read_only(schema: Mapping[str, Any]) -> bool:
    return bool(schema.get("readOnly")) or str(schema.get("description", "")).startswith("Output only.")


def _shown(given: Any) -> str:
    return json.dumps(given)[:80]


def _told(kind: str, schema: Mapping[str, Any]) -> str:
    return str(schema.get("format", kind)).upper().replace("-", "_")


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error:
        return False
    return True


_MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)"
_SHAPES = {
    "int64": r"-?[0-9]{1,19}",
    "uint64": r"[0-9]{1,20}",
    "google-datetime": _MOMENT,
    "date-time": _MOMENT,
    "google-duration": r"-?[0-9]+(\.[0-9]{1,9})?s",
}


def _is_shaped(wanted: str | None, text: str) -> bool:
    """Whether a text has its format; one of a format that is not known here has."""
    if wanted == "byte":
        return _is_base64(text)
    shape = _SHAPES.get(wanted or "")
    return shape is None or re.fullmatch(shape, text) is not None


def _is_of(kind: str, wanted: str | None, given: Any) -> bool:
    match kind:
        case "string":
            if wanted in {"int64", "uint64"} and isinstance(given, int) and not isinstance(given, bool):
                given = str(given)
            return isinstance(given, str) and _is_shaped(wanted, given)
        case "integer":
            return isinstance(given, int) and not isinstance(given, bool)
        case "number":
            return isinstance(given, (int, float)) and not isinstance(given, bool)
        case "boolean":
            return isinstance(given, bool)
    raise Impossible(f"a document has a type {kind}")


def _parameter(name: str, row: Mapping[str, Any], given: str) -> Any:
    read: Any = given
    kind = row.get("type", "string")
    try:
        if kind == "integer":
            read = int(given)
        elif kind == "number":
            read = float(given)
        elif kind == "boolean":
            read = {"true": True, "false": False}[given.lower()]
    except (ValueError, KeyError):
        raise invalid(f"Invalid value at '{name}' (TYPE_{kind.upper()}), \"{given}\"", name) from None
    if "enum" in row and given not in row["enum"]:
        raise invalid(f"Invalid value at '{name}' (TYPE_ENUM), \"{given}\"", name)
    if kind == "string" and not _is_shaped(row.get("format"), given):
        raise invalid(f"Invalid value at '{name}' (TYPE_{row['format'].upper()}), \"{given}\"", name)
    return read


@cache
def api(name: str) -> Api:
    """The document of one of `APIS`."""
    raw = json.loads((_DOCUMENTS / f"{name}.{APIS[name]}.json").read_text("utf-8"))
    methods = sorted((_method(row) for row in _rows(raw)), key=lambda one: -one.literal)
    return Api(name, raw["title"], raw["servicePath"], tuple(methods), raw.get("schemas", {}), raw["parameters"])


def _rows(part: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from part.get("methods", {}).values()
    for below in part.get("resources", {}).values():
        yield from _rows(below)


def _method(row: Mapping[str, Any]) -> Method:
    path, parameters = row["path"], row.get("parameters", {})
    pattern, literal, at = "", 0, 0
    for found in _VARIABLE.finditer(path):
        between = path[at : found.start()]
        wanted = parameters[found[2]].get("pattern", "^.+$" if found[1] else "^[^/]+$")
        pattern += f"{re.escape(between)}(?P<{found[2]}>{wanted.removeprefix('^').removesuffix('$')})"
        literal += len(between) + wanted.count("/")
        at = found.end()
    pattern += re.escape(path[at:])
    return Method(
        id=row["id"],
        http=row["httpMethod"],
        pattern=re.compile(pattern),
        literal=literal + len(path) - at,
        parameters=parameters,
        request=row.get("request", {}).get("$ref"),
        answer=row.get("response", {}).get("$ref"),
        upload=bool(row.get("supportsMediaUpload")),
    )
