"""Who may speak to the webhooks: secrets, signatures, their rotation; a stranger changes nothing."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.webhooks.steps import (
    ONE_OF_EACH,
    SECRET_HEADER,
    SIGNATURE_HEADER,
    another,
    dump,
    effects,
    has_key,
    message_update,
    new_customer,
    order,
    paid_body,
    post,
    post_payment,
    post_update,
)

if TYPE_CHECKING:
    from sandbox.system.system import System


@pytest.mark.proves("N-18")
@pytest.mark.parametrize("currency", ["XTR", "RUB"])
async def test_a_forged_successful_payment_changes_nothing(system: System, currency: str) -> None:
    """Without the right secret not a row of any table is another one afterwards."""
    customer = new_customer(system)
    invoice = await order(system, customer)
    await system.settled()
    payment = {
        "currency": currency,
        "total_amount": 14900,
        "invoice_payload": invoice["payload"],
        "telegram_payment_charge_id": f"forged-{currency}",
        "provider_payment_charge_id": "forged",
    }
    forged = message_update(customer.user.id, successful_payment=payment)
    del forged["message"]["text"]
    before = await dump(system)
    secrets = ["wrong", None, "", system.webhook_secret[:-1], system.webhook_secret.swapcase(), "секрет".encode()]
    answers = [await post_update(system, forged, secret=secret) for secret in secrets]
    assert [answer.status_code for answer in answers] == [403] * len(secrets)
    await system.settled()
    assert await dump(system) == before
    assert sum(len(rows) for rows in before.values()) > 20  # the comparison compared something


@pytest.mark.proves("N-3")
async def test_the_key_is_the_sha256_of_the_token(system: System) -> None:
    customer = new_customer(system)
    invoice = await order(system, customer)
    await system.cryptopay.pay(invoice["invoice_id"], webhook=False)
    body = paid_body(system, invoice)
    token = system.cryptopay_token

    def signed(key: bytes, what: bytes = body) -> str:
        return hmac.new(key, what, hashlib.sha256).hexdigest()

    right = signed(hashlib.sha256(token.encode()).digest())
    again = json.dumps(json.loads(body), indent=1).encode()
    wrong = {
        "the token itself as key": (body, signed(token.encode())),
        "hex of the hash as key": (body, signed(hashlib.sha256(token.encode()).hexdigest().encode())),
        "another token": (body, signed(hashlib.sha256(b"31337:another").digest())),
        "the same JSON written anew": (again, right),
        "a byte more": (body + b" ", right),
        "no signature": (body, None),
        "an empty signature": (body + b"", "0"),
        "a plain hash of the body": (body, hashlib.sha256(body).hexdigest()),
    }
    before = await dump(system)
    for name, (what, signature) in wrong.items():
        answer = await post_payment(system, what, signature=signature)
        assert answer.status_code == 401, name
    assert await dump(system) == before
    answer = await post_payment(system, body, signature=right)
    assert (answer.status_code, answer.json()["outcome"]) == (200, "settled")
    await has_key(customer)
    await system.settled()
    assert await effects(system, customer, invoice) == ONE_OF_EACH


@pytest.mark.proves("N-3")
async def test_tokens_rotate_with_overlap(system: System) -> None:
    """A list of tokens: each of them signs, the first one is what calls are made with, and a removed one signs no more."""
    old, new = system.cryptopay_token, "31337:the-next-token"
    first, second = new_customer(system), new_customer(system)
    bodies = []
    for customer in (first, second):
        invoice = await order(system, customer)
        await system.cryptopay.pay(invoice["invoice_id"], webhook=False)
        bodies.append(paid_body(system, invoice))

    def headers(body: bytes, token: str) -> dict[str, str]:
        return {SIGNATURE_HEADER: system.cryptopay.sign(body, token)}

    async with another(system, "cryptobot_webhook", CRYPTOPAY_TOKEN=f"{new}, {old}") as both:
        answers = [await post(both, body, headers(body, token)) for body, token in zip(bodies, (old, new), strict=True)]
        assert [answer.json().get("outcome") for answer in answers] == ["settled", "settled"]
        foreign = await post(both, bodies[0], headers(bodies[0], "31337:foreign"))
        assert foreign.status_code == 401
    async with another(system, "cryptobot_webhook", CRYPTOPAY_TOKEN=new) as only_new:
        assert (await post(only_new, bodies[0], headers(bodies[0], old))).status_code == 401
        assert (await post(only_new, bodies[0], headers(bodies[0], new))).status_code == 200
    for customer in (first, second):
        await has_key(customer)
    await system.settled()


async def test_webhook_secrets_rotate_with_overlap(system: System) -> None:
    async with another(system, "telegram_webhook", TELEGRAM_WEBHOOK_SECRET="next, current") as both:
        for secret, status in (("next", 200), ("current", 200), ("next, current", 403), ("former", 403)):
            update = message_update(new_customer(system).user.id)
            answer = await post(both, json.dumps(update).encode(), {SECRET_HEADER: secret})
            assert answer.status_code == status, secret


@pytest.mark.proves("N-3")
async def test_transient_trouble_is_5xx_so_that_the_provider_comes_again(system: System) -> None:
    customer = new_customer(system)
    invoice = await order(system, customer)
    await system.cryptopay.pay(invoice["invoice_id"], webhook=False)
    body = paid_body(system, invoice)
    await asyncio.to_thread(system.database.server.kill)
    answer = await post_payment(system, body)
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    assert (await post_payment(system, body, signature="0" * 64)).status_code == 401
    await asyncio.to_thread(system.database.start)
    assert (await post_payment(system, body)).json()["outcome"] == "settled"
    await has_key(customer)
    await system.settled()
    assert await effects(system, customer, invoice) == ONE_OF_EACH


async def test_an_unconfigured_provider_is_503_and_says_so(system: System) -> None:
    async with another(system, "cryptobot_webhook", CRYPTOPAY_TOKEN="") as unset:
        answer = await post(unset, b"{}", {SIGNATURE_HEADER: "0" * 64})
        assert answer.status_code == 503
        assert "cryptobot_webhook_unconfigured" in unset.log.read_text()
