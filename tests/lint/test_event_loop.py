"""S4-6: nothing in a coroutine holds up the event loop; S2-6h: nothing is started that would go on after an answer."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from tests.lint.deployed import Module, dotted, modules

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCKING = re.compile(
    r"(time\.sleep|open|input|os\.(system|popen|fsync|read|write|listdir|scandir|walk|stat)|subprocess\.\w+|shutil\.\w+"
    r"|socket\.(create_connection|getaddrinfo|gethostbyname|socket)|ssl\.\w*wrap_socket|urllib\.request\.\w+|sqlite3\.connect"
    r"|(.*\.)?(read_text|read_bytes|write_text|write_bytes|iterdir|rglob|unlink|mkdir)|Connection|pg8000\..*|migrate\..*|violations)"
)
_GOES_ON = re.compile(
    r"(.*\.)?(create_task|ensure_future|BackgroundTasks?|call_later|call_at|add_done_callback|run_coroutine_threadsafe|Timer|submit)"
)
_GOES_ON_ALLOWED = {
    "lib/db/database.py:submit": "awaited by `_finish`; a caller who is cancelled waits for it",
    "lib/db/database.py:add_done_callback": "gives the permit back when the thread ends",
    "lib/tasks/google_client.py:create_task": "of Cloud Tasks",
}


def _in_coroutines(tree: ast.Module) -> Iterator[ast.Call]:
    """Calls in the body of an `async def`, but for those of functions inside it, which may run on a thread."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef):
            yield from _calls(node.body)


def _calls(body: list[ast.stmt]) -> Iterator[ast.Call]:
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Call):
            yield node
        waiting += ast.iter_child_nodes(node)


def blocking(module: Module) -> list[str]:
    """Calls in coroutines that wait for a disk, a peer or a clock."""
    return [
        f"{module.name}:{call.lineno} {name}"
        for call in _in_coroutines(module.tree)
        if _BLOCKING.fullmatch(name := dotted(call.func))
    ]


def going_on(module: Module) -> list[str]:
    """Calls that start what no one waits for."""
    return [
        f"{module.name}:{name.rpartition('.')[2]}"
        for name, _ in module.calls()
        if _GOES_ON.fullmatch(name) and f"{module.name}:{name.rpartition('.')[2]}" not in _GOES_ON_ALLOWED
    ]


@pytest.mark.proves("S4-6")
def test_no_coroutine_makes_a_call_that_blocks() -> None:
    assert [found for module in modules() for found in blocking(module)] == []


@pytest.mark.proves("S4-6")
@pytest.mark.parametrize(
    "call", ["time.sleep(1)", "open('x')", "path.read_text()", "socket.create_connection(a)", "subprocess.run(x)"]
)
def test_one_that_does_is_seen_and_on_a_thread_it_is_none(call: str) -> None:
    def module(source: str) -> Module:
        return Module("lib/x.py", ast.parse(source), source)

    assert len(blocking(module(f"async def f():\n    with a:\n        {call}\n"))) == 1
    assert blocking(module(f"async def f():\n    def g():\n        {call}\n    await asyncio.to_thread(g)\n")) == []


@pytest.mark.proves("S2-6h")
def test_nothing_is_started_that_an_answer_does_not_wait_for() -> None:
    assert [found for module in modules() for found in going_on(module)] == []


@pytest.mark.proves("S2-6h")
def test_every_exception_is_still_needed() -> None:
    found = {f"{one.name}:{name.rpartition('.')[2]}" for one in modules() for name, _ in one.calls()}
    assert _GOES_ON_ALLOWED.keys() <= found
