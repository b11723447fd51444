"""Imports aiogram without building its pydantic models; each is built when it is first used (docs/decisions/0003).

aiogram's import ends with a loop that calls `model_rebuild` on each of its 360 types, and its 180 methods are built as
they are defined: 2 s of CPU before the first update can be read. While it is imported here that loop does nothing and the
methods are deferred as well. Building later needs what the loop would have passed: the names that the types' annotations
refer to. The three base classes get a `model_rebuild` that passes them, which is what pydantic itself calls when a model
that is not built yet is used.

aiogram's Bot also imports aiohttp, for a session that most first answers have no use for; it gets `LateSession` instead.

Only public names of pydantic are touched, and only while aiogram is being imported. A program that imported aiogram earlier has
paid for the models already: nothing is left to defer, and nothing breaks.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pydantic

from lib import loading

if TYPE_CHECKING:
    from collections.abc import Iterator

_building = threading.RLock()
_SESSION_MODULE = "aiogram.client.session.aiohttp"


@contextmanager
def _definitions_only() -> Iterator[None]:
    """Models defined inside are deferred, and calls that would build one do nothing."""
    config_dict = pydantic.ConfigDict
    rebuild = pydantic.BaseModel.__dict__["model_rebuild"]

    def deferred(**settings: Any) -> pydantic.ConfigDict:
        return config_dict(**{"defer_build": True, **settings})

    def later(_model: type[pydantic.BaseModel], /, **_arguments: Any) -> None:
        """Not now."""

    pydantic.ConfigDict = deferred  # type: ignore[assignment,misc] # for the time of the import
    pydantic.BaseModel.model_rebuild = classmethod(later)  # type: ignore[method-assign,assignment] # as above
    try:
        yield
    finally:
        pydantic.BaseModel.model_rebuild = rebuild  # type: ignore[method-assign] # as it was
        pydantic.ConfigDict = config_dict  # type: ignore[misc] # as it was


@contextmanager
def _session_left_out() -> Iterator[None]:
    """`from aiogram.client.session.aiohttp import AiohttpSession` gets a placeholder, and the module is not loaded."""
    placeholder = ModuleType(_SESSION_MODULE)
    placeholder.AiohttpSession = None  # type: ignore[attr-defined] # replaced as soon as there is something to put there
    sys.modules[_SESSION_MODULE] = placeholder
    try:
        yield
    finally:
        del sys.modules[_SESSION_MODULE]


def _give_session() -> None:
    from aiogram.client import bot  # noqa: PLC0415 -- after the deferred import

    from lib.bot.late_session import LateSession  # noqa: PLC0415 -- as above

    bot.AiohttpSession = LateSession  # type: ignore[attr-defined,assignment] # what `Bot` makes when it is given none


def _give_names() -> None:
    """Let a model that is built late find every name that aiogram's own loop would have offered it."""
    from aiogram import types  # noqa: PLC0415 -- after the deferred import
    from aiogram.client.default import Default  # noqa: PLC0415 -- after the deferred import
    from aiogram.methods.base import Response, TelegramMethod  # noqa: PLC0415 -- after the deferred import
    from aiogram.types.base import TelegramObject  # noqa: PLC0415 -- after the deferred import

    names = {"Default": Default, **{name: getattr(types, name) for name in types.__all__}}

    def rebuild(
        cls: type[pydantic.BaseModel],
        *,
        force: bool = False,
        raise_errors: bool = True,
        _parent_namespace_depth: int = 2,
        _types_namespace: dict[str, Any] | None = None,
    ) -> bool | None:
        # pydantic does not guard against two threads that build the same model
        with _building, loading.undisturbed():
            return pydantic.BaseModel.model_rebuild.__func__(  # type: ignore[attr-defined,no-any-return] # the plain function, for this class
                cls, force=force, raise_errors=raise_errors, _types_namespace={**names, **(_types_namespace or {})}
            )

    for base in (TelegramObject, TelegramMethod, Response):
        base.model_rebuild = classmethod(rebuild)  # type: ignore[method-assign,assignment] # see the module's text


if "aiogram" not in sys.modules:
    with loading.undisturbed():
        with _definitions_only(), _session_left_out():
            import aiogram  # noqa: F401 -- for its being imported
        _give_names()
        _give_session()
