"""What Terraform would be given in a folder: `terraform.tfvars` and what lies beside it, read without Terraform.

Files and their order are Terraform's (language/values/variables, "Variable Definition Precedence"): `terraform.tfvars`,
`terraform.tfvars.json`, then `*.auto.tfvars` and `*.auto.tfvars.json` by name; a later one wins, `TF_VAR_...` in the environment is
below all of them and taken for text only. Of HCL only what such a file needs is read: texts, numbers, true, false, null, lists and
maps. Anything else (a heredoc, a template, an operator) is refused by line, never guessed at.
"""

from __future__ import annotations

import json
import math
import os
import re
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_SAME_LINE = re.compile(r"(?:[ \t]|/\*[^\n]*?\*/)*(?:#[^\n]*|//[^\n]*)?(?:\r?\n|$)")
_NAME = re.compile(r"[^\W\d][\w-]*")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_TEXT = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_WORDS = {"true": True, "false": False, "null": None}
_PREFIX = "TF_VAR_"
_MOST_DEEP = 32
_MOST_DIGITS = 40
_HIGHEST = 0x10FFFF


class UnreadableVariables(ValueError):
    """A file of variables can't be read; the text says which, where and why, and quotes no value."""


def read(folder: Path) -> dict[str, Any]:
    """Every variable that Terraform would be given in `folder`, by name; {} when there is no file.

    Raises:
        UnreadableVariables: a file can't be read, or holds what is not read here.
    """
    found: dict[str, Any] = {
        name.removeprefix(_PREFIX): value for name, value in os.environ.items() if name.startswith(_PREFIX)
    }
    for path in files(folder):
        found |= read_file(path)
    return found


def files(folder: Path) -> list[Path]:
    """The files that Terraform takes by itself, the strongest last."""
    fixed = [path for name in ("terraform.tfvars", "terraform.tfvars.json") if (path := folder / name).is_file()]
    own = [path for path in folder.glob("*") if path.name.endswith((".auto.tfvars", ".auto.tfvars.json"))]
    return [*fixed, *sorted(own)]


def read_file(path: Path) -> dict[str, Any]:
    """One file's variables.

    Raises:
        UnreadableVariables
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise UnreadableVariables(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UnreadableVariables(f"{path}: not UTF-8") from None
    if path.name.endswith(".json"):
        return _json(path, text)
    return _Reader(path, text).variables()


def _json(path: Path, text: str) -> dict[str, Any]:
    try:
        read: Any = json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise UnreadableVariables(f"{path}: nested too deep") from None
    except ValueError as error:
        where = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UnreadableVariables(f"{path}: not JSON{where}") from None
    if not isinstance(read, dict):
        raise UnreadableVariables(f"{path}: not a JSON object of variables")
    return read


def _no_number(text: str) -> NoReturn:
    """NaN and Infinity, which Python's reader takes and JSON does not have."""
    raise ValueError(text)


class _Reader:
    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text
        self._at = 0
        self._depth = 0

    def variables(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self._skip()
        while self._at < len(self._text):
            name = self._match(_NAME, "a variable's name")
            if name in found:
                self._refuse(f"{name} is given twice")
            self._skip(only_line=True)
            self._expect("=")
            found[name] = self._value()
            if (end := _SAME_LINE.match(self._text, self._at)) is None:
                self._refuse("a line should end here; operators and functions are not read")
            self._at = end.end()
            self._skip()
        return found

    def _value(self) -> Any:
        self._skip()
        match self._text[self._at : self._at + 1]:
            case '"':
                return self._string()
            case "[":
                return self._nested(self._list)
            case "{":
                return self._nested(self._map)
            case "<":
                self._refuse("a heredoc is not read: write one text in quotation marks")
        if (number := _NUMBER.match(self._text, self._at)) is not None:
            if len(number[0]) > _MOST_DIGITS or math.isinf(float(number[0])):
                self._refuse("a number that is longer or larger than any variable takes")
            self._at = number.end()
            return int(number[0]) if re.fullmatch(r"-?[0-9]+", number[0]) else float(number[0])
        word = self._match(_NAME, "a value")
        if word not in _WORDS:
            self._refuse("a value is a text in quotation marks, a number, true, false, null, a list or a map")
        return _WORDS[word]

    def _nested(self, read: Callable[[], Any]) -> Any:
        self._depth += 1
        if self._depth > _MOST_DEEP:
            self._refuse("nested too deep")
        found = read()
        self._depth -= 1
        return found

    def _string(self) -> str:
        found = _TEXT.match(self._text, self._at)
        if found is None:
            self._refuse("a text that does not end on its line")
        raw = found[1]
        if re.search(r"(?<!\$)\$\{|(?<!%)%\{", raw):
            self._refuse("a template (${ or %{) is not read; write $${ for the characters themselves")
        self._at = found.end()
        return _ESCAPE.sub(self._unescaped, raw).replace("$${", "${").replace("%%{", "%{")

    def _unescaped(self, found: re.Match[str]) -> str:
        kind = found[1]
        if kind[0] in "uU":
            if len(kind) == 1:
                self._refuse("an escape that HCL does not know")
            if (number := int(kind[1:], 16)) > _HIGHEST or 0xD800 <= number < 0xE000:  # noqa: PLR2004 -- surrogates
                self._refuse("an escape of what is no character")
            return chr(number)
        if kind not in _ESCAPED:
            self._refuse("an escape that HCL does not know")
        return _ESCAPED[kind]

    def _list(self) -> list[Any]:
        self._expect("[")
        found: list[Any] = []
        while not self._ended("]"):
            found.append(self._value())
            self._skip()
            if not self._taken(",") and self._text[self._at : self._at + 1] != "]":
                self._refuse("a comma or ] should stand here")
        return found

    def _map(self) -> dict[str, Any]:
        self._expect("{")
        found: dict[str, Any] = {}
        while not self._ended("}"):
            key = self._string() if self._text[self._at : self._at + 1] == '"' else self._match(_NAME, "a key")
            self._skip()
            if not self._taken(":"):
                self._expect("=")
            found[key] = self._value()
            line_ended = _SAME_LINE.match(self._text, self._at) is not None
            self._skip()
            if not self._taken(",") and not line_ended and self._text[self._at : self._at + 1] != "}":
                self._refuse("a comma, a new line or } should stand here")
        return found

    def _ended(self, bracket: str) -> bool:
        self._skip()
        if self._at >= len(self._text):
            self._refuse(f"{bracket} is missing at the end")
        return self._taken(bracket)

    def _taken(self, character: str) -> bool:
        if self._text[self._at : self._at + 1] != character:
            return False
        self._at += 1
        return True

    def _expect(self, character: str) -> None:
        if not self._taken(character):
            self._refuse(f"{character} should stand here")

    def _match(self, pattern: re.Pattern[str], what: str) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            self._refuse(f"{what} should stand here")
        self._at = found.end()
        return found[0]

    def _skip(self, *, only_line: bool = False) -> None:
        while only_line and self._text[self._at : self._at + 1] in {" ", "\t"}:
            self._at += 1
        if not only_line:
            found = _SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at

    def _refuse(self, why: str) -> NoReturn:
        line = self._text.count("\n", 0, self._at) + 1
        raise UnreadableVariables(f"{self._path}, line {line}: {why}")
