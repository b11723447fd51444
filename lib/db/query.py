"""A statement that is still to be run: what two of them need to travel together (`Transaction.together`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Query(Generic[T]):
    """A statement, its parameters, and what its rows become.

    Attributes:
        shape: a frozen dataclass or a NamedTuple whose field names are the column names.
    """

    shape: type[T]
    sql: str
    parameters: dict[str, Any]

    def read(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[T]:
        """Every row as a `shape`."""
        return [self.shape(**dict(zip(columns, row, strict=True))) for row in rows]
