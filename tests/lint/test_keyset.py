"""S4-4.3: a list is gone through by its key. A page that counts rows from the start reads all it has passed, and skips or repeats what moves."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from tests.lint.deployed import modules

if TYPE_CHECKING:
    from collections.abc import Iterator

_SQL = re.compile(r"\b(select|update|delete|insert)\b.*\b(from|set|into)\b|^\s*(order by|limit|offset)\b", re.DOTALL)
# the last key of a page that begins behind a key is no more than the page: `offset :page - 1 limit 1`
_BY_COUNT = re.compile(
    r"\boffset\s+(?!:page - 1 limit 1\b)(:|\d|\(|\{)|\brow_number\(\) over\b.*\bbetween\b|\bfetch\s+next\b", re.DOTALL
)
_PAGED = re.compile(r"\blimit :page\b")


def _texts() -> Iterator[tuple[str, str]]:
    """Place and text of every string that is SQL, or a part of it."""
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.JoinedStr):
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{x}" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            else:
                continue
            if _SQL.search(text.lower()):
                yield f"{module.name}:{node.lineno}", text.lower()


@pytest.mark.proves("S4-4.3")
def test_no_statement_counts_its_rows_from_the_start() -> None:
    found = list(_texts())
    assert len(found) > 150, "they are found at all"
    assert [place for place, text in found if _BY_COUNT.search(text)] == []


@pytest.mark.proves("S4-4.3")
def test_a_page_has_an_order_so_its_last_key_is_where_the_next_begins() -> None:
    paged = [(place, text) for place, text in _texts() if _PAGED.search(text) and "select" in text]
    assert len(paged) > 20
    assert [place for place, text in paged if "order by" not in text] == []


@pytest.mark.proves("S4-4.3")
@pytest.mark.parametrize("text", ["select id from t order by id limit :page offset :start", "select a from b offset 0"])
def test_one_that_does_is_seen(text: str) -> None:
    assert _SQL.search(text)
    assert _BY_COUNT.search(text)
