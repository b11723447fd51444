"""S0-1: nothing that matters lives in a process. No lock file, no lock in memory, no state at module or class level."""

from __future__ import annotations

import ast
import textwrap
from typing import TYPE_CHECKING

import pytest

from tests.lint.deployed import Module, dotted, modules

if TYPE_CHECKING:
    from collections.abc import Iterator

# What may be made once per process, each with its reason. Anything else is an error, and a line here is a decision.
ALLOWED = {
    "lib/bot/deferred_models.py:_building": "guards the building of pydantic models, which is per process",
    "lib/db/guard.py:_inside": "which thread is inside a transaction, for the test guard",
    "lib/db/guard.py:_installed": "the test guard's audit hook can be put in once",
    "lib/log.py:correlation": "the correlation id of the event being handled, per task",
    "lib/bot/client.py:_one": "the Bot API client of this process and loop",
    "lib/target.py:_served": "which function the request being handled is for, per task",
    "lib/log.py:_logger": "the standard library's own",
    "main.py:<several>": "the one entry point, by its name",
    "main.py:_module": "the module of that function",
    "main.py:_target": "which function this process is",
}
# Constructors of what never changes, or changes only with the code.
_IMMUTABLE = {
    *("frozenset", "tuple", "int", "float", "str", "bytes", "bool", "len", "sorted", "range"),
    *("re.compile", "Path", "with_name", "timedelta", "Fraction", "Decimal", "TypeVar", "ParamSpec", "NewType"),
    *(
        "httpx.Timeout",
        "SettingsConfigDict",
        "Screen",
        "ChatState",
        "Timeouts",
        "Rule",
        "Source",
        "Unplaced",
        "Limit",
        "Context",
        "Field",
        "Fact",
        "Leg",
    ),
    *("_shape", "listed"),  # readers of settings: functions of a pattern
    *("itemgetter", "Router"),  # a router's tables are filled by decorators at import
}
_LOCKS = {
    f"{module}.{kind}"
    for module in ("threading", "asyncio", "multiprocessing")
    for kind in ("Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event", "Barrier")
}
_FILES = {
    *("open", "io.open", "os.open", "os.mkfifo", "os.link", "os.symlink", "os.mkdir", "os.makedirs"),
    *("write_text", "write_bytes", "touch", "mkdir", "fcntl.flock", "fcntl.lockf", "os.lockf", "shutil.copy"),
}
_FILE_MODULES = {"fcntl", "filelock", "portalocker", "shelve", "dbm", "sqlite3", "tempfile", "mmap", "multiprocessing"}
# Locks inside objects: they order what one process does with its own connections, and decide nothing.
_LOCKS_ALLOWED = {
    "lib/bot/deferred_models.py:threading.RLock": "see ALLOWED",
    "lib/db/database.py:threading.Event": "tells a running thread that its caller has given up",
    "lib/db/guard.py:threading.Event": "see ALLOWED",
    "lib/nodes/converge.py:asyncio.Semaphore": "bounds the calls of one run",
    "lib/nodes/reconciling.py:asyncio.Semaphore": "bounds the calls of one run",
    "lib/tasks/enqueue.py:asyncio.Semaphore": "bounds the calls of one run",
    "lib/tasks/rest.py:threading.Lock": "hands an idle connection to one thread at a time",
}


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """Names given a value when the module is imported, in branches and with-blocks too, but in no function."""
    for statement in body:
        match statement:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    yield dotted(target) or "<several>", value
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                yield dotted(target), value
            case ast.ClassDef(name=name, body=inner):
                for attribute, value in _assigned(inner):
                    yield f"{name}.{attribute}", value
            case ast.If() | ast.With() | ast.Try() | ast.For() | ast.While():
                for part in ("body", "orelse", "finalbody"):
                    yield from _assigned(getattr(statement, part, []))
            case _:
                pass


def _is_fixed(value: ast.expr, changed: set[str], name: str) -> bool:
    match value:
        case ast.List() | ast.Dict() | ast.Set() | ast.ListComp() | ast.DictComp() | ast.SetComp():
            return name not in changed and name.lstrip("_").isupper()
        case ast.Call(func=function):
            called = dotted(function)
            return called in _IMMUTABLE or called.rpartition(".")[2] in _IMMUTABLE or called == "field"
        case ast.IfExp(body=one, orelse=other):
            return _is_fixed(one, changed, name) and _is_fixed(other, changed, name)
        case ast.BinOp(left=one, right=other):
            return _is_fixed(one, changed, name) and _is_fixed(other, changed, name)
        case ast.BoolOp(values=values) | ast.Tuple(elts=values):
            return all(_is_fixed(one, changed, name) for one in values)
        case _:
            return True  # constants, names, comparisons, f-strings, lambdas, subscripts of types


_CHANGES = {
    *("append", "add", "update", "setdefault", "pop", "popitem", "clear", "extend", "insert", "remove", "discard"),
    *("sort", "reverse", "__setitem__", "appendleft", "popleft"),
}


def _changed(module: Module) -> set[str]:
    """Names whose value some line of the module changes."""
    found: set[str] = set()
    for node in ast.walk(module.tree):
        match node:
            case ast.Subscript(value=owner, ctx=ast.Store() | ast.Del()) | ast.AugAssign(target=owner):
                found.add(dotted(owner))
            case ast.Call(func=ast.Attribute(value=owner, attr=attribute)) if attribute in _CHANGES:
                found.add(dotted(owner))
            case _:
                pass
    return found


def state(module: Module) -> Iterator[str]:
    """Everything at module or class level that could hold something between two requests."""
    yield from _kept_by_modules(module)
    yield from _kept_by_functions(module)


