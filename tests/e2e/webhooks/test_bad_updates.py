"""Whatever comes to Telegram's webhook gets its defined answer, one log line, and costs no customer anything."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.webhooks.steps import (
    RIGHT,
    SECRET_HEADER,
    FunctionLog,
    click_update,
    message_update,
    new_customer,
    new_telegram_id,
    new_update_id,
    post_update,
)
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.system.system import System

_MIB = 1024 * 1024


def _text(update: dict[str, Any]) -> bytes:
    return json.dumps(update).encode()


def _of_kind(kind: str, content: Any) -> bytes:
    return _text({"update_id": new_update_id(), kind: content})


def _message(text: str = "/start", **more: Any) -> bytes:
    return _text(message_update(new_telegram_id(), text, **more))


def _deep_reply(levels: int) -> bytes:
    inner: dict[str, Any] = {}
    for _ in range(levels):
        inner = {"message_id": 1, "date": 1, "chat": {"id": 1, "type": "private"}, "reply_to_message": inner}
    return _message(reply_to_message=inner)


def _with_id(value: str) -> bytes:
    return f'{{"update_id": {value}, "message": {{}}}}'.encode()


_amounts = itertools.count(1)  # without an id, other content is another charge


@dataclass(frozen=True)
class Row:
    """One kind of bad input: what is sent, the answer, the events logged; `answered`: the person gets a screen."""

    make: Callable[[], bytes]
    status: int
    logged: str
    answered: bool = False
    secret: str | bytes | None = RIGHT
    method: str = "POST"


_UNREADABLE = "telegram_webhook_unreadable"
_NOT_UNDERSTOOD = "update_not_understood"

ROWS = {
    # who sends, and how
    "GET": Row(_message, 405, "telegram_webhook_not_post", method="GET"),
    "PUT": Row(_message, 405, "telegram_webhook_not_post", method="PUT"),
    "wrong secret": Row(_message, 403, "telegram_webhook_bad_secret", secret="wrong"),
    "no secret": Row(_message, 403, "telegram_webhook_bad_secret", secret=None),
    "empty secret": Row(_message, 403, "telegram_webhook_bad_secret", secret=""),
    "secret beyond ASCII": Row(_message, 403, "telegram_webhook_bad_secret", secret="пароль".encode()),
    "secret of raw bytes": Row(_message, 403, "telegram_webhook_bad_secret", secret=b"\xff\xfe\x80"),
    "10 MiB with a wrong secret": Row(lambda: b"x" * 10 * _MIB, 403, "telegram_webhook_bad_secret", secret="wrong"),
    # not an update
    "nothing": Row(lambda: b"", 400, _UNREADABLE),
    "not JSON": Row(lambda: b"update_id=1", 400, _UNREADABLE),
    "half of an update": Row(lambda: _message()[:-20], 400, _UNREADABLE),
    "not UTF-8": Row(lambda: '{"update_id": 1, "message": "привет"}'.encode("cp1251"), 400, _UNREADABLE),
    "UTF-16": Row(lambda: _message().decode().encode("utf-16"), 400, _UNREADABLE),
    "10 MiB": Row(lambda: _message("x" * 10 * _MIB), 413, "telegram_webhook_too_large"),
    "a little over 1 MiB": Row(lambda: _message("x" * _MIB), 413, "telegram_webhook_too_large"),
    "a list": Row(lambda: b"[1, 2]", 400, _UNREADABLE),
    "a number": Row(lambda: b"17", 400, _UNREADABLE),
    "null": Row(lambda: b"null", 400, _UNREADABLE),
    "nesting bomb": Row(lambda: b"[" * 500_000, 400, _UNREADABLE),
    "nesting bomb of objects": Row(lambda: b'{"a":' * 150_000 + b"1" + b"}" * 150_000, 400, _UNREADABLE),
    # without its id
    "no update_id": Row(lambda: b'{"message": {}}', 400, _UNREADABLE),
    "update_id a text": Row(lambda: _with_id('"17"'), 400, _UNREADABLE),
    "update_id negative": Row(lambda: _with_id("-1"), 400, _UNREADABLE),
    "update_id zero": Row(lambda: _with_id("0"), 400, _UNREADABLE),
    "update_id huge": Row(lambda: _with_id("9" * 30), 400, _UNREADABLE),
    "update_id of 5000 digits": Row(lambda: _with_id("9" * 5000), 400, _UNREADABLE),
    "update_id a fraction": Row(lambda: _with_id("17.0"), 400, _UNREADABLE),
    "update_id true": Row(lambda: _with_id("true"), 400, _UNREADABLE),
    "update_id null": Row(lambda: _with_id("null"), 400, _UNREADABLE),
    "update_id not a number": Row(lambda: _with_id("NaN"), 400, _UNREADABLE),
    # genuine, and nothing for this bot
    "a kind it does not use": Row(
        lambda: _of_kind("poll_answer", {"poll_id": "1", "option_ids": []}), 200, "update_end"
    ),
    "a kind not known yet": Row(lambda: _of_kind("telepathy", {"thought": 1}), 200, "update_end"),
    "no kind at all": Row(lambda: _text({"update_id": new_update_id()}), 200, "update_end"),
    "a message that is a text": Row(lambda: _of_kind("message", "hello"), 200, "update_end"),
    "a message that is null": Row(lambda: _of_kind("message", None), 200, "update_end"),
    "an empty message": Row(lambda: _of_kind("message", {}), 200, _NOT_UNDERSTOOD),
    "a message without a sender": Row(
        lambda: _of_kind("message", {"message_id": 1, "date": 1, "chat": {"id": -5, "type": "channel"}}),
        200,
        "update_end",
    ),
    "an empty click": Row(lambda: _of_kind("callback_query", {}), 200, _NOT_UNDERSTOOD),
    "a pre-checkout without anything": Row(lambda: _of_kind("pre_checkout_query", {}), 200, "update_end"),
    "a pre-checkout that is a list": Row(lambda: _of_kind("pre_checkout_query", [1]), 200, "update_end"),
    "a payment without charge id": Row(
        lambda: _message(successful_payment={"currency": "RUB", "total_amount": next(_amounts)}),
        200,
        "payment_unmatched",
    ),
    # genuine, with parts that this version does not know
    "unknown fields": Row(lambda: _message(aura="blue", mood={"is": ["new"]}), 200, "update_end", answered=True),
    "unknown forward_origin": Row(
        lambda: _message(forward_origin={"type": "dream", "date": 1}), 200, _NOT_UNDERSTOOD, answered=True
    ),
    "unknown type of chat in a reply": Row(
        lambda: _message(reply_to_message={"message_id": 1, "date": 1, "chat": {"id": 1, "type": "cave"}, "gift": 3}),
        200,
        _NOT_UNDERSTOOD,
        answered=True,
    ),
    "reply nested 300 times": Row(lambda: _deep_reply(300), 400, "telegram_webhook_unreadable"),
    "numbers that are none": Row(
        lambda: _message().replace(b'"message_id": 1', b'"message_id": 1, "mood": NaN'),
        400,
        "telegram_webhook_unreadable",
    ),
    # names and texts
    "NUL in a name": Row(lambda: _message(name="E\x00ve"), 200, "update_end", answered=True),
    "lone surrogate in a name": Row(lambda: _message(name="E\ud800ve"), 200, "update_end", answered=True),
    "lone surrogate in a text": Row(lambda: _message("/start \udfff"), 200, "update_end", answered=True),
    "NUL in a text": Row(lambda: _message("/start \x00"), 200, "update_end", answered=True),
    "tags in a name": Row(lambda: _message(name="<b>&<script>"), 200, "update_end", answered=True),
    "name of 100 000 letters": Row(lambda: _message(name="x" * 100_000), 200, "update_end", answered=True),
    "text of 100 000 letters": Row(lambda: _message("x" * 100_000), 200, "update_end", answered=True),
    # deep links
    "deep link of junk": Row(lambda: _message("/start ../../etc?a=b&c=d"), 200, "update_end", answered=True),
    "deep link of SQL": Row(lambda: _message("/start '; drop table accounts; --"), 200, "update_end", answered=True),
    "deep link of 4000 letters": Row(lambda: _message("/start " + "a" * 4000), 200, "update_end", answered=True),
    "deep link beyond ASCII": Row(lambda: _message("/start привет😀"), 200, "update_end", answered=True),
}


@pytest.mark.parametrize("name", ROWS)
async def test_bad_input_has_its_answer_and_one_log_line(system: System, name: str) -> None:
    row = ROWS[name]
    log = FunctionLog.of(system, "telegram_webhook")
    body = row.make()
    stored = "select count(*) as n, count(*) filter (where done_at is null) as undone from updates"
    before = (await system.sql(stored))[0]
    calls = len(system.telegram.calls)
    answer = await post_update(system, body, secret=row.secret, method=row.method)
    assert answer.status_code == row.status
    assert "Traceback" not in answer.text
    assert log.told() == [row.logged]
    [line] = [line for line in log.lines() if line["event"] == row.logged]
    assert "Traceback" not in json.dumps(line)
    after = (await system.sql(stored))[0]
    # what was answered 200 is stored and done; what was refused left nothing
    assert (after["n"] - before["n"], after["undone"]) == (int(row.status == 200), before["undone"])
    if row.status == 200:
        assert line["correlation_id"].startswith("tg-")
        made = [call for call in system.telegram.calls[calls:] if call.method != "answerCallbackQuery"]
        spoke = answer.json().get("method") in {"sendMessage", "editMessageText"} or bool(made)
        assert spoke == row.answered
    alive = await post_update(system, message_update(new_telegram_id()))
    assert alive.json()["method"] == "sendMessage"


BUTTONS: dict[str, Any] = {
    "junk": "💣" * 10,
    "nothing": None,
    "nothing but colons": ":::::",
    "an order that does not exist": "order_id=9223372036854775807",
    "an order beyond bigint": "order_id=9" + "9" * 25,
    "an order that is a word": "order_id=mine",
    "a negative version": "pay:cryptobot:-1",
    "a version of the future": "pay:cryptobot:99",
    "a forged tariff": "tariff:free:1",
    "a forged period": "period:100000:1",
    "a forged method": "pay:gold:1",
    "a forged language": "lang:xx",
    "a NUL": "go:\x00menu",
    "a lone surrogate": "go:\ud800",
    "5000 letters": "x" * 5000,
}


@pytest.mark.parametrize("name", BUTTONS)
async def test_a_forged_button_leads_somewhere_and_changes_nothing(system: System, name: str) -> None:
    customer = new_customer(system)
    screen = await customer.start()
    log = FunctionLog.of(system, "telegram_webhook")
    calls = len(system.telegram.calls)
    answer = await post_update(system, click_update(customer, screen, BUTTONS[name]))
    assert answer.status_code == 200
    assert answer.json()["method"] == "answerCallbackQuery"
    assert log.told() == ["update_end"]
    made = [call.method for call in system.telegram.calls[calls:]]
    assert made == ["editMessageText"]
    owned = (
        "select count(o.id) + count(s.id) as n from accounts a left join orders o on o.account_id = a.id"
        " left join subscriptions s on s.account_id = a.id where a.telegram_id = :id"
    )
    assert await system.sql(owned, id=customer.user.id) == [{"n": 0}]


@pytest.mark.parametrize(
    ("field", "value"),
    [("data", 17), ("message", {"message_id": 1, "chat": {"id": 1}, "date": "noon"}), ("from", {"id": "me"})],
)
async def test_a_click_of_unknown_shape_is_recorded(system: System, field: str, value: Any) -> None:
    customer = new_customer(system)
    update = click_update(customer, await customer.start(), "go:menu")
    update["callback_query"][field] = value
    log = FunctionLog.of(system, "telegram_webhook")
    answer = await post_update(system, update)
    assert (answer.status_code, answer.json()) == (200, {})
    assert log.told() == [_NOT_UNDERSTOOD]


async def test_a_body_without_a_length_is_not_read_to_its_end(system: System) -> None:
    """Chunked, so its length is not said beforehand; reading stops at 1 MiB."""
    log = FunctionLog.of(system, "telegram_webhook")
    port = system.fleet.processes["telegram_webhook"][0].port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n{SECRET_HEADER}: {system.webhook_secret}\r\n\r\n"
    )
    writer.write(head.encode())
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    for _ in range(20):  # 1.25 MiB, and the end of the body never comes
        writer.write(chunk)
    status = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    assert b" 413 " in status
    assert log.told() == ["telegram_webhook_too_large"]


async def test_a_sender_who_hangs_up_in_the_middle_is_one_log_line(system: System) -> None:
    log = FunctionLog.of(system, "telegram_webhook")
    port = system.fleet.processes["telegram_webhook"][0].port
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n{SECRET_HEADER}: {system.webhook_secret}\r\n\r\n"
    writer.write(head.encode() + b'{"update_id": 1')
    await writer.drain()
    writer.close()
    await writer.wait_closed()

    async def is_logged() -> bool:
        return bool(log.lines())

    await until(is_logged, "a log line")
    assert log.told() == ["telegram_webhook_client_disconnected"]
    assert "Traceback" not in log.text()


async def test_the_same_update_twice_at_the_same_moment(system: System) -> None:
    customer = new_customer(system)
    update = message_update(customer.user.id, "/buy")
    system.arm("update.mid-transaction", "sleep 0.5")
    answers = await asyncio.gather(*(post_update(system, update) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5
    # every copy is given the one stored reply
    assert [answer.json() for answer in answers] == [answers[0].json()] * 5
    rows = await system.sql(
        "select f.version from fsm f join accounts a on a.id = f.account_id where a.telegram_id = :id",
        id=customer.user.id,
    )
    assert rows == [{"version": 1}]


async def test_an_id_that_postgres_can_not_hold_in_a_reply_is_kept_and_given_up(system: System) -> None:
    """A query id with a NUL comes back in the reply, which jsonb refuses: 200, kept, tried again, nothing is held up."""
    customer = new_customer(system)
    update = click_update(customer, await customer.start(), "go:menu")
    update["callback_query"]["id"] = "a\x00b"
    log = FunctionLog.of(system, "telegram_webhook")
    answer = await post_update(system, update)
    assert answer.status_code == 200
    assert log.told() == ["update_kept"]
    update_id = update["update_id"]
    outbox_id = (
        await system.sql("select id from outbox where cast(payload ->> 'update_id' as bigint) = :id", id=update_id)
    )[0]["id"]

    async def is_given_up() -> bool:
        await system.call("task_update", json={"outbox_id": outbox_id, "update_id": update_id})
        rows = await system.sql("select done_at from updates where update_id = :id", id=update_id)
        return rows[0]["done_at"] is not None

    await until(is_given_up, "the update to be given up")
    rows = await system.sql("select attempts, last_error from updates where update_id = :id", id=update_id)
    assert rows[0]["attempts"] >= 20
    assert rows[0]["last_error"]


async def test_deep_links_are_taken_when_telegram_could_have_made_them(system: System) -> None:
    taken = {}
    for payload in ("r_AbC-9", "a" * 64, "junk!", "a" * 65, "two words", ""):
        telegram_id = new_telegram_id()
        await post_update(system, message_update(telegram_id, f"/start {payload}"))
        rows = await system.sql("select start_payload from accounts where telegram_id = :id", id=telegram_id)
        taken[payload] = rows[0]["start_payload"]
    assert taken == {
        "r_AbC-9": "r_AbC-9",
        "a" * 64: "a" * 64,
        "junk!": None,
        "a" * 65: "a" * 64,
        "two words": None,
        "": None,
    }
