"""What each entry point may come to: a graph of the top-level names of lib/ and functions/, read from the code."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

Node = tuple[str, str]
_ALL = "*"


@dataclass
class Definition:
    """What a top-level name of a module refers to, and the statements that make it."""

    uses: set[Node] = field(default_factory=set)
    text: list[ast.stmt] = field(default_factory=list)


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def graph() -> dict[Node, Definition]:
    """(module, name) -> its definition."""
    paths = [path for folder in ("lib", "functions") for path in (ROOT / folder).rglob("*.py")]
    modules = {_module_name(path): ast.parse(path.read_text()) for path in paths}
    found: dict[Node, Definition] = {}
    for module, tree in modules.items():
        imported = _imports(tree, modules)
        own = {name for statement in tree.body for name in _defined(statement)}
        for statement in tree.body:
            for name in _defined(statement):
                definition = found.setdefault((module, name), Definition())
                definition.text.append(statement)
                definition.uses |= _uses(statement, module, own, imported | _imports(statement, modules)) - {
                    (module, name)
                }
                # a handler is reached through the router that its decorator belongs to
                for router in _routers(statement) & own:
                    found.setdefault((module, router), Definition()).uses.add((module, name))
    return found


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
            # a module that is handed out is used by whatever name of it
            case ast.Return(value=ast.Name(id=name)) if name in imported and not imported[name][1]:
                found.add((imported[name][0], _ALL))
    return found


def reached_from(start: Node) -> set[Node]:
    """Every definition that is reached from this one, itself among them."""
    known = graph()
    todo, seen = [start], set[Node]()
    while todo:
        node = todo.pop()
        if node[1] == _ALL:
            todo += [one for one in known if one[0] == node[0] and one[1] != _ALL]
        if node not in seen and node in known:
            seen.add(node)
            todo += known[node].uses
    return seen
