"""`least` passes over what is null: a column that is brought down by it gets a value where it had none.

So access without a trial would have one that ends now, and a breaker that is closed a moment at which it may be tried.
"""

from __future__ import annotations

import re

import pytest

from tests.lint.deployed import modules

_BROUGHT_DOWN = re.compile(r"(\w+)\s*=\s*least\(\s*(?:\w+\.)?\1\b")

_NEVER_NULL = {"expires_at"}


def test_no_column_is_brought_down_from_nothing() -> None:
    """`case when c > x then x else c end` says what is meant."""
    sources = [(module.name, module.source) for module in modules()]
    assert any("least(" in source for _, source in sources), "they are found at all"
    found = [(name, match[1]) for name, source in sources for match in _BROUGHT_DOWN.finditer(source)]
    assert [(name, column) for name, column in found if column not in _NEVER_NULL] == []


@pytest.mark.parametrize("text", ["set ends = least(ends, :at)", "set ends =\n  least(s.ends, atlas.now())"])
def test_one_that_is_is_seen(text: str) -> None:
    assert _BROUGHT_DOWN.search(text)
    assert not _BROUGHT_DOWN.search("set ends = case when ends > :at then :at else ends end, at = least(b, c)")
