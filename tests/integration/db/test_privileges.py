"""Every statement of the code is one that the functions' login may run, whether or not a test happens to run it.

EXPLAIN asks what an execution asks first: the privileges on every table and column of a statement, those of its WITH parts too, and runs
none of them. What a trigger does is not seen that way; the tests that run the code by this login see it (tests/integration/conftest.py).
"""

from __future__ import annotations

import ast
import importlib
import re
import types
from contextlib import closing
from typing import TYPE_CHECKING

import pg8000.native
import pytest

from lib.db.connection import Connection, Timeouts
from lib.db.errors import StatementFailed
from lib.db.invariants import declared
from lib.domain import invariant_audit, retention
from tests.lint.reachable import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

_BEGINS = re.compile(
    r"\s*(with\s+(recursive\s+)?\w+\s+as\b|select\b|insert\s+into\s|update\s+\w+(\s+(as\s+)?\w+)?\s+set\s|delete\s+from\s)"
)
_SPELLED = re.compile(r"\b(select|insert into|update \w+ set|delete from)\s")
_BY_THE_OWNER = {"lib/db/migrate.py", "lib/db/invariants.py"}
"""What a deploy and a check run, never a function."""
_REFUSED = "42501"
_NO_STATEMENT = {"42601", "42P01"}
"""What a part of a statement is refused with that is none by itself: it goes on, or names what was said WITH before it."""


def texts(tree: ast.AST) -> Iterator[ast.expr]:
    """Each string, and each sum of strings, none that is a part of another."""
    for child in ast.iter_child_nodes(tree):
        match child:
            case ast.Constant(value=str()) | ast.JoinedStr() | ast.BinOp(op=ast.Add()):
                yield child
            case _:
                yield from texts(child)


def parts(expression: ast.expr) -> Iterator[ast.expr]:
    """What a string that can't be told is made of. The fixed words of a formatted one are no strings of their own."""
    if isinstance(expression, ast.JoinedStr):
        for value in expression.values:
            if isinstance(value, ast.FormattedValue):
                yield from texts(value)
    else:
        yield from texts(expression)


def statements(source: str, module: types.ModuleType, path: str) -> tuple[dict[str, str], list[str]]:
    """Each string of a module that begins as a statement -> its place; and the places of what is made of values that only a call has."""
    found: dict[str, str] = {}
    made: list[str] = []
    waiting = list(texts(ast.parse(source)))
    while waiting:
        expression = waiting.pop()
        try:
            if any(isinstance(node, ast.Call) for node in ast.walk(expression)):
                raise NameError("what a call returns")
            text = eval(compile(ast.Expression(expression), path, "eval"), vars(module))  # noqa: S307 -- our own code, calls apart
        except (NameError, AttributeError, TypeError):
            waiting += parts(expression)
            if isinstance(expression, ast.JoinedStr) and _SPELLED.search(ast.unparse(expression)):
                made.append(path)
            continue
        if isinstance(text, str) and _BEGINS.match(text):
            found[text] = f"{path}:{expression.lineno}"
    return found, made


def all_statements() -> tuple[dict[str, str], list[str]]:
    found: dict[str, str] = {}
    made: list[str] = []
    for path in sorted(path for folder in ("lib", "functions") for path in (ROOT / folder).rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if name in _BY_THE_OWNER:
            continue
        module = importlib.import_module(name.removesuffix(".py").replace("/", ".").removesuffix(".__init__"))
        here, built = statements(path.read_text(), module, name)
        found |= here
        made += built
    return found, made


def refusal(session: Connection, sql: str) -> str | None:
    """SQLSTATE that the statement is refused with, None when it would run."""
    text, _ = pg8000.native.to_statement(sql)
    try:
        session.simple(f"prepare asked as {text}")
    except StatementFailed as error:
        return error.code
    try:
        _, [[count]], _ = session.execute(
            "select cardinality(parameter_types) from pg_prepared_statements where name = 'asked'", {}
        )
        values = f"({', '.join(['null'] * count)})" if count else ""
        session.simple(f"explain execute asked{values}")
    except StatementFailed as error:
        return error.code
    finally:
        session.simple("deallocate asked")
    return None


@pytest.fixture
def session(functions_url: str) -> Iterator[Connection]:
    with closing(Connection(functions_url, application="asks", timeouts=Timeouts())) as made:
        yield made


def test_no_statement_of_the_code_needs_a_right_that_functions_lack(session: Connection) -> None:
    found, made = all_statements()
    # These are made of the words of a rule, a table or an invariant, so each one's own are asked about.
    assert set(made) == {"lib/domain/retention.py", "lib/domain/invariant_audit.py"}
    for source in invariant_audit.SOURCES:
        found[source.sql] = f"what is new in {source.table}"
    for table in invariant_audit.KINDS.values():
        found[f"select id from {table} where id > :after order by id limit :page"] = f"a walk through {table}"  # noqa: S608 -- the code's words
    for one in declared().values():
        found[one.asked(by_keys=one.by is not None)] = f"invariant {one.name}"
    for rule in retention.RULES:
        found |= {rule.sql: f"retention of {rule.table}", f"select from {rule.due}": f"what is due of {rule.table}"}
    refused = {sql: code for sql in found if (code := refusal(session, sql)) is not None}
    unfinished = {sql for sql, code in refused.items() if code in _NO_STATEMENT}
    assert {found[sql]: code for sql, code in refused.items() if sql not in unfinished} == {}
    # such a part was asked about where it is used
    assert [found[part] for part in unfinished if not any(part in sql for sql in found.keys() - unfinished)] == []
    assert len(found) - len(unfinished) > 100  # they are found at all


@pytest.mark.parametrize(
    "sql",
    [
        "delete from payment_event_bodies where event_id = :id",
        "with gone as (delete from payment_event_bodies where event_id = :id returning event_id) select count(*) from gone",
        "with kept as (insert into ledger_transfers (key, kind, entries, books_day) values (:key, 'sale', 2, :day)) select 1",
        "update orders set price = :price where id = :id",
        "select id from payments where id = :id for update",
        "insert into ledger_codes (code, type) values (:code, 'asset') on conflict do nothing",
        "insert into promo_codes (code) values (:code) on conflict (code) do update set code = excluded.code",
    ],
)
def test_a_right_that_functions_lack_is_seen(session: Connection, sql: str) -> None:
    assert refusal(session, sql) == _REFUSED


def test_a_statement_is_found_wherever_it_is_written() -> None:
    source = (
        "_A = 'delete from orders'\n_B = f'''\nwith a as (select 1) {_A}'''\n_C = _A + ' where id = 1'\n"
        "def f(tx, name):\n    tx.execute('update orders '\n        'set price = 1')\n    tx.execute(f'delete from {name}')\n"
        "    tx.execute('select 1 ' + name)\n"
    )
    module = types.ModuleType("example")
    exec(source, vars(module))  # noqa: S102 -- the text above
    found, made = statements(source, module, "example")
    assert sorted(found) == [
        "\nwith a as (select 1) delete from orders",
        "delete from orders",
        "delete from orders where id = 1",
        "select 1 ",
        "update orders set price = 1",
    ]
    assert made == ["example"]
