"""Whatever comes to Crypto Pay's webhook gets its defined answer and one log line; money is recorded, nothing else changes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.cryptopay.webhooks import sign
from tests.e2e.webhooks.steps import SECRET_HEADER, FunctionLog, new_customer, order, paid_body, post_payment
from tests.waiting import until

if TYPE_CHECKING:
    from sandbox.system.system import System

_MIB = 1024 * 1024
_BAD_SIGNATURE = "cryptobot_webhook_bad_signature"
_invoices = iter(range(700_000_001, 800_000_000))


def _about(**payload: Any) -> bytes:
    invoice = {
        "invoice_id": next(_invoices),
        "status": "paid",
        "currency_type": "fiat",
        "fiat": "RUB",
        "amount": "149",
        "paid_asset": "USDT",
        "paid_amount": "1.86",
    }
    return json.dumps({"update_id": 1, "update_type": "invoice_paid", "payload": invoice | payload}).encode()


@dataclass(frozen=True)
class Refused:
    """Nothing is recorded of it. A signature of "" is the right one."""

    body: bytes
    status: int
    logged: str
    signature: str | bytes | None = ""
    method: str = "POST"


REFUSED = {
    "GET": Refused(_about(), 405, "cryptobot_webhook_not_post", method="GET"),
    "DELETE": Refused(_about(), 405, "cryptobot_webhook_not_post", method="DELETE"),
    "no signature": Refused(_about(), 401, _BAD_SIGNATURE, signature=None),
    "empty signature": Refused(_about(), 401, _BAD_SIGNATURE, signature=b""),
    "signature beyond ASCII": Refused(_about(), 401, _BAD_SIGNATURE, signature="подпись".encode()),
    "signature of raw bytes": Refused(_about(), 401, _BAD_SIGNATURE, signature=b"\xff\xfe\x80" * 20),
    "signature of another body": Refused(_about(), 401, _BAD_SIGNATURE, signature="a" * 64),
    "signature of 30 kB": Refused(_about(), 401, _BAD_SIGNATURE, signature="a" * 30_000),
    "10 MiB": Refused(b"x" * 10 * _MIB, 413, "cryptobot_webhook_too_large"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_leaves_nothing(system: System, name: str) -> None:
    row = REFUSED[name]
    log = FunctionLog.of(system, "cryptobot_webhook")
    count = "select count(*) as n from payment_events"
    before = await system.sql(count)
    answer = await post_payment(system, row.body, signature=row.signature, method=row.method)
    assert answer.status_code == row.status
    assert "Traceback" not in answer.text
    assert log.told() == [row.logged]
    assert "Traceback" not in json.dumps(log.lines())
    assert await system.sql(count) == before


UNREADABLE = {
    "nothing": b"",
    "not JSON": b"update_id=1&status=paid",
    "not UTF-8": '{"a": "привет"}'.encode("cp1251"),
    "a list": b"[]",
    "a text": b'"paid"',
    "nesting bomb": b"[" * 500_000,
    "nesting bomb of objects": b'{"a":' * 150_000 + b"1" + b"}" * 150_000,
    "no payload": b'{"update_id": 1, "update_type": "invoice_paid"}',
    "payload a list": b'{"update_id": 1, "update_type": "invoice_paid", "payload": []}',
    "no invoice_id": _about(invoice_id=None),
    "invoice_id negative": _about(invoice_id=-17),
    "invoice_id true": _about(invoice_id=True),
    "invoice_id huge": _about(invoice_id=10**4000),
    "unknown update_type without update_id": b'{"update_type": "rain"}',
    "unknown update_type, update_id huge": b'{"update_type": "rain", "update_id": ' + b"9" * 4000 + b"}",
}


@pytest.mark.proves("G-16")
@pytest.mark.parametrize("name", UNREADABLE)
async def test_a_signed_event_is_never_refused_for_its_shape(system: System, name: str) -> None:
    """So many refusals switch a webhook off, and what can't be read may be money."""
    body = UNREADABLE[name]
    outcome = "no_money" if b"rain" in body else "unmatched"
    recorded = "select status, kind, body from payment_events where body = :body"
    for said in (outcome, "repeated"):
        log = FunctionLog.of(system, "cryptobot_webhook")
        answer = await post_payment(system, body)
        assert (answer.status_code, answer.json()["outcome"]) == (200, said)
        assert log.told() == [f"payment_{said}"]
    assert await system.sql(recorded, body=body) == [{"status": outcome, "kind": "other", "body": body}]


async def test_a_sender_who_hangs_up_in_the_middle_is_one_log_line(system: System) -> None:
    log = FunctionLog.of(system, "cryptobot_webhook")
    port = system.fleet.processes["cryptobot_webhook"][0].port
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n{SECRET_HEADER}: {system.webhook_secret}\r\n\r\n"
    writer.write(head.encode() + b'{"update_id": 1')
    await writer.drain()
    writer.close()
    await writer.wait_closed()

    async def is_logged() -> bool:
        return bool(log.lines())

    await until(is_logged, "a log line")
    assert log.told() == ["cryptobot_webhook_client_disconnected"]
    assert "Traceback" not in log.text()


async def test_another_tokens_signature_is_refused_over_a_real_invoice(system: System) -> None:
    invoice = await order(system, new_customer(system))
    body = paid_body(system, await system.cryptopay.pay(invoice["invoice_id"], webhook=False))
    log = FunctionLog.of(system, "cryptobot_webhook")
    assert (await post_payment(system, body, signature=sign(body, "31337:another"))).status_code == 401
    assert log.told() == [_BAD_SIGNATURE]
    assert (await post_payment(system, body)).json()["outcome"] == "settled"


