"""Where a customer is in a dialogue: one row, changed by compare-and-swap, so no lock is held around a handler."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lib.db import Transaction


@dataclass(frozen=True, slots=True)
class ChatState:
    """A place in a dialogue and what was chosen so far. `version` 0: nothing is stored yet."""

    state: str
    data: dict[str, Any]
    version: int


NOWHERE = ChatState("", {}, 0)

# Inserts only over version 0, replaces only the version that was read; no row comes back when another update was faster.
_SWAP = """
insert into fsm (account_id, state, data) select :account_id, :state, cast(:data as jsonb) where :expected = 0
on conflict (account_id) do nothing
returning state, data, version
"""
_REPLACE = """
update fsm set state = :state, data = cast(:data as jsonb), version = version + 1, updated_at = atlas.now()
where account_id = :account_id and version = :expected
returning state, data, version
"""


def read(tx: Transaction, account_id: int) -> ChatState:
    """The stored state, or `NOWHERE`."""
    found = tx.row(ChatState, "select state, data, version from fsm where account_id = :id", id=account_id)
    return found or NOWHERE


def swap(tx: Transaction, account_id: int, expected: int, state: str, data: dict[str, Any]) -> ChatState | None:
    """Move on from version `expected`; None when the dialogue has moved meanwhile: the loser shows what is there now."""
    sql = _SWAP if expected == 0 else _REPLACE
    return tx.row(ChatState, sql, account_id=account_id, expected=expected, state=state, data=json.dumps(data))
