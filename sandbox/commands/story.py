"""The demo's steps: one trial, purchases, a node that dies, every way to pay, ends of access, and the books."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from sandbox.commands.demo_checks import ELSEWHERE, MEGABYTE, OK, SOME_SECONDS, DemoChecks
from sandbox.commands.life_story import LifeStory
from sandbox.commands.money_story import MoneyStory
from sandbox.node.lab import TunnelClient
from sandbox.system.customer import Customer, buttons_of, need, same_key, text_of

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox.commands.teller import Teller
    from sandbox.system.customer import Message
    from sandbox.system.system import System

_CYRILLIC = re.compile(r"[\u0400-\u04ff]")
_COPIES = 20
_SOLD = 7
"""So often 30 days are sold for roubles: to Anna, Dora and Emil twice, to Clara once."""
_BETWEEN_MESSAGES = timedelta(minutes=5)  # of sweep_messages: functions/table.json
_REMINDED = timedelta(days=3)  # before the end, at the earliest (product.md#messages)


class Story:
    """The steps, in order. Each leaves what the next ones need."""

    def __init__(self, system: System, tell: Teller, megabytes: int, *, patience_s: float | None = None) -> None:
        self._system = system
        self._tell = tell
        self._size = megabytes * MEGABYTE
        self._checks = DemoChecks(system)
        self._patience_s = patience_s
        self._anna = self._person(1001, "Anna", "ru")
        self._boris = self._person(1002, "Boris", "en")
        self._clara = self._person(1003, "Clara", "en")
        self._dora = self._person(1004, "Dora", "en")
        self._emil = self._person(1005, "Emil", "en")
        self._links: dict[str, str] = {}
        self._on_each: dict[str, list[str]] = {}

    def _person(self, telegram_id: int, name: str, language: str) -> Customer:
        """A customer who, when patience ends, presses again, or lets some seconds go by: what was lost comes again by then."""
        user = self._system.telegram.user(telegram_id, name, language_code=language)
        return Customer(user, self._patience_s, lambda: self._system.travel(SOME_SECONDS))

    async def tell(self) -> None:
        """All of it.

        Raises:
            Exception: of the first step that did not hold.
        """
        life = LifeStory(self._system, self._tell, self._checks)
        await self._checks.origin.start()
        try:
            await self._anna_comes()
            await self._boris_tries()
            await self._anna_buys()
            await self._webhooks_repeat()
            await self._node_fails()
            await life.node_is_lost_and_refilled(self._links, self._on_each)
            await self._anna_buys_again()
            self._on_each["Anna"] = await life.reissued_under_a_download(self._anna, self._on_each["Anna"])
            self._links["Anna"] = self._on_each["Anna"][0]
            await MoneyStory(self._system, self._tell, self._checks, self._dora, self._emil).tell()
            await life.auto_renewal_turned_on(self._dora)
            await self._trial_ends()
            await life.renewed_by_itself(self._dora)
            await self._anna_is_reminded()
            await self._access_ends()
            await self._books_are_right()
        finally:
            await self._checks.origin.stop()

    # -- the steps -----------------------------------------------------------------------------------------------------

    async def _anna_comes(self) -> None:
        async with self._tell.step("Anna starts the bot and is answered in Russian, with a free trial offered"):
            menu = await self._anna.start()
            need("go:trial" in buttons_of(menu), f"no trial offered: {buttons_of(menu)}")
            need(_CYRILLIC.search(text_of(menu)), f"not in Russian: {text_of(menu)}")
        async with self._tell.step("she chooses English"):
            before = menu["message_id"]
            await self._anna.follow(
                ("go:language", "lang:en"),
                lambda message: (
                    message["message_id"] >= before and "go:buy" in buttons_of(message) and _is_english(message)
                ),
                "the menu in English",
            )

    async def _boris_tries(self) -> None:
        async with self._tell.step("Boris takes the free trial, and the key comes by itself") as notes:
            await self._boris.start()
            pressed = time.monotonic()
            await self._boris.follow(("go:trial", "trial"), _says_it_began, "the trial")
            link = await self._boris.gets_key()
            notes.append(f"{time.monotonic() - pressed:.2f} s from tap to key")
            self._links["Boris"] = link
        async with self._tell.step("an independent client (sing-box) reads that link") as notes:
            notes.append(await self._checks.pull(link, MEGABYTE))
        async with self._tell.step("Boris is offered no second one"):
            menu = await self._boris.start()
            need("go:trial" not in buttons_of(menu), "the trial is offered again")

    async def _anna_buys(self) -> None:
        async with self._tell.step("Anna picks a tariff, 30 days and CryptoBot") as notes:
            invoice = await self._checks.order(self._anna)
            notes.append(f"invoice over {invoice['amount']} {invoice['fiat']}")
        async with self._tell.step("a forged webhook is refused and changes nothing"):
            body = self._system.cryptopay.webhook_body(invoice["invoice_id"])
            forged = {"crypto-pay-api-signature": self._system.cryptopay.sign(body, "31337:of-another-app")}
            answer = await self._system.call("cryptobot_webhook", content=body, headers=forged)
            need(answer.status_code == 401, f"answered {answer.status_code}")  # noqa: PLR2004 - wrong signature
            need(await self._checks.payments(invoice) == 0, "it was booked")
        async with self._tell.step("she pays; signed webhook, settled, receipt, key") as notes:
            paid = time.monotonic()
            last = self._anna.user.messages[-1]["message_id"]
            await self._system.cryptopay.pay(invoice["invoice_id"])
            link = await self._anna.gets_key(last)
            notes.append(f"{time.monotonic() - paid:.2f} s from payment to key")
            # a chat takes one message a second: the receipt may follow the key
            await self._anna.sees(
                lambda message: message["message_id"] > last and "Payment received" in text_of(message), "a receipt"
            )
            need(await self._checks.payments(invoice) == 1, "not one payment")
            self._links["Anna"] = link
            self._paid_invoice = invoice
        async with self._tell.step(f"{self._size // MEGABYTE} MB through the tunnel, sha256 compared") as notes:
            notes.append(await self._checks.pull(link, self._size))

    async def _webhooks_repeat(self) -> None:
        async with self._tell.step(f"the same webhook {_COPIES} more times at once: no second effect") as notes:
            end, told = await self._checks.end("Anna"), len(self._anna.user.messages)
            before = len(self._checks.answers(self._paid_invoice))
            await self._system.cryptopay.send_webhook(self._paid_invoice["invoice_id"], copies=_COPIES, parallel=True)
            answers = (await self._checks.all_delivered(self._paid_invoice))[before:]
            # at least: when the first one was lost and her own tap settled it, that one comes again as well
            need(answers.count(OK) >= _COPIES, f"answered {answers}")
            need(await self._checks.payments(self._paid_invoice) == 1, "booked again")
            need(await self._checks.end("Anna") == end, "the end moved")
            need(len(self._anna.user.messages) == told, "another message was sent")
            notes.append(f"{_COPIES} x 200, one payment, one receipt")

    async def _node_fails(self) -> None:
        async with self._tell.step("one of the two VPN nodes loses power"):
            await self._system.nodes[0].kill()
        async with self._tell.step("Clara pays meanwhile, and her key comes from the other") as notes:
            invoice = await self._checks.order(self._clara)
            last = self._clara.user.messages[-1]["message_id"]
            paid = time.monotonic()
            await self._system.cryptopay.pay(invoice["invoice_id"])
            link = self._links["Clara"] = await self._clara.gets_key(last)
            notes.append(f"{time.monotonic() - paid:.2f} s from payment to key")
            answers = await self._checks.all_delivered(invoice)
            need(answers.count(OK) == 1, f"the webhook was answered {answers}")
            need(self._checks.node_of(link) == 1, "her key is for the node that is dead")
        async with self._tell.step("bytes flow for her through it") as notes:
            notes.append(await self._checks.pull(link, MEGABYTE))

    async def _anna_buys_again(self) -> None:
        async with self._tell.step("Anna buys 30 more days: same key, later end") as notes:
            before = await self._checks.end("Anna")
            invoice = await self._checks.order(self._anna)
            last = self._anna.user.messages[-1]["message_id"]
            await self._system.cryptopay.pay(invoice["invoice_id"])
            await self._anna.sees(
                lambda message: message["message_id"] > last and "Payment received" in text_of(message), "a receipt"
            )
            await self._system.settled()
            after = await self._checks.end("Anna")
            need(after - before == timedelta(days=30), f"the end moved by {after - before}")
            need(same_key(await self._anna.shown_key(), self._links["Anna"]), "another key")
            notes.append(f"until {after:%Y-%m-%d}")

    async def _trial_ends(self) -> None:
        async with self._tell.step("72 hours pass: the trial ends, Boris is told and let in no more"):
            await self._checks.pass_time(timedelta(hours=72))
            await self._checks.told_of_the_end(self._boris)
            await self._checks.refused("Boris", self._on_each["Boris"])
        async with self._tell.step("Anna and Clara, who paid, go on"):
            await self._checks.pull_all((self._links["Anna"], self._links["Clara"]), MEGABYTE)

    async def _anna_is_reminded(self) -> None:
        async with self._tell.step(
            "in the last three days of her access Anna is reminded, with the time left"
        ) as notes:
            last = self._anna.user.messages[-1]["message_id"]
            end = await self._checks.end("Anna")
            await self._checks.pass_time(_by_day(end - _REMINDED) - self._system.clock.now())
            told: list[Message] = []

            async def reminded() -> object:
                messages = self._anna.user.messages
                told[:] = [one for one in messages if one["message_id"] > last and "Access ends in" in text_of(one)]
                return told

            await self._checks.by_schedule(reminded, _BETWEEN_MESSAGES, "Anna is reminded")
            need("go:buy" in buttons_of(told[-1]), f"nothing to extend it by: {buttons_of(told[-1])}")
            notes.append(text_of(told[-1]).partition(":")[0].lower())

    async def _access_ends(self) -> None:
        async with (
            TunnelClient(self._links["Anna"], source=ELSEWHERE, timeout_seconds=60) as client,
            client.stream(self._checks.origin.drip_url) as download,
        ):
            chunks = download.aiter_raw()
            await anext(chunks)
            async with self._tell.step("four days pass while she downloads: access ends, all who paid are told"):
                await self._checks.pass_time(timedelta(days=4))
                for customer in (self._anna, self._clara, self._dora, self._emil):
                    await self._checks.told_of_the_end(customer)
            async with self._tell.step("new connections are refused"):
                await self._checks.refused("Anna", self._on_each["Anna"])
                await self._checks.refused("Clara", self._on_each["Clara"])
            async with self._tell.step("the download that was open") as notes:
                notes.append(await self._checks.fate(chunks, self._links["Anna"]))

    async def _books_are_right(self) -> None:
        system = self._system
        async with self._tell.step("the nodes hold no client, and no work is left"):
            left = await system.sql("select subscription_id from node_clients")
            need(not left, f"node clients left: {left}")
            waiting = await system.sql("select id, target, attempt from outbox where done_at is null")
            need(not waiting, f"work left: {waiting}")
        async with self._tell.step("every invariant holds") as notes:
            violations = await system.invariants()
            need(not violations, f"violated: {violations}")
            for customer in (self._anna, self._boris, self._clara, self._dora, self._emil):
                doubled = [text for text in map(text_of, customer.user.messages) if "Payment received" in text]
                need(len(doubled) == len(set(doubled)), "a receipt was sent twice")
            notes.append("5 customers")
        async with self._tell.step("the books balance") as notes:
            notes.append(await self._checks.balance(_SOLD))
        async with self._tell.step("the books say what the providers say") as notes:
            notes.append(await self._checks.providers_agree())


def _says_it_began(message: Message) -> bool:
    return "go:key" in buttons_of(message) and "go:buy" not in buttons_of(message)


def _by_day(moment: datetime) -> datetime:
    """The next noon (UTC): in quiet hours no customer is reminded."""
    noon = moment.replace(hour=12, minute=0, second=0, microsecond=0)
    return noon if noon >= moment else noon + timedelta(days=1)


def _is_english(message: Message) -> bool:
    return not _CYRILLIC.search(text_of(message))
