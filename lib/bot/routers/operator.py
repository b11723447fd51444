"""The way in for operators. What they do is loaded when one of them comes: no customer's first answer waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiogram import F, Router
from aiogram.filters import Command

from lib import loading
from lib.bot.update_context import ExternalCall

if TYPE_CHECKING:
    from types import ModuleType

    from aiogram.types import CallbackQuery, Message

    from lib.bot.update_context import UpdateRunner

router = Router(name="operator")

PREFIX = "fin"
"""Of all data that operators' buttons carry."""
FORM, SEARCH = "finance.form", "finance.search"
TYPED = frozenset({FORM, SEARCH})
"""Places of the dialogue at which an operator's next text is what was asked for."""


@dataclass(frozen=True, slots=True)
class Desk(ExternalCall):
    """No call of another system: the operators' part is to be loaded, with no transaction open."""


def _desk() -> ModuleType:
    with loading.undisturbed():
        from lib.bot.finance import desk  # noqa: PLC0415 -- for operators alone
    return desk


async def typed(runner: UpdateRunner, text: str) -> None:
    """A text of a person who was asked for one at the operators' desk."""
    await _desk().typed(runner, text)


@router.message(Command("finance", ignore_case=True, ignore_mention=True))
async def _on_finance(_message: Message, runner: UpdateRunner) -> None:
    await _desk().opened(runner)


@router.callback_query(F.data.startswith(PREFIX))
async def _on_button(query: CallbackQuery, runner: UpdateRunner) -> None:
    await _desk().pressed(runner, query.data or "")
