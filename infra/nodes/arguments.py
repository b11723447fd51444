"""What the commands are given, judged as a whole: every problem at once, each beginning with the name of what is wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, TypeVar

from lib.domain.nodes import Given
from lib.settings import values

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

T = TypeVar("T")

NAMES: Final = (
    *("ENV", "NAME", "URL", "PIN", "COUNTRY", "CITY_RU", "CITY_EN", "TAGS", "WEIGHT", "UPDATE"),
    *("UNDO", "OPERATOR", "REASON"),
)
FIRST: Final = "first"
"""The node that `XRAY_API_URL` makes: it is added by the settings, and its key is `XRAY_API_KEY`."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_TAG = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_WHOLE = re.compile(r"[0-9]{1,4}")
_TELEGRAM_ID = re.compile(r"[1-9][0-9]{0,18}")
_BIGGEST_ID = 2**63 - 1
_LEAST_REASON, _MOST_REASON = 10, 500
_LOCAL = "local"
_LONGEST_CITY, _MOST_TAGS, _MOST_WEIGHT = 60, 16, 1000


class BadArguments(Exception):
    """What was given can't be used; `problems` holds every reason."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a command was given.

    Attributes:
        node: None: all of them.
        update: a row that is there may be changed.
        undo: what the command did before is taken back.
        operator: who does it, by Telegram id; 0 where none is asked for.
        reason: for the audit log; empty where none is asked for.
    """

    environment: str
    node: Given | None
    update: bool
    undo: bool = False
    operator: int = 0
    reason: str = ""


def read(command: str, given: Mapping[str, str]) -> Arguments:
    """Of the variables in `NAMES`, those that are set; an empty one counts as not given.

    Raises:
        BadArguments
    """
    said = {name: value.strip() for name in NAMES if (value := given.get(name, "")).strip()}
    problems = [f"{name}: `make node-{command}` takes no such thing" for name in said if name not in _TAKEN[command]]

    def one(name: str, reader: Callable[[str], T]) -> T | None:
        if name not in said or name not in _TAKEN[command]:
            return None
        try:
            return reader(said[name])
        except ValueError as error:
            problems.append(f"{name}: {error}")
            return None

    problems += [f"{name}: is not given" for name in _NEEDED[command] if name not in said]
    environment = one("ENV", values.environment)
    node: dict[str, Any] = {"name": one("NAME", _name)}
    for field, name, reader in _FIELDS:
        node[field] = one(name, reader)
    update, undo = one("UPDATE", _yes), one("UNDO", _undo)
    operator, reason = one("OPERATOR", _operator), one("REASON", _reason)
    if environment not in {None, _LOCAL} and node["api_url"] is not None and values.is_loopback(node["api_url"]):
        problems.append(f"URL: is an address of this very machine, and no function of {environment} runs here")
    if node["api_url"] is not None and node["pins"] is not None:
        try:
            values.matching_pins(node["api_url"], node["pins"])
        except ValueError as error:
            problems.append(f"PIN: {error}")
    if problems:
        if command == "add" and not update:  # most likely a new one; of a row that is there, one can't look with these
            problems += [f"{name}: is not given, and a new node needs it" for name in lacking(said, node["api_url"])]
        raise BadArguments(problems)
    return Arguments(
        environment or "",
        Given(**node) if node["name"] else None,
        update=bool(update),
        undo=bool(undo),
        operator=operator or 0,
        reason=reason or "",
    )


def lacking(said: Collection[str], url: str | None) -> list[str]:
    """Of what a new node needs, the names of what is not among `said`; a pin goes with https alone, which its address is unless said."""
    needs_pin = url is None or url.startswith("https://")
    return [name for name in _OF_A_NEW_NODE if name not in said and (name != "PIN" or needs_pin)]


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("must be 1 to 63 of a-z 0-9 -, with a letter or digit in front")
    return text


def _country(text: str) -> str:
    if text.upper() not in _countries():
        raise ValueError("must be a country's two letters by ISO 3166, such as DE")
    return text.upper()


def _countries() -> frozenset[str]:
    table = resources.files("tzdata.zoneinfo").joinpath("iso3166.tab").read_text(encoding="utf-8")
    return frozenset(line.partition("\t")[0] for line in table.splitlines() if line and not line.startswith("#"))


def _city(text: str) -> str:
    if len(text) > _LONGEST_CITY or not text.isprintable() or not any(map(str.isalpha, text)):
        raise ValueError(f"must be a city's name, at most {_LONGEST_CITY} printable characters")
    return text


def _tags(text: str) -> tuple[str, ...]:
    tags = tuple(part.strip() for part in text.split(","))
    if not all(map(_TAG.fullmatch, tags)) or len(set(tags)) != len(tags) or len(tags) > _MOST_TAGS:
        raise ValueError(f"must be at most {_MOST_TAGS} different words of a-z 0-9 - with commas between them")
    return tags


def _weight(text: str) -> int:
    if not _WHOLE.fullmatch(text) or int(text) > _MOST_WEIGHT:
        raise ValueError(f"must be a whole number from 0 to {_MOST_WEIGHT}")
    return int(text)


def _yes(text: str) -> bool:
    if text not in {"0", "1"}:
        raise ValueError("must be 1, to change a row that is there, or 0")
    return text == "1"


def _undo(text: str) -> bool:
    if text not in {"0", "1"}:
        raise ValueError("must be 1, to take a node's draining back, or 0")
    return text == "1"


def _operator(text: str) -> int:
    if not _TELEGRAM_ID.fullmatch(text) or int(text) > _BIGGEST_ID:
        raise ValueError("must be a Telegram id, a whole number from 1")
    return int(text)


def _reason(text: str) -> str:
    if not _LEAST_REASON <= len(text) <= _MOST_REASON or not text.isprintable():
        raise ValueError(f"must say in {_LEAST_REASON} to {_MOST_REASON} characters why; the audit log keeps it")
    return text


_FIELDS: Final[tuple[tuple[str, str, Callable[[str], Any]], ...]] = (
    ("api_url", "URL", values.node_address),
    ("pins", "PIN", values.node_pins),
    ("country", "COUNTRY", _country),
    ("city_ru", "CITY_RU", _city),
    ("city_en", "CITY_EN", _city),
    ("tags", "TAGS", _tags),
    ("weight", "WEIGHT", _weight),
)
FIELD_NAMES: Final = {field: name for field, name, _ in _FIELDS}
"""What a field of a node's row is called at `make`."""
_OF_A_NEW_NODE: Final = ("URL", "PIN", "COUNTRY", "CITY_RU", "CITY_EN")
_TAKEN: Final = {
    "key": ("ENV", "NAME"),
    "add": tuple(name for name in NAMES if name not in {"UNDO", "OPERATOR", "REASON"}),
    "list": ("ENV",),
    "check": ("ENV", "NAME"),
    "compare": ("ENV", "NAME"),
    "drain": ("ENV", "NAME", "UNDO", "OPERATOR", "REASON"),
}
_NEEDED: Final = {
    "key": ("ENV", "NAME"),
    "add": ("ENV", "NAME"),
    "list": ("ENV",),
    "check": ("ENV",),
    "compare": ("ENV",),
    "drain": ("ENV", "NAME", "OPERATOR", "REASON"),
}
COMMANDS: Final = tuple(_TAKEN)
