"""Reading updates and charges without aiogram."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lib.domain.updates import Incoming
from lib.telegram import intake, payments

ROOT = Path(__file__).resolve().parents[3]


def test_an_update_is_its_id_its_text_and_what_it_says() -> None:
    incoming, update = intake.read(b'{"update_id": 17, "message": {"text": "\xd0\xb4\xd0\xb0"}}')
    assert (incoming.update_id, incoming.correlation_id) == (17, "tg-17")
    assert update["message"]["text"] == "да"
    assert json.loads(incoming.body) == update


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"\xff",
        b"[1]",
        b"null",
        b"17",
        b'"17"',
        b"{}",
        b"[" * 500_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        *(
            f'{{"update_id": {value}}}'.encode()
            for value in ('"1"', "-1", "0", "1.0", "true", "null", "[]", "NaN", "Infinity", str(2**63), "9" * 5000)
        ),
    ],
)
def test_what_has_no_key_is_unreadable(body: bytes) -> None:
    with pytest.raises(intake.UnreadableUpdate):
        intake.read(body)


def test_what_postgres_can_not_hold_does_not_get_into_the_stored_text() -> None:
    incoming, _ = intake.read(b'{"update_id": 1, "a": "\\u0000\\ud800"}')
    assert "\x00" not in incoming.body
    incoming.body.encode("utf-8")


def charge(**payment: Any) -> dict[str, Any]:
    paid = {"currency": "XTR", "total_amount": 100, "telegram_payment_charge_id": "stx" * 100}
    return {"update_id": 1, "message": {"successful_payment": paid | payment}}


INCOMING = Incoming(1, "{}", "tg-1")


@pytest.mark.parametrize(("currency", "provider"), [("XTR", "stars"), ("RUB", "card"), (None, "card"), ([], "card")])
def test_a_charge_is_recorded_under_telegrams_id_of_any_length(currency: object, provider: str) -> None:
    event = payments.read_charge(charge(currency=currency), INCOMING)
    assert event is not None
    assert (event.provider, event.external_id, event.money) == (provider, "stx" * 100, None)
    assert json.loads(event.body)["message"]["successful_payment"]["total_amount"] == 100


@pytest.mark.parametrize(
    "update",
    [
        {},
        {"message": None},
        {"message": "paid"},
        {"message": {"successful_payment": True}},
        {"message": {"successful_payment": {}}},
        {"message": {"reply_to_message": charge()["message"]}},
    ],
)
def test_what_is_no_charge_is_none(update: dict[str, Any]) -> None:
    assert payments.read_charge(update, INCOMING) is None


def test_the_payment_path_imports_no_aiogram() -> None:
    """Telegram waits ten seconds for a pre-checkout; aiogram's import alone takes seconds on a small instance."""
    code = "import sys, lib.telegram.intake; sys.exit('aiogram' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False).returncode == 0


def test_the_customers_path_imports_nothing_of_operators() -> None:
    """A cold /start pays for each import, so operators' code is loaded when an operator comes."""
    code = "import sys, lib.bot.handle, lib.bot.wiring; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, timeout=60, check=True, capture_output=True, text=True
    )
    assert {"lib.domain.audit", "lib.domain.operators"}.isdisjoint(done.stdout.split())
