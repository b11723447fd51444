"""The part of Cloud Logging's query language that the metrics use, evaluated over log entries; anything else is an error.

Comparisons `=` (of one value or of `("a" OR "b")`), `!=`, `=~`, `>`, `>=` of a field with a quoted string, a number or a severity; `log_id("...")`; AND, OR,
NOT, parentheses. NOT binds tightest, then OR, then AND, as the language has it. A comparison with a field that is not
there is false.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Entry = dict[str, Any]

_TOKEN = re.compile(
    r'\s*(?:(?P<word>AND|OR|NOT)\b|(?P<call>log_id)\(|(?P<field>[a-zA-Z_][\w.]*)|(?P<operator>=~|!=|>=|=|>)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<number>-?\d+(?:\.\d+)?)|(?P<paren>[()]))'
)
_SEVERITIES = ("DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY")


class UnknownSyntaxError(ValueError):
    """The filter uses what this evaluator does not know."""


def compiled(text: str) -> Callable[[Entry], bool]:
    """A filter as a function of a log entry.

    Raises:
        UnknownSyntaxError: it is not in the part known here.
    """
    parser = _Parser(_tokens(text))
    condition = parser.conjunction()
    if parser.rest:
        raise UnknownSyntaxError(f"{text!r}: what is {parser.rest[0]}?")
    return condition


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise UnknownSyntaxError(f"{text!r} at {at}")
        kind = str(match.lastgroup)
        found.append((kind, match[kind]))
        at = match.end()
    return found


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.rest = tokens

    def _next(self) -> tuple[str, str]:
        if not self.rest:
            raise UnknownSyntaxError("the filter ends too early")
        return self.rest.pop(0)

    def _take(self, kind: str, value: str) -> bool:
        if self.rest and self.rest[0] == (kind, value):
            self.rest.pop(0)
            return True
        return False

    def conjunction(self) -> Callable[[Entry], bool]:
        parts = [self._disjunction()]
        while self._take("word", "AND"):
            parts.append(self._disjunction())
        return lambda entry: all(part(entry) for part in parts)

    def _disjunction(self) -> Callable[[Entry], bool]:
        parts = [self._term()]
        while self._take("word", "OR"):
            parts.append(self._term())
        return lambda entry: any(part(entry) for part in parts)

    def _term(self) -> Callable[[Entry], bool]:
        if self._take("word", "NOT"):
            inner = self._term()
            return lambda entry: not inner(entry)
        if self._take("paren", "("):
            inner = self.conjunction()
            if not self._take("paren", ")"):
                raise UnknownSyntaxError("a parenthesis is not closed")
            return inner
        kind, name = self._next()
        if kind == "call":
            wanted = _literal(self._next())
            if not self._take("paren", ")"):
                raise UnknownSyntaxError("log_id( is not closed")
            return lambda entry: str(entry.get("logName", "")).replace("%2F", "/").endswith(f"/logs/{wanted}")
        if kind != "field":
            raise UnknownSyntaxError(f"{name!r} where a field should be")
        _, operator = self._next()
        if operator == "=" and self._take("paren", "("):
            return self._one_of(name)
        return _comparison(name, operator, self._next())

    def _one_of(self, name: str) -> Callable[[Entry], bool]:
        """`field=("a" OR "b")`."""
        ways = [_comparison(name, "=", self._next())]
        while self._take("word", "OR"):
            ways.append(_comparison(name, "=", self._next()))
        if not self._take("paren", ")"):
            raise UnknownSyntaxError("a parenthesis is not closed")
        return lambda entry: any(way(entry) for way in ways)


def _literal(token: tuple[str, str]) -> str:
    kind, value = token
    if kind == "text":
        return re.sub(r"\\(.)", lambda match: match[1] if match[1] in '"\\' else match[0], value[1:-1])
    if kind in {"number", "field"}:
        return value
    raise UnknownSyntaxError(f"{value!r} where a value should be")


def _comparison(name: str, operator: str, token: tuple[str, str]) -> Callable[[Entry], bool]:
    wanted = _literal(token)

    def compare(entry: Entry) -> bool:
        found: Any = entry
        for part in name.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if found is None:
            return False
        if operator == "=~":
            return re.search(wanted, str(found)) is not None
        if operator in {"=", "!="}:
            return (str(found) == wanted) == (operator == "=")
        if name == "severity":
            return _SEVERITIES.index(str(found)) >= _SEVERITIES.index(wanted) + (operator == ">")
        return float(found) >= float(wanted) if operator == ">=" else float(found) > float(wanted)

    if operator not in {"=", "!=", "=~", ">", ">="}:
        raise UnknownSyntaxError(f"{name} {operator}")
    return compare
