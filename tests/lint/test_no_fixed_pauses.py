"""Tests wait for a condition: a pause of a fixed length is too short on a slow machine and too long on every other one."""

from __future__ import annotations

import ast
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.lint.deployed import ROOT, dotted

if TYPE_CHECKING:
    from collections.abc import Iterator

_SLEEPS = {"sleep", "time.sleep", "asyncio.sleep", "anyio.sleep", "page.wait_for_timeout", "wait_for_timeout"}
_NEVER_ENDING_S = 60  # a program that only has to be there until it is killed

# The pauses that stay, each with why no condition can stand for it.
_KEPT = {
    "tests/waiting.py:until": "between two looks at a condition",
    "tests/waiting.py:wait_until": "between two looks at a condition",
    "tests/integration/database_proxy.py:_up": "a round trip takes as long as a test says",
    "tests/integration/functions/test_cold_checkout.py:on_a_quarter_of_a_cpu": "a quarter of a CPU is so many ms of each 20",
    "tests/xray_api/test_recovery.py:test_a_connection_to_a_slow_xray_gets_as_long_as_a_call": "a silence is what is tested",
    "tests/integration/db/test_lock.py:test_renewing_keeps_it_and_a_lost_lock_is_noticed": "PostgreSQL counts real seconds",
}


def pauses(tree: ast.AST, owner: str = "") -> Iterator[tuple[str, int]]:
    """The function (the outermost one) and the line of each call that sleeps for more than a turn of the loop.

    Programs that a test starts are text in it, and read too; one that merely has to run until it is killed may sleep for a minute.
    """
    for node in ast.iter_child_nodes(tree):
        inside = owner or (node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else "")
        if isinstance(node, ast.Call) and dotted(node.func) in _SLEEPS and not _is_zero(node):
            yield inside, node.lineno
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "sleep(" in node.value:
            try:
                program = ast.parse(node.value)
            except SyntaxError:
                continue  # no program, or a part of one
            yield from ((inside, node.lineno) for _, line in pauses(program) if not _waits_for_the_end(program, line))
        yield from pauses(node, inside)


def _is_zero(call: ast.Call) -> bool:
    return len(call.args) == 1 and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0


def _waits_for_the_end(program: ast.AST, line: int) -> bool:
    return any(
        isinstance(node, ast.Call)
        and node.lineno == line
        and bool(node.args)
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, int)
        and node.args[0].value >= _NEVER_ENDING_S
        for node in ast.walk(program)
    )


@cache
def _found() -> tuple[tuple[str, int], ...]:
    return tuple(_in_tests())


def _in_tests() -> Iterator[tuple[str, int]]:
    words = {
        name.rpartition(".")[2] for name in _SLEEPS
    }  # a text without them has no such call, and need not be parsed
    for path in sorted((ROOT / "tests").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith("tests/lint/"):
            continue  # they name what they look for
        if any(word in (text := path.read_text()) for word in words):
            yield from ((f"{name}:{function}", line) for function, line in pauses(ast.parse(text)))


def test_tests_wait_for_conditions() -> None:
    assert [f"{name}, line {line}" for name, line in _found() if name not in _KEPT] == []


def test_every_pause_that_is_kept_is_still_there() -> None:
    assert _KEPT.keys() - {name for name, _ in _found()} == set()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time\ndef f():\n    time.sleep(0.1)", [("f", 3)]),
        ("async def f():\n    async def g():\n        await asyncio.sleep(pause)", [("f", 3)]),
        ("class A:\n    def f(self):\n        sleep(1)", [("f", 3)]),
        ("async def f(page):\n    await page.wait_for_timeout(100)", [("f", 2)]),
        ("def f():\n    run('import time; time.sleep(1)')", [("f", 2)]),
        ("def f():\n    run('import time; time.sleep(60)')", []),
        ("async def f():\n    await asyncio.sleep(0)", []),
    ],
)
def test_a_pause_is_found_wherever_it_stands(source: str, found: list[tuple[str, int]]) -> None:
    assert list(pauses(ast.parse(source))) == found
