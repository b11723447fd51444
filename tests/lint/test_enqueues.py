"""What a function can enqueue it may enqueue: derived from the code, by what is reachable from each entry point."""

from __future__ import annotations

import ast
import re

import pytest

from lib import function_table
from tests.lint.reachable import graph, reached_from

FUNCTIONS = function_table.load().functions
_IN_SQL = re.compile(r"'(\w+)', 'task_\w+'")
_ADD = "outbox.add"
# Drives every queue by rows of the table, and says so here: no name of a queue stands in its code.
_EVERY_QUEUE = "sweep_outbox"
_HAND_ON = "sweeps"
_PUT_OFF = ("lib.tasks.enqueue", "enqueue_put_off")
"""A task that puts itself off enqueues on its own queue."""


def _queues(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str() as text):
                found |= set(_IN_SQL.findall(text))
            case ast.Call(func=function, args=[_, ast.Constant(value=str() as queue), *_]) if (
                ast.unparse(function) == _ADD
            ):
                found.add(queue)
    return found


def reachable(target: str) -> set[str]:
    """Queues named by whatever a function's entry point may come to."""
    seen = reached_from((FUNCTIONS[target].module, target))
    queues = {queue for node in seen for text in graph()[node].text for queue in _queues(text)}
    own = FUNCTIONS[target].queue
    return queues | {own} if own and _PUT_OFF in seen else queues


@pytest.mark.proves("G-6")
@pytest.mark.parametrize("target", FUNCTIONS)
def test_a_function_is_granted_what_it_can_enqueue_and_no_more(target: str) -> None:
    row = FUNCTIONS[target]
    needed = reachable(target)
    if target == _EVERY_QUEUE:
        needed |= {function.queue for function in FUNCTIONS.values() if function.queue}
    if row.trigger == "schedule":
        needed.add(_HAND_ON)
    assert set(row.enqueues) == needed


@pytest.mark.proves("G-6")
def test_the_derivation_sees_through_calls_statements_and_routers() -> None:
    assert "updates" in reachable("telegram_webhook"), "a kept update"
    assert "payments" in reachable("telegram_webhook"), "the check button settles, and settling may fail"
    assert "nodes" in reachable("telegram_webhook"), "the trial's button"
    assert "sweeps" in reachable("telegram_webhook"), (
        "an operator asks for a sweep, by a part that is loaded when they come"
    )
    assert "messages" not in reachable("health")
