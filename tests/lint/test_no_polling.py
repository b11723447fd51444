"""S2-1.1: nothing that is deployed polls. Telegram pushes; the scheduler ticks; a loop that sleeps would be an instance that never ends."""

from __future__ import annotations

import ast
import textwrap
from typing import TYPE_CHECKING

import pytest

from tests.lint.deployed import Module, dotted, modules

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORDS = {"getupdates", "get_updates", "start_polling", "run_polling", "infinity_polling", "polling", "run_forever"}
_SLEEPS = {"asyncio.sleep", "time.sleep", "sleep"}
# A wait between attempts of one call, bounded by a number of attempts that the loop itself checks.
_BOUNDED = {"lib/nodes/client.py:_again": "ATTEMPTS"}


def polling(module: Module) -> Iterator[str]:
    """Names that only pollers use, background loops, and endless loops with a sleep in them."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Attribute(attr=word) | ast.Name(id=word) | ast.alias(name=word) if word.lower() in _WORDS:
                yield f"{module.name}: {word}"
            case ast.Constant(value=str() as word) if word.lower() in _WORDS:
                yield f"{module.name}:{node.lineno} {word!r}"
            case ast.Call(func=function) if dotted(function) in {"asyncio.create_task", "asyncio.ensure_future"}:
                yield f"{module.name}:{node.lineno} work that goes on after the answer: {dotted(function)}"
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                for loop in _endless(node):
                    if not _is_bounded(module, name, loop):
                        yield f"{module.name}:{loop.lineno} an endless loop that sleeps, in {name}"
            case _:
                pass
    yield from (f"{module.name}:{loop.lineno} an endless loop at import" for loop in _endless(module.tree, deep=False))


def _endless(tree: ast.AST, *, deep: bool = True) -> Iterator[ast.While]:
    nodes = ast.walk(tree) if deep else ast.iter_child_nodes(tree)
    for node in nodes:
        if isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and node.test.value:
            sleeps = any(isinstance(call, ast.Call) and dotted(call.func) in _SLEEPS for call in ast.walk(node))
            if sleeps:
                yield node


def _is_bounded(module: Module, function: str, loop: ast.While) -> bool:
    limit = _BOUNDED.get(f"{module.name}:{function}")
    names = {node.id for node in ast.walk(loop) if isinstance(node, ast.Name)}
    return limit is not None and limit in names


@pytest.mark.proves("S2-1.1")
def test_nothing_deployed_polls() -> None:
    assert [found for module in modules() for found in polling(module)] == []


@pytest.mark.parametrize(
    "source",
    [
        "await dispatcher.start_polling(bot)",
        "updates = await bot.get_updates(offset=offset)",
        "await call('getUpdates')",
        "from aiogram.methods import GetUpdates",
        "async def f():\n    while True:\n        await asyncio.sleep(1)",
        "def f():\n    while 1:\n        work()\n        time.sleep(5)",
        "def f():\n    asyncio.create_task(later())",
    ],
)
def test_the_lint_sees_polling(source: str) -> None:
    text = textwrap.dedent(source)
    tree = compile(text, "example", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(tree, ast.Module)
    assert list(polling(Module("example.py", tree, text)))
