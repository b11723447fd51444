"""S2-6g: the clock of the machine that code happens to run on decides nothing; `atlas.now()` does."""

from __future__ import annotations

import ast
import re

import pytest

from tests.lint.deployed import dotted, modules

_CLOCKS = re.compile(
    r"(.*\.)?(time\.(time|time_ns|localtime|gmtime)|datetime\.(now|utcnow|today)|date\.today|default_timer|getcreationtime)"
)
ALLOWED = {
    "lib/off_site/store.py:datetime.now": "a signed call says when it was made, and the store refuses a wrong one"
}


def _read(tree: ast.Module) -> set[str]:
    """Clocks that are named, called or handed on."""
    named = {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return {name for name in named if _CLOCKS.fullmatch(name)}


@pytest.mark.proves("S2-6g")
def test_no_wall_clock_is_read() -> None:
    found = {f"{module.name}:{name}" for module in modules() for name in _read(module.tree)}
    assert found == ALLOWED.keys()


@pytest.mark.proves("S2-6g")
@pytest.mark.parametrize("source", ["time.time()", "f(clock=time.time)", "datetime.now(UTC)", "datetime.date.today()"])
def test_one_that_is_read_is_seen(source: str) -> None:
    assert _read(ast.parse(source))