@dataclass(frozen=True)
class Odd:
    """Genuine, and not what was agreed: recorded as unmatched. `changes` go over a real, paid invoice's webhook."""

    reason: str
    changes: dict[str, Any] = field(default_factory=dict)


ODD = {
    "too little": Odd("not the amount agreed", {"amount": "148.99"}),
    "other fiat": Odd("not the amount agreed", {"fiat": "USD"}),
    "fiat in small letters": Odd("a currency that we don't know", {"fiat": "rub"}),
    "a fraction of a kopeck": Odd("not an amount of fiat money that we ask for", {"amount": "149.001"}),
    "amount negative": Odd("no amount or currency", {"amount": "-149"}),
    "amount zero": Odd("no amount or currency", {"amount": "0"}),
    "amount not a number": Odd("no amount or currency", {"amount": "NaN"}),
    "amount infinite": Odd("no amount or currency", {"amount": "Infinity"}),
    "amount with an exponent": Odd("no amount or currency", {"amount": "1e999999999"}),
    "amount with a tiny exponent": Odd("no amount or currency", {"amount": "1e-999999999"}),
    "amount missing": Odd("no amount or currency", {"amount": None}),
    "amount a list": Odd("no amount or currency", {"amount": ["149"]}),
    "fiat a number": Odd("no amount or currency", {"fiat": 643}),
    "crypto invoice": Odd(
        "not an amount of fiat money that we ask for", {"currency_type": "crypto", "asset": "USDT", "amount": "149"}
    ),
    "unknown type of currency": Odd(
        "not an amount of fiat money that we ask for", {"currency_type": "shells", "asset": "SHELL"}
    ),
    "not paid": Odd("the invoice is not paid", {"status": "active"}),
    "unknown status": Odd("the invoice is not paid", {"status": "pending"}),
    "unknown invoice": Odd("no such order", {"invoice_id": 987_654_321, "payload": None}),
    "unknown invoice with a foreign purchase": Odd(
        "no such order", {"invoice_id": 987_654_322, "payload": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"}
    ),
    "unknown invoice with junk for a purchase": Odd(
        "no such order", {"invoice_id": 987_654_323, "payload": "\x00😀'--"}
    ),
    "unknown invoice with a list for a purchase": Odd("no such order", {"invoice_id": 987_654_324, "payload": [1]}),
    "unknown kind of update": Odd("unknown kind of update", {"update_type": "invoice_refunded"}),
}


# A word that is not known may well tell of money, and so may a paid invoice in an update of an unknown kind.
NO_MONEY = {"not paid"}


@pytest.mark.parametrize("name", ODD)
async def test_genuine_but_odd_is_recorded_once_and_grants_nothing(system: System, name: str) -> None:
    row = ODD[name]
    customer = new_customer(system)
    invoice = await order(system, customer)
    await system.cryptopay.pay(invoice["invoice_id"], webhook=False)
    body = paid_body(system, invoice, **row.changes)
    line: dict[str, Any] = {}
    first = "no_money" if name in NO_MONEY else "unmatched"
    for outcome in (first, "repeated"):
        log = FunctionLog.of(system, "cryptobot_webhook")
        answer = await post_payment(system, body)
        assert (answer.status_code, answer.json()["outcome"]) == (200, outcome)
        assert log.told() == [f"payment_{outcome}"]
        [line] = log.lines()
        assert line["severity"] == ("ERROR" if outcome == "unmatched" else "INFO")
    recorded = await system.sql("select status, reason, body from payment_events where id = :id", id=line["event_id"])
    assert [(one["status"], one["reason"], bytes(one["body"])) for one in recorded] == [(first, row.reason, body)]
    assert await system.sql(
        "select o.status, s.id as access from orders o left join subscriptions s on s.account_id = o.account_id"
        " where o.invoice_id = :id",
        id=str(invoice["invoice_id"]),
    ) == [{"status": "open", "access": None}]


SETTLED_ALL_THE_SAME: dict[str, dict[str, Any]] = {
    "too much": {"amount": "149.01"},
    "unknown fields": {"aura": "blue", "mood": {"is": ["new"]}},
    "no paid asset": {"paid_asset": None, "paid_amount": None, "fee_asset": None, "fee_amount": None},
    "paid asset of junk": {"paid_asset": "<b>\x00", "paid_amount": "x"},
    "paid asset that no list has": {"paid_asset": "NEWCOIN", "fee_asset": "NEWCOIN"},
    "paid amount too fine": {"paid_amount": "1e-999999999", "fee_amount": "1e-999999999"},
    "paid amount a list": {"paid_amount": [1], "fee_amount": {}},
    "no purchase id": {"payload": None},
    "amount with zeros": {"amount": "149.00"},
    "amount a number": {"amount": 149.0, "fee_amount": 0.055875},
}


@pytest.mark.parametrize("name", SETTLED_ALL_THE_SAME)
async def test_what_is_not_agreed_upon_does_not_stop_money(system: System, name: str) -> None:
    invoice = await order(system, new_customer(system))
    await system.cryptopay.pay(invoice["invoice_id"], webhook=False)
    log = FunctionLog.of(system, "cryptobot_webhook")
    answer = await post_payment(system, paid_body(system, invoice, **SETTLED_ALL_THE_SAME[name]))
    assert (answer.status_code, answer.json()["outcome"]) == (200, "settled")
    assert log.told() == ["payment_settled"]
