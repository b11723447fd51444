"""What a function can enqueue it may enqueue: derived from the code, by what is reachable from each entry point."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from lib import function_table

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = function_table.load().functions
_IN_SQL = re.compile(r"'(\w+)', 'task_\w+'")
_ADD = "outbox.add"
# Drives every queue by rows of the table, and says so here: no name of a queue stands in its code.
_EVERY_QUEUE = "sweep_outbox"
_HAND_ON = "sweeps"
_PUT_OFF = ("lib.tasks.enqueue", "enqueue_put_off")
"""A task that puts itself off enqueues on its own queue."""

Node = tuple[str, str]


@dataclass
class Definition:
    """What a top-level name of a module refers to, and which queues its own text names."""

    uses: set[Node] = field(default_factory=set)
    queues: set[str] = field(default_factory=set)


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def _graph() -> dict[Node, Definition]:
    paths = [path for folder in ("lib", "functions") for path in (ROOT / folder).rglob("*.py")]
    modules = {_module_name(path): ast.parse(path.read_text()) for path in paths}
    graph: dict[Node, Definition] = {}
    for module, tree in modules.items():
        imported = _imports(tree, modules)
        own = {name for statement in tree.body for name in _defined(statement)}
        for statement in tree.body:
            for name in _defined(statement):
                found = graph.setdefault((module, name), Definition())
                found.queues |= _queues(statement)
                found.uses |= _uses(statement, module, own, imported | _imports(statement, modules)) - {(module, name)}
                # a handler is reached through the router that its decorator belongs to
                for router in _routers(statement) & own:
                    graph.setdefault((module, router), Definition()).uses.add((module, name))
    return graph


def _routers(statement: ast.stmt) -> set[str]:
    """Objects of this module whose methods decorate a definition: `router` of `@router.message(...)`."""
    found: set[str] = set()
    for decorator in getattr(statement, "decorator_list", []):
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            found.add(called.value.id)
    return found


def _defined(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _imports(tree: ast.AST, modules: dict[str, ast.Module]) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found[alias.asname or alias.name] = (whole, "") if whole in modules else (node.module, alias.name)
    return {name: target for name, target in found.items() if target[0] in modules}


def _uses(tree: ast.AST, module: str, own: set[str], imported: dict[str, Node]) -> set[Node]:
    found: set[Node] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in imported and not imported[name][1]:
                found.add((imported[name][0], attribute))
            case ast.Name(id=name) if name in imported and imported[name][1]:
                found.add(imported[name])
            case ast.Name(id=name) if name in own:
                found.add((module, name))
    return found


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
    graph = _graph()
    todo: list[Node] = [(FUNCTIONS[target].module, target)]
    seen: set[Node] = set()
    while todo:
        node = todo.pop()
        if node not in seen and node in graph:
            seen.add(node)
            todo += graph[node].uses
    queues = {queue for node in seen for queue in graph[node].queues}
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
    assert "messages" not in reachable("health")
