"""The short way to read a typed text gives what the full models give, or leaves it to them."""

from __future__ import annotations

from typing import Any

import pytest
from aiogram import Bot
from aiogram.types import Update

from lib.bot import plain_message

BOT = Bot("42:TEST")
CHAT = {"id": 7, "type": "private", "first_name": "A"}
USER = {"id": 7, "is_bot": False, "first_name": "A"}
MESSAGE: dict[str, Any] = {"message_id": 5, "date": 1_700_000_000, "chat": CHAT, "from": USER, "text": "/start r_x"}
COMMAND = {"type": "bot_command", "offset": 0, "length": 6}


@pytest.mark.parametrize(
    "raw",
    [
        MESSAGE,
        MESSAGE | {"entities": [COMMAND]},
        MESSAGE | {"text": "", "entities": []},
        MESSAGE | {"from": USER | {"last_name": "B", "username": "c", "language_code": "ru", "is_premium": True}},
        MESSAGE | {"chat": CHAT | {"last_name": "B", "username": "c", "id": 2**52}},
        MESSAGE | {"chat": {"id": 8, "type": "private"}},
    ],
)
def test_a_typed_text_is_read_as_the_full_models_read_it(raw: dict[str, Any]) -> None:
    short = plain_message.read(BOT, 3, raw)
    full = Update.model_validate({"update_id": 3, "message": raw}, context={"bot": BOT})
    assert short is not None
    assert short.message is not None
    assert full.message is not None
    without = {"message": {"entities"}}
    assert short.model_dump(exclude=without) == full.model_dump(exclude=without)
    assert short.message.model_fields_set == full.message.model_fields_set - {"entities"}
    for one, other in ((short, full), (short.message, full.message), (short.message.chat, full.message.chat)):
        assert one.bot is other.bot is BOT
    assert short.event_type == full.event_type
    assert short.message.content_type == full.message.content_type
    assert short.message.from_user == full.message.from_user


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "text",
        {},
        {name: value for name, value in MESSAGE.items() if name != "text"},
        {name: value for name, value in MESSAGE.items() if name != "from"},
        MESSAGE | {"photo": []},
        MESSAGE | {"forward_origin": {"type": "from_the_future"}},
        MESSAGE | {"message_id": "5"},
        MESSAGE | {"message_id": True},
        MESSAGE | {"date": 0},
        MESSAGE | {"date": 10**15},
        MESSAGE | {"text": None},
        MESSAGE | {"chat": []},
        MESSAGE | {"chat": CHAT | {"type": "group"}},
        MESSAGE | {"chat": CHAT | {"id": "7"}},
        MESSAGE | {"chat": CHAT | {"bio": "b"}},
        MESSAGE | {"from": USER | {"first_name": None}},
        MESSAGE | {"from": USER | {"is_bot": 0}},
        MESSAGE | {"from": {"id": 7, "first_name": "A"}},
        MESSAGE | {"entities": [COMMAND | {"type": "url"}]},
        MESSAGE | {"entities": [COMMAND | {"offset": None}]},
        MESSAGE | {"entities": [None]},
        MESSAGE | {"entities": {}},
    ],
)
def test_anything_else_is_left_to_the_full_models(raw: object) -> None:
    assert plain_message.read(BOT, 3, raw) is None
