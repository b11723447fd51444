"""The code that is deployed, as syntax trees. Read from the folder the tests lie in: a copy of the tree is checked as well."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Module:
    """One deployed file."""

    name: str
    tree: ast.Module
    source: str

    def calls(self) -> Iterator[tuple[str, ast.Call]]:
        """Every call with the dotted name of what is called."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield dotted(node.func), node


@cache
def modules() -> tuple[Module, ...]:
    """`main.py`, `functions/` and `lib/`."""
    return (_module(ROOT / "main.py"), *_folder("functions"), *_folder("lib"))


@cache
def deployed() -> tuple[Module, ...]:
    """The same and `xray_api/`, which is installed on nodes."""
    return (*modules(), *_folder("xray_api"))


def _folder(name: str) -> Iterator[Module]:
    yield from map(_module, sorted((ROOT / name).rglob("*.py")))


def _module(path: Path) -> Module:
    source = path.read_text()
    return Module(path.relative_to(ROOT).as_posix(), ast.parse(source), source)


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a name or an attribute; the last part alone when it hangs on something else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value)
        return f"{owner}.{node.attr}" if owner else node.attr
    return ""
