"""Failpoints from outside: which places there are, which are armed, which have fired (lib/failpoints.py is the inside)."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).resolve().parents[2]
_FOLDERS = ("functions", "lib")
_ACTION = re.compile(r"kill|raise|loop|deadlock|sleep (\d{1,3}(?:\.\d{1,3})?)")
_LONGEST_SLEEP_S = 600.0
_AROUND_COMMIT = ("before-commit", "in-commit")


class BadActionError(ValueError):
    """No failpoint does that; the text says what one can do."""


@dataclass(frozen=True, slots=True)
class Armed:
    """A place and what is to happen there."""

    place: str
    action: str


class Failpoints:
    """The folder that functions look into. A place fires once over all processes: who gets there takes its file away.

    Attributes:
        folder: `ATLAS_FAILPOINTS` of every function.
        fired: what was armed here and taken by a process, oldest first; `look` keeps it current.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fired: list[Armed] = []
        self._placed: dict[str, Armed] = {}

    def arm(self, place: str, action: str = "kill") -> None:
        """Stop the next process that gets to this place: `kill` it, let it `raise`, `loop`, `deadlock`, or `sleep SECONDS` (at most 600).

        Raises:
            BadActionError
        """
        found = _ACTION.fullmatch(action)
        if found is None or float(found[1] or 0) > _LONGEST_SLEEP_S:
            raise BadActionError(
                f"kill, raise, loop, deadlock or sleep SECONDS (at most {_LONGEST_SLEEP_S:.0f}), not {action!r}"
            )
        self.look()  # the one that fired before is not to be taken for this one
        draft = self.folder / f".{place}"
        draft.write_text(action)
        draft.rename(self.folder / place)
        self._placed[place] = Armed(place, action)

    def disarm(self, place: str | None = None) -> None:
        """Take back one that has not fired, or all."""
        self.look()
        for name in self.armed():
            if place in {None, name}:
                (self.folder / name).unlink(missing_ok=True)
                self._placed.pop(name, None)

    def is_armed(self, place: str) -> bool:
        """Whether no process has reached it yet."""
        return (self.folder / place).exists()

    def armed(self) -> dict[str, str]:
        """Place to action, those armed by hand included."""
        found = {}
        for path in sorted(self.folder.iterdir()):
            if not path.name.startswith("."):
                try:
                    found[path.name] = path.read_text().strip() or "kill"
                except FileNotFoundError:
                    continue  # it fires right now
        return found

    def look(self) -> None:
        """Move what has gone from the folder to `fired`."""
        for place, armed in list(self._placed.items()):
            if not self.is_armed(place):
                self.fired.append(armed)
                del self._placed[place]


@cache
def places() -> dict[str, str]:
    """Every place there is, with the file that has it, read from the source: a new one needs no list.

    A place is a call of `reach` with its name, or with a name made of a parameter (`f"{after}.after-commit"`), whose values are
    those of the calls of that function; and both sides of the COMMIT of every function that `run` is given.
    """
    source = _Source()
    found: dict[str, str] = {}
    for file, functions, call in source.calls:
        for name in source.reached(functions, call):
            found.setdefault(name, file)
        for name in source.committed(call):
            for side in _AROUND_COMMIT:
                found.setdefault(f"{name}.{side}", file)
    return dict(sorted(found.items()))


class _Source:
    """What functions are made of, parsed."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[str, ...], ast.Call]] = []
        self._transactions: set[str] = set()
        for folder in _FOLDERS:
            for path in sorted((_ROOT / folder).rglob("*.py")):
                tree = ast.parse(path.read_text(encoding="utf-8"))
                self._visit(tree, str(path.relative_to(_ROOT)), ())

    def _visit(self, node: ast.AST, file: str, functions: tuple[str, ...]) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions = (*functions, node.name)
            first = node.args.args[0] if node.args.args else None
            if first is not None and first.annotation is not None and ast.unparse(first.annotation) == "Transaction":
                self._transactions.add(node.name)
        elif isinstance(node, ast.Call):
            self.calls.append((file, functions, node))
        for child in ast.iter_child_nodes(node):
            self._visit(child, file, functions)

    def reached(self, functions: tuple[str, ...], call: ast.Call) -> Iterator[str]:
        if _called(call) != "reach" or not call.args:
            return
        match call.args[0]:
            case ast.Constant(value=str(name)):
                yield name
            case ast.JoinedStr(
                values=[ast.FormattedValue(value=ast.Name(id=parameter)), ast.Constant(value=str(rest))]
            ):
                for value in self._given(parameter, functions):
                    yield value + rest
            case ast.JoinedStr(
                values=[
                    ast.FormattedValue(value=ast.Attribute(value=ast.Name(id="self"), attr=parameter)),
                    ast.Constant(value=str(rest)),
                ]
            ):
                for value in self._given(parameter):
                    yield value + rest

    def _given(self, parameter: str, functions: tuple[str, ...] | None = None) -> Iterator[str]:
        """The constants that calls of one of the functions around (of any, for an attribute) give as this parameter."""
        for _, _, call in self.calls:
            if functions is None or _called(call) in functions:
                for keyword in call.keywords:
                    if keyword.arg != parameter:
                        continue
                    match keyword.value:
                        case ast.Constant(value=value):
                            yield str(value)
                        case ast.Attribute(value=ast.Name(id="self"), attr=attribute):
                            yield from self._given(attribute)

    def committed(self, call: ast.Call) -> Iterator[str]:
        if _called(call) not in {"run", "run_reserved"} or not call.args:
            return
        name = _last_name(call.args[0])
        if name in self._transactions:
            yield name


def _called(call: ast.Call) -> str:
    return _last_name(call.func)


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""