def _kept_by_modules(module: Module) -> Iterator[str]:
    changed = _changed(module)
    for name, value in _assigned(module.tree.body):
        if name.rpartition(".")[2].startswith("__") or f"{module.name}:{name}" in ALLOWED:
            continue
        if not _is_fixed(value, changed, name.rpartition(".")[2]):
            yield f"{module.name}:{value.lineno} {name}"


def _kept_by_functions(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        match node:
            case ast.Global(names=names):
                yield f"{module.name}:{node.lineno} global {', '.join(names)}"
            case (
                ast.FunctionDef(decorator_list=decorators, args=arguments)
                | ast.AsyncFunctionDef(decorator_list=decorators, args=arguments)
            ):
                remembers = [dotted(one.func if isinstance(one, ast.Call) else one) for one in decorators]
                if any(name.rpartition(".")[2] in {"cache", "lru_cache"} for name in remembers):
                    yield from _memory(module, node, arguments)
                defaults = [*arguments.defaults, *(one for one in arguments.kw_defaults if one is not None)]
                for default in defaults:
                    if isinstance(default, ast.List | ast.Dict | ast.Set):
                        yield f"{module.name}:{default.lineno} a default that is kept between calls"
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id=owner))]) if owner in _functions(module):
                yield f"{module.name}:{node.lineno} an attribute of the function {owner}"
            case _:
                pass


# A cached function remembers for the life of its process, so what it is asked by must be configuration.
_ASKED_BY = {"language": "texts", "target": "configuration", "settings": "a client", "root": "tests", "kind": "a class"}


def _memory(module: Module, node: ast.FunctionDef | ast.AsyncFunctionDef, arguments: ast.arguments) -> Iterator[str]:
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        if argument.arg not in _ASKED_BY:
            yield f"{module.name}:{node.lineno} {node.name} remembers answers by {argument.arg}"


def _functions(module: Module) -> set[str]:
    return {node.name for node in module.tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def locks_and_files(module: Module) -> Iterator[str]:
    """Locks in memory that are not known to be harmless, and everything that writes a file."""
    for called, node in module.calls():
        if called in _LOCKS and f"{module.name}:{called}" not in _LOCKS_ALLOWED:
            yield f"{module.name}:{node.lineno} {called}"
        last = called.rpartition(".")[2]
        if called in _FILES or (last in _FILES and "." in called):
            yield f"{module.name}:{node.lineno} {called}"
    for statement in ast.walk(module.tree):
        match statement:
            case ast.Import(names=names):
                imported = {one.name.partition(".")[0] for one in names}
            case ast.ImportFrom(module=str(name), level=0):
                imported = {name.partition(".")[0]}
            case _:
                continue
        for name in sorted(imported & _FILE_MODULES):
            yield f"{module.name}:{statement.lineno} import {name}"


@pytest.mark.proves("S0-1")
def test_no_state_at_module_level() -> None:
    assert [found for module in modules() for found in state(module)] == []


@pytest.mark.proves("S0-1")
def test_no_lock_but_in_postgres_and_no_file_is_written() -> None:
    assert [found for module in modules() for found in locks_and_files(module)] == []


def test_every_exception_is_still_needed() -> None:
    names = {f"{module.name}:{name}" for module in modules() for name, _ in _assigned(module.tree.body)}
    assert set(ALLOWED) <= names
    calls = {f"{module.name}:{called}" for module in modules() for called, _ in module.calls()}
    assert set(_LOCKS_ALLOWED) <= calls


@pytest.mark.parametrize(
    "source",
    [
        "seen = set()",
        "SEEN: dict[int, str] = {}\ndef f(n):\n    SEEN[n] = 'x'",
        "SEEN = []\ndef f(n):\n    SEEN.append(n)",
        "class A:\n    held = {}",
        "count = 0\ndef f():\n    global count\n    count += 1",
        "from collections import defaultdict\nSEEN = defaultdict(list)",
        "if True:\n    pool = make_pool()",
        "import httpx\nclient = httpx.AsyncClient()",
        "from functools import cache\n@cache\ndef eligible(account_id): ...",
        "def f(n, seen={}): ...",
        "def f(n): ...\ndef g():\n    f.seen = 1",
        "class A:\n    lock = threading.Lock()",
    ],
)
def test_the_lint_sees_state(source: str) -> None:
    assert list(state(_module(source)))


@pytest.mark.parametrize(
    "source",
    [
        "import fcntl",
        "from filelock import FileLock",
        "def f():\n    return open('/tmp/lock', 'w')",
        "def f(path):\n    path.write_text('x')",
        "import asyncio\nclass A:\n    def __init__(self):\n        self.lock = asyncio.Lock()",
        "import threading\ndef f():\n    return threading.Lock()",
    ],
)
def test_the_lint_sees_locks_and_files(source: str) -> None:
    assert list(locks_and_files(_module(source)))


@pytest.mark.parametrize(
    "source",
    [
        "TABLE = {'a': 1}\nNAMES = ('a', 'b')\nKINDS = frozenset({'x'})",
        "import re\n_WORD = re.compile('x')",
        "def f():\n    seen = set()\n    seen.add(1)",
        "from functools import cache\n@cache\ndef settings(): ...",
        "class A:\n    def __init__(self):\n        self.seen = {}",
    ],
)
def test_the_lint_leaves_constants_alone(source: str) -> None:
    module = _module(source)
    assert [*state(module), *locks_and_files(module)] == []


def _module(source: str) -> Module:
    text = textwrap.dedent(source)
    return Module("example.py", ast.parse(text), text)
