"""Which words stand where: in names (identifiers, SQL, log events, files) and in prose (comments, docstrings, texts, pages)."""

from __future__ import annotations

import io
import re
import tokenize
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("bench", "docs", "functions", "infra", "lib", "sandbox", "simulation", "tests", "xray_api")
GLOSSARY = ROOT / "docs" / "glossary.md"
_COMMENTS = {".sql": "--", ".tf": "#", ".hcl": "#", ".toml": "#", ".yaml": "#", ".sh": "#", "": "#", ".js": "//"}
_SQL = re.compile(r"\s*(select|insert|update|delete|with|create|alter|set)\s", re.IGNORECASE)
_A_NAME = re.compile(r"[A-Za-z_][\w.:/-]*")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_QUOTED = re.compile(r"([A-Za-z]*)(\"\"\"|'''|\"|')(.*)", re.DOTALL)
_FIELD = re.compile(r"\{[^{}]*\}")
_TEXT = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|`([^`]*)`")
_SQL_TEXT = re.compile(r"'(?:[^']|'')*'")


@dataclass(frozen=True, slots=True)
class File:
    """A file of the tree.

    Attributes:
        names: each name with the line that it stands in.
        prose: everything that is written for people.
    """

    path: str
    names: tuple[tuple[str, int], ...]
    prose: str

    @property
    def folder(self) -> str:
        """The first part of its path; `.` for a file at the top."""
        return self.path.split("/", 1)[0] if "/" in self.path else "."


def parts(name: str) -> list[str]:
    """The words of `snake_case` and `CamelCase`, in lower case."""
    return [word.lower() for word in _WORD.findall(name)]


def words(prose: str) -> Counter[str]:
    """How often each word stands in a text, in lower case; a name inside it counts by its parts."""
    return Counter(parts(prose))


def read(path: str, text: str) -> File:
    """Tell names and prose of a file apart, by what kind of file it is."""
    suffix = Path(path).suffix
    if suffix == ".md":
        return File(path, ((path, 0),), text)
    names, prose = [(path, 0)], []
    if suffix == ".py":
        for kind, found, line in _python(text):
            names.append((found, line)) if kind == "name" else prose.append(found)
    else:
        for line, content in enumerate(text.splitlines(), 1):
            code, _, comment = content.partition(_COMMENTS.get(suffix, "#"))
            texts = [] if suffix == ".sql" else [one or other for one, other in _TEXT.findall(code)]
            prose += [comment, *(text for text in texts if not _A_NAME.fullmatch(text))]
            names += [(text, line) for text in texts if _A_NAME.fullmatch(text)]
            code = (_SQL_TEXT if suffix == ".sql" else _TEXT).sub(" ", code)
            names += [(name, line) for name in re.findall(r"[A-Za-z_]\w*", code)]
    return File(path, tuple(names), "\n".join(prose))


def _python(text: str) -> Iterator[tuple[str, str, int]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        line = token.start[0]
        if token.type == tokenize.NAME:
            yield "name", token.string, line
        elif token.type == tokenize.COMMENT:
            yield "prose", token.string, line
        elif token.type == tokenize.STRING:
            mark, quote, value = _QUOTED.match(token.string).groups()  # type: ignore[union-attr] # it is one by its kind
            value = value.removesuffix(quote)
            if "f" in mark.lower():
                yield from (
                    ("name", name, line)
                    for field in _FIELD.findall(value)
                    for name in re.findall(r"[A-Za-z_]\w*", field)
                )
                value = _FIELD.sub("{}", value)
            yield from _string(value, line)


def _string(value: str, line: int) -> Iterator[tuple[str, str, int]]:
    if _A_NAME.fullmatch(value):
        yield "name", value, line
    elif _SQL.match(value):
        for number, content in enumerate(value.splitlines()):
            code, mark, comment = content.partition("--")
            yield "prose", mark + comment, line + number
            for name in re.findall(r"[A-Za-z_]\w*", _SQL_TEXT.sub("", code)):
                yield "name", name, line + number
    else:
        yield "prose", value, line


@cache
def files() -> tuple[File, ...]:
    """Everything that people write: code, SQL, Terraform, pages."""
    kinds = {".py", ".md", ".sql", ".tf", ".hcl", ".js", ".toml", ".sh"}
    found = [path for path in ROOT.iterdir() if path.is_file()]
    found += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    wanted = [path for path in found if path.suffix in kinds or path.name == "Makefile"]
    return tuple(read(path.relative_to(ROOT).as_posix(), path.read_text()) for path in sorted(wanted))
