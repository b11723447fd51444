"""What the comparison of two whole lives leaves out (tests/e2e/webhooks/test_guards_change_nothing.py) is there to be left out."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from lib.bot import notifications
from tests.e2e.webhooks.test_guards_change_nothing import MASKED

if TYPE_CHECKING:
    from lib.db import Database

_HAS = """
select count(*) from information_schema.columns
where table_schema = 'atlas' and table_name = :table and column_name = :column
"""


@pytest.mark.parametrize("name", MASKED)
async def test_what_is_masked_exists(db: Database, name: str) -> None:
    """A column that was renamed would be compared under its new name, and the mask would hide nothing, or something else."""
    table, _, json = MASKED[name].partition(".")
    assert await db.run(lambda tx: tx.value(_HAS, table=table, column=json or name)) == 1
    assert not json or f'"{name}"' in inspect.getsource(notifications)
