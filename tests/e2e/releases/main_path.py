"""The main path, as customers go it, in parts that different releases may serve."""

from __future__ import annotations

import functools
import json
from datetime import timedelta
from typing import TYPE_CHECKING

from sandbox.system.customer import APPLIED_S, Customer, buttons_of, text_of, urls_of
from tests.waiting import until

if TYPE_CHECKING:
    from sandbox.system.customer import Message
    from sandbox.system.system import System

_TRIAL, _MONTH = timedelta(hours=73), timedelta(days=31)
_PAYMENTS = "select count(*) as n from payments p join orders o on o.id = p.order_id where o.invoice_id = :id"
_CLIENTS = """
select c.node_id from node_clients c join subscriptions s on s.id = c.subscription_id join accounts a on a.id = s.account_id
where a.telegram_id = :person
"""


def person(system: System, telegram_id: int, name: str) -> Customer:
    """A customer who writes in English; the same one whatever system they meet."""
    return Customer(system.telegram.user(telegram_id, name, language_code="en"))


async def try_it(customer: Customer) -> str:
    """/start, the trial, the key that comes by itself."""
    await customer.start()
    await customer.follow(("go:trial", "trial"), lambda message: "go:key" in buttons_of(message), "the trial")
    return await customer.gets_key()


async def buy(system: System, customer: Customer, *, key_comes: bool = True) -> None:
    """An order, its invoice, the provider's webhook, the settlement once; the key, unless they have it."""

    def offered(message: Message) -> Message | None:
        found = [one for one in system.cryptopay.invoices.values() if one["bot_invoice_url"] in urls_of(message)]
        return found[-1] if found and found[-1]["status"] == "active" else None

    invoice = offered(await customer.order("basic", 30, offered))
    assert invoice is not None
    last = customer.user.messages[-1]["message_id"]
    await system.cryptopay.pay(invoice["invoice_id"])
    if key_comes:
        await customer.gets_key(last)
    else:
        await customer.sees(
            lambda message: message["message_id"] > last and "received" in text_of(message), "a receipt"
        )
    await system.cryptopay.send_webhook(invoice["invoice_id"])
    await system.settled()
    assert await system.sql(_PAYMENTS, id=str(invoice["invoice_id"])) == [{"n": 1}]


async def end(system: System, *customers: Customer, paid: bool) -> None:
    """Their time is over: they are told, and no node has them."""
    before = {customer.user.id: customer.user.messages[-1]["message_id"] for customer in customers}
    await system.travel(_MONTH if paid else _TRIAL)
    for sweep in ("expiry", "outbox", "activation", "payments"):
        await system.sweep(sweep)
    await system.settled()
    for customer in customers:
        await customer.sees(functools.partial(_is_the_end, before[customer.user.id]), "the news of the end", APPLIED_S)
        await until(functools.partial(_is_nowhere, system, customer), "no node to have the client")


def _is_the_end(after: int, message: Message) -> bool:
    return message["message_id"] > after and "has ended" in text_of(message)


async def _is_nowhere(system: System, customer: Customer) -> bool:
    return not await system.sql(_CLIENTS, person=customer.user.id)


async def assert_sound(system: System) -> None:
    """By the invariants of this tree; and no function had an error to tell of."""
    await system.settled()
    assert await system.invariants() == []
    told = [
        line
        for log in system.home.logs.glob("*.log")
        for line in log.read_text(errors="replace").splitlines()
        if line.startswith("{") and json.loads(line).get("severity") in {"ERROR", "CRITICAL"}
    ]
    assert told == []
    assert not any("Traceback" in log.read_text(errors="replace") for log in system.home.logs.glob("*.log"))
