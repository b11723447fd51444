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

MONEY, OPERATIONS, CUSTOMERS = "fin", "ops", "acc"
"""What the data of each desk's buttons begin with."""
FORM, SEARCH = "finance.form", "finance.search"
REASON = "operations.reason"
CUSTOMER_FORM, CUSTOMER_SEARCH = "customers.form", "customers.search"
TYPED = frozenset({FORM, SEARCH, REASON, CUSTOMER_FORM, CUSTOMER_SEARCH})
"""Places of the dialogue at which an operator's next text is what was asked for."""


@dataclass(frozen=True, slots=True)
class Desk(ExternalCall):
    """No call of another system: the operators' part is to be loaded, with no transaction open.

    Attributes:
        place: of `TYPED`.
    """

    place: str


def _money() -> ModuleType:
    with loading.undisturbed():
        from lib.bot.finance import desk  # noqa: PLC0415 -- for operators alone
    return desk


def _operations() -> ModuleType:
    with loading.undisturbed():
        from lib.bot.operations import desk  # noqa: PLC0415 -- for operators alone
    return desk


def _customers() -> ModuleType:
    with loading.undisturbed():
        from lib.bot.customers import desk  # noqa: PLC0415 -- for operators alone
    return desk


_DESKS = {REASON: _operations, CUSTOMER_FORM: _customers, CUSTOMER_SEARCH: _customers}


async def typed(runner: UpdateRunner, desk: Desk, text: str) -> None:
    """A text of a person who was asked for one at a desk."""
    await _DESKS.get(desk.place, _money)().typed(runner, text)


@router.message(Command("finance", ignore_case=True, ignore_mention=True))
async def _on_finance(_message: Message, runner: UpdateRunner) -> None:
    await _money().opened(runner)


@router.message(Command("operations", ignore_case=True, ignore_mention=True))
async def _on_operations(_message: Message, runner: UpdateRunner) -> None:
    await _operations().opened(runner)


@router.message(Command("customers", ignore_case=True, ignore_mention=True))
async def _on_customers(_message: Message, runner: UpdateRunner) -> None:
    await _customers().opened(runner)


@router.callback_query(F.data.startswith(CUSTOMERS))
async def _on_customers_button(query: CallbackQuery, runner: UpdateRunner) -> None:
    await _customers().pressed(runner, query.data or "")


@router.callback_query(F.data.startswith(MONEY))
async def _on_money_button(query: CallbackQuery, runner: UpdateRunner) -> None:
    await _money().pressed(runner, query.data or "")


@router.callback_query(F.data.startswith(OPERATIONS))
async def _on_operations_button(query: CallbackQuery, runner: UpdateRunner) -> None:
    await _operations().pressed(runner, query.data or "")
