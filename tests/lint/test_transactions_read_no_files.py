"""Rule 1 of docs/architecture.md: a transaction is given what it needs; it reads no setting, no file, no clock of its own."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.lint.deployed import dotted, modules

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODULES = ("plain", "values", "bootstrap", "function_table", "os", "random", "secrets", "time", "tomllib")
_CALLS = {
    *(
        "pricelist.load",
        "pricelist.read",
        "wiring.zone",
        "wiring.services",
        "zone",
        "services",
        "ZoneInfo",
        "open",
        "Path",
    ),
    *("datetime.now", "datetime.utcnow", "date.today", "uuid.uuid4", "uuid4"),
}
_METHODS = {"read_text", "read_bytes", "write_text", "write_bytes"}


def transactions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """Functions that are handed a transaction."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any(one.arg == "tx" for one in node.args.args):
            yield node


def reads(tree: ast.Module) -> Iterator[str]:
    """What a transaction reads from outside, with its line."""
    for function in transactions(tree):
        for node in ast.walk(function):
            if isinstance(node, ast.Call):
                name = dotted(node.func)
                if name in _CALLS or name.split(".")[-1] in _METHODS or name.split(".")[0] in _MODULES:
                    yield f"{node.lineno}: {function.name} calls {name}"
            elif isinstance(node, ast.Attribute) and dotted(node) == "os.environ":
                yield f"{node.lineno}: {function.name} reads the environment"


def test_no_transaction_reads_settings_files_or_clocks() -> None:
    assert {module.name: found for module in modules() if (found := list(reads(module.tree)))} == {}


@pytest.mark.parametrize(
    "body",
    [
        "prices = pricelist.load()",
        "zone = wiring.zone()",
        "return plain.text('X')",
        "return os.environ['X']",
        "return Path('x').read_text()",
        "with open('x') as file: pass",
        "db = bootstrap.database()",
        "now = datetime.now(UTC)",
        "return inner(lambda: time.time())",
    ],
)
def test_the_lint_sees_it(body: str) -> None:
    assert list(reads(ast.parse(f"def settle(tx, event):\n    {body}")))


def test_the_lint_lets_what_is_given_be() -> None:
    source = "def settle(tx, prices):\n    return tx.value('select atlas.now()', price=prices.price('basic', 30))"
    assert not list(reads(ast.parse(source)))
