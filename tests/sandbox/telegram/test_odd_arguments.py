"""Whatever a call holds, it is answered: taken, or refused with a reason, never with a failure of the stand-in's own."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from sandbox.telegram.inspection import trace
from sandbox.telegram.protocol.arguments import Arguments, Upload
from sandbox.telegram.protocol.method_table import methods
from tests.sandbox.telegram.conftest import png
from tests.sandbox.telegram.test_payments import STARS

if TYPE_CHECKING:
    from tests.sandbox.telegram.conftest import Bench

ODD = (
    "",
    " ",
    "0",
    "-1",
    "x",
    "9" * 30,
    "9" * 5000,
    "[" * 100_000,
    "1e400",
    "true",
    "null",
    '"a"',
    "[]",
    "[[]]",
    "[1]",
    '["x"]',
    "{}",
    '{"type": 1}',
    '{"message_id": "x"}',
    '{"message_id": null}',
    '[{"type": "bold", "offset": "x", "length": []}]',
    '[{"type": "text_mention", "offset": 0, "length": 1, "user": 5}]',
    '[{"type": "text_mention", "offset": 0, "length": 1, "user": {"id": "x"}}]',
    '{"inline_keyboard": 1}',
    '{"inline_keyboard": [[1]]}',
    '{"inline_keyboard": [[{"text": 1, "callback_data": {}}]]}',
    '{"inline_keyboard": [[{"text": "a", "web_app": 1}]]}',
    '{"inline_keyboard": [[]]}',
    '{"type": "chat", "chat_id": []}',
    '{"type": "photo", "media": 1}',
    '[{"type": "photo", "media": "attach://no"}, {"type": "photo", "media": "attach://no"}]',
    '[{"label": [], "amount": {}}]',
    '[{"label": "a", "amount": "1e9"}]',
    '[{"command": {}, "description": []}]',
    "\ud800",
    "@",
    "--5",
    "٣",
)
USUAL = {
    "chat_id": "777",
    "from_chat_id": "777",
    "user_id": "777",
    "message_id": "2",
    "text": "a",
    "caption": "c",
    "action": "typing",
    "commands": '[{"command": "start", "description": "d"}]',
    "media": '{"type": "photo", "media": "attach://photo"}',
    "message_ids": "[5]",
    "ok": "true",
    "prices": '[{"label": "a", "amount": 5}]',
}
NOT_CALLED = {
    "getupdates",
    "setwebhook",
    "deletewebhook",
}  # they wait or change the stand-in itself; tested on their own
EXPECTED = {200, 400, 403, 404, 409, 413, 429, 501}


async def test_every_call_is_answered(bench: Bench) -> None:
    anna = bench.telegram.user(777, "Anna")
    await anna.send("/start")
    await bench.call("sendMessage", chat_id=777, text="mine")
    usual = {name: value for name, value in STARS.items() if isinstance(value, str)} | USUAL
    api = bench.telegram._api
    photo = {"photo": Upload("a.png", png())}
    refused = taken = 0
    for name in sorted(set(api._table) - NOT_CALLED):
        parameters = methods()[name]["parameters"]
        base = {key: usual[key] for key in parameters if key in usual}
        for parameter, value in itertools.product(parameters, ODD):
            files = photo if name in {"sendphoto", "editmessagemedia"} else {}
            code, body = await api.call(name, Arguments(base | {parameter: value}, dict(files)))
            assert code in EXPECTED, (name, parameter, value, body)
            refused += code != 200
            taken += code == 200
    assert refused > 1000
    assert taken > 1000


async def test_the_inspector_shows_a_call_to_a_chat_that_cannot_be(bench: Bench) -> None:
    assert await bench.refusal("sendMessage", chat_id="9" * 5000, text="a") == "Bad Request: chat not found"
    [alone] = trace(bench.telegram)["entries"]
    assert (alone["user"], alone["failed"]) == (0, True)
