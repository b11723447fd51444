"""The import that builds no models (lib/bot/deferred_models.py) against a plain import of aiogram, in fresh processes."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]

_PRIVATE = {"id": 7, "type": "private", "first_name": "A"}
_USER = {"id": 7, "is_bot": False, "first_name": "A", "language_code": "ru"}
_MESSAGE = {"message_id": 5, "date": 1_700_000_000, "chat": _PRIVATE, "from": _USER}
_PHOTO = {"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}
UPDATES: list[dict[str, Any]] = [
    {"update_id": 1, "message": _MESSAGE | {"text": "/start x", "entities": [{"type": "bot_command", "offset": 0, "length": 6}]}},
    {"update_id": 2, "message": _MESSAGE | {"photo": [_PHOTO], "caption": "c", "unknown_field": {"a": [1]}}},
    {"update_id": 3, "callback_query": {"id": "q", "from": _USER, "chat_instance": "i", "data": "go:menu", "message": _MESSAGE | {"text": "t", "reply_markup": {"inline_keyboard": [[{"text": "b", "callback_data": "x"}, {"text": "c", "copy_text": {"text": "k"}}]]}}}},
    {"update_id": 4, "callback_query": {"id": "q", "from": _USER, "chat_instance": "i", "data": "x", "message": {"message_id": 5, "date": 0, "chat": _PRIVATE}}},
    {"update_id": 5, "my_chat_member": {"chat": _PRIVATE, "from": _USER, "date": 1_700_000_000, "old_chat_member": {"status": "member", "user": _USER}, "new_chat_member": {"status": "kicked", "user": _USER, "until_date": 0}}},
    {"update_id": 6, "pre_checkout_query": {"id": "p", "from": _USER, "currency": "XTR", "total_amount": 5, "invoice_payload": "x"}},
    {"update_id": 7, "message": _MESSAGE | {"reply_to_message": _MESSAGE | {"text": "r"}, "forward_origin": {"type": "hidden_user", "date": 1, "sender_user_name": "n"}, "text": "t"}},
    {"update_id": 8, "message": _MESSAGE | {"text": "t", "forward_origin": {"type": "from_the_future"}}},
    {"update_id": 9, "message": {"message_id": "five"}},
    {"update_id": 10, "from_the_future": {"a": 1}},
]  # fmt: skip
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("SendMessage", {"chat_id": 7, "text": "t", "link_preview_options": {"is_disabled": True}, "reply_markup": {"inline_keyboard": [[{"text": "b", "url": "https://t.me"}]]}}),
    ("EditMessageText", {"chat_id": 7, "message_id": 5, "text": "t", "parse_mode": "HTML"}),
    ("AnswerCallbackQuery", {"callback_query_id": "q", "text": "t"}),
    ("SendPhoto", {"chat_id": 7, "photo": "file", "caption": "c"}),
    ("SendMessage", {"chat_id": 7}),
]  # fmt: skip

_PROGRAM = """
import json, re, sys
import pydantic

def touched():
    return pydantic.ConfigDict, pydantic.BaseModel.__dict__["model_rebuild"]

before, heavy = touched(), ()
if sys.argv[1] == "deferred":
    import lib.bot.wiring, lib.bot.handle, lib.bot.notifications
    heavy = ("google.cloud.tasks_v2", "grpc", "pydantic_settings", "segno", "httpx", "aiohttp", "flask")
import aiogram
from aiogram import methods, types
from aiogram.methods.base import Response
from pydantic import ValidationError

updates, calls = json.loads(sys.stdin.read())
said = {"pydantic_untouched": before == touched(), "heavy": [name for name in heavy if name in sys.modules]}
said |= {"built": sorted(
    name for module in (types, methods) for name in module.__all__
    if getattr(getattr(module, name), "__pydantic_complete__", False)
)}

def told(work):
    try:
        return repr(work())
    except ValidationError as error:
        return [[str(problem["loc"]), problem["type"]] for problem in error.errors()]

said["updates"] = [told(lambda: types.Update.model_validate(update)) for update in updates]
said["dumped"] = [
    types.Update.model_validate(update).model_dump_json(exclude_none=True)
    for update, seen in zip(updates, said["updates"]) if isinstance(seen, str)
]
said["calls"] = [told(lambda: getattr(methods, name)(**arguments)) for name, arguments in calls]
said["response"] = told(lambda: Response[types.Message].model_validate(
    {"ok": True, "result": updates[0]["message"]}
))
said["error"] = told(lambda: Response[bool].model_validate(
    {"ok": False, "error_code": 429, "description": "d", "parameters": {"retry_after": 3}}
))
# in another order than aiogram's own loop, so that none depends on another's having been built before it
said["schemas"] = {}
for module in (methods, types) if "schemas" in sys.argv else ():
    for name in module.__all__:
        model = getattr(module, name)
        if hasattr(model, "model_fields"):
            model.model_rebuild()
            said["schemas"][name] = {field: re.sub("0x[0-9a-f]+", "", str(info.annotation)) for field, info in model.model_fields.items()}
            assert model.__pydantic_complete__, name
print(json.dumps(said))
"""


def observed(*how: str) -> dict[str, Any]:
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *how],
        input=json.dumps([UPDATES, CALLS]),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    result: dict[str, Any] = json.loads(run.stdout)
    return result


@pytest.fixture(scope="module")
def both() -> tuple[dict[str, Any], dict[str, Any]]:
    with ThreadPoolExecutor(2) as pool:
        deferred, plain = pool.map(observed, ("deferred", "plain"))
    return deferred, plain


def test_importing_the_bot_builds_none_of_aiograms_models(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    deferred, plain = both
    # `Response` has its own, plain configuration and two fields of types that stay unbuilt: it costs nothing
    assert deferred["built"] in ([], ["Response"])
    assert len(plain["built"]) > 350, "aiogram itself defers now: lib/bot/deferred_models.py can go"


@pytest.mark.parametrize("part", ["updates", "dumped", "calls", "response", "error"])
def test_models_built_late_are_the_same(both: tuple[dict[str, Any], dict[str, Any]], part: str) -> None:
    deferred, plain = both
    assert deferred[part] == plain[part]


@pytest.mark.full
def test_every_model_built_late_has_the_same_fields() -> None:
    deferred, plain = observed("deferred", "schemas")["schemas"], observed("plain", "schemas")["schemas"]
    assert len(plain) > 500
    assert deferred == plain


def test_pydantic_is_left_as_it_was(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    assert both[0]["pydantic_untouched"]


def test_nothing_else_heavy_comes_with_the_bot(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    assert both[0]["heavy"] == []
