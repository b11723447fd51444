"""Reading updates and charges without aiogram."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from lib.domain import accounts
from lib.domain.checkout import Checkout, Refusal
from lib.domain.inbox import StoredEvent
from lib.domain.settlement import Money
from lib.domain.updates import Incoming
from lib.payments import telegram_charges
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


PURCHASE = UUID("3d5f6a0c-0f1e-4c1e-9a60-0b8f6c1f0a11")


@pytest.mark.proves("N-5.ids")
@pytest.mark.parametrize(
    ("currency", "provider", "money"),
    [
        ("XTR", "stars", Money(100, "XTR", "", PURCHASE)),
        ("RUB", "card", Money(100, "RUB", "", PURCHASE)),
        ("XXX", "card", None),
        (None, "card", None),
        ([], "card", None),
    ],
)
def test_a_charge_is_read_under_telegrams_id_of_any_length(
    currency: object, provider: str, money: Money | None
) -> None:
    event = payments.read_charge(charge(currency=currency, invoice_payload=str(PURCHASE)), INCOMING)
    assert event is not None
    assert (event.provider, event.kind, event.external_id, event.money) == (provider, "charge", "stx" * 100, money)
    assert bool(event.reason) == (money is None)
    assert json.loads(event.body)["message"]["successful_payment"]["total_amount"] == 100
    stored = StoredEvent(provider, event.external_id, event.body, event.via, event.correlation_id, "new")
    assert telegram_charges.read(stored) == event


@pytest.mark.parametrize("amount", [0, -1, None, True, "100", 100.0, 2**63, [100]])
def test_what_is_no_amount_is_no_money(amount: object) -> None:
    event = payments.read_charge(charge(total_amount=amount), INCOMING)
    assert event is not None
    assert (event.money, event.reason, event.concerns_money) == (None, "no amount or currency", True)


@pytest.mark.parametrize("payload", [None, "", "x", 17, [str(PURCHASE)], str(PURCHASE)[:-1]])
def test_a_foreign_payload_names_no_purchase(payload: object) -> None:
    event = payments.read_charge(charge(invoice_payload=payload), INCOMING)
    assert event is not None
    assert event.money == Money(100, "XTR", "", None)


@pytest.mark.parametrize("charge_id", ["c" * 513, "c" * 100_000, "a\x00b", "\ud800", "", None, 17])
def test_a_charge_id_that_can_not_be_a_key_is_digested(charge_id: object) -> None:
    event = payments.read_charge(charge(telegram_payment_charge_id=charge_id), INCOMING)
    assert event is not None
    assert event.external_id.startswith("sha256:")
    assert event == payments.read_charge(charge(telegram_payment_charge_id=charge_id), INCOMING)


def test_every_refusal_is_said_in_each_language() -> None:
    assert set(payments.REFUSALS) == set(Refusal)
    for said in payments.REFUSALS.values():
        assert set(said) == set(accounts.LANGUAGES)
        assert all(0 < len(text) <= 200 for text in said.values())


@pytest.mark.parametrize("query", [None, [], {}, {"id": 17}, {"id": ""}, {"id": "a\x00"}, {"id": "1" * 257}])
def test_a_question_without_an_id_is_none(query: object) -> None:
    assert payments.read_checkout(query) is None


def test_a_question_of_any_kind_is_read() -> None:
    bare = payments.read_checkout({"id": "q"})
    assert bare == Checkout("q", "card", None, 0, 0, "")
    odd = {"id": "q", "from": [], "currency": "\x00", "total_amount": True, "invoice_payload": {}}
    assert payments.read_checkout(odd) == bare


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
