"""The port that every form of receipts fills. A further one is one module and one line of the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lib.domain.receipts import Line


class Form(Protocol):
    """A form as the registry has it: its module.

    Attributes:
        NAME: what the command knows it by.
        SUFFIX: of its files.
    """

    @property
    def NAME(self) -> str: ...  # noqa: D102, N802 -- a module's constant
    @property
    def SUFFIX(self) -> str: ...  # noqa: D102, N802 -- a module's constant

    def write(self, lines: Sequence[Line]) -> bytes:
        """The file of these lines; the same lines are the same bytes."""
        ...
