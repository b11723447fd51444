"""The demo's chapter about money: Stars, the balance, a card, more than was agreed, a refund."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sandbox.system.customer import buttons_of, need, text_of, urls_of

if TYPE_CHECKING:
    from sandbox.commands.demo_checks import DemoChecks
    from sandbox.commands.teller import Teller
    from sandbox.system.customer import Customer, Message
    from sandbox.system.system import System

_TOP_UP: Final = 750_00
_MORE: Final = 50_00
_TRIES: Final = 5
_A_MINUTE: Final = timedelta(seconds=61)
"""Every sweep of a minute's schedule has its turn in it; and so long an accepted checkout keeps others of its order out."""


class MoneyStory:
    """Of one running system. Dora and Emil start with nothing; what they buy ends within two months."""

    def __init__(self, system: System, tell: Teller, checks: DemoChecks, dora: Customer, emil: Customer) -> None:
        self._system = system
        self._tell = tell
        self._checks = checks
        self._dora = dora
        self._emil = emil

    async def tell(self) -> None:
        """All of it.

        Raises:
            Exception: of the first step that did not hold.
        """
        await self._top_up_by_stars()
        await self._from_balance()
        await self._by_card()
        await self._more_than_agreed()
        await self._given_back()

    async def _top_up_by_stars(self) -> None:
        async with self._tell.step("Dora tops up her balance by Stars") as notes:
            before, last = self._dora.user.account.stars, self._dora.last_id()
            await self._dora.start()
            way = ("go:profile", "go:balance", f"top_up:{_TOP_UP}", "pay_top_up:stars:")
            await self._pay(self._dora, await self._dora.follow(way, _pay_link, "an invoice in Stars"))
            await _receipt(self._dora, last, "Added to the balance")
            await self._checks.holds("Dora", _TOP_UP)
            notes.append(f"{before - self._dora.user.account.stars} Stars, {_TOP_UP / 100:.2f} RUB on the balance")

    async def _from_balance(self) -> None:
        async with self._tell.step("30 days are bought from it with one tap, and the key comes") as notes:
            last = self._dora.last_id()
            await self._dora.order("basic", 30, lambda message: "go:key" in buttons_of(message), method="balance")
            await self._dora.gets_key(last)
            left = _TOP_UP - self._checks.price
            await self._checks.holds("Dora", left)
            notes.append(f"{left / 100:.2f} RUB left")

    async def _by_card(self) -> None:
        async with self._tell.step("Emil pays by card, with an email for the receipt") as notes:
            last = self._emil.last_id()
            await self._pay(self._emil, await self._emil.order("basic", 30, _pay_link, method="card"))
            await self._emil.gets_key(last)
            [charge] = [one for one in self._system.telegram.payments.charges if one.currency == "RUB"]
            need(charge.amount == self._checks.price, f"charged {charge.amount}")
            need(charge.to_provider.get("email") and charge.to_provider.get("provider_data"), "no receipt can be sent")
            notes.append(f"{charge.amount / 100:.2f} RUB")

    async def _more_than_agreed(self) -> None:
        async with self._tell.step("an invoice of CryptoBot is paid with more than was agreed") as notes:
            before, invoice = await self._checks.end("Emil"), await self._checks.order(self._emil)
            instead = f"{(self._checks.price + _MORE) / 100:.2f}"
            last = self._emil.last_id()
            await self._system.cryptopay.pay(invoice["invoice_id"], instead=(instead, invoice["fiat"]))
            await _receipt(self._emil, last, "came to your balance")
            await self._checks.holds("Emil", _MORE)
            need(await self._checks.end("Emil") - before == timedelta(days=30), "not 30 days more")
            notes.append(f"30 days more, the rest of {_MORE / 100:.2f} RUB is on the balance")

    async def _given_back(self) -> None:
        async with self._tell.step(
            "Dora pays by Stars and wants them back: the Stars go back, and the time they bought"
        ) as notes:
            # so many messages in a second would be more than Telegram takes for one chat
            await self._system.travel(_A_MINUTE)
            account, end, last = self._dora.user.account, await self._checks.end("Dora"), self._dora.last_id()
            stars = account.stars
            charge_id = await self._pay(self._dora, await self._dora.order("basic", 30, _pay_link, method="stars"))
            await _receipt(self._dora, last, "Access until")
            paid = stars - account.stars
            await self._checks.refund("stars", charge_id)
            await self._system.travel(_A_MINUTE)  # the sweep that asks Telegram
            await self._dora.sees(lambda message: "refunded_payment" in message, "the Stars that went back")
            await self._system.settled()
            need(account.stars == stars, f"{stars - account.stars} Stars are lacking")
            after = await self._checks.end("Dora")
            need(abs(after - end) < _A_MINUTE, f"the end moved by {after - end}")
            notes.append(f"{paid} Stars, 30 days")

    async def _pay(self, customer: Customer, message: Message) -> str:
        """By the link of its button; pressed again after a while, as people do, when the answer did not come. The charge's id."""
        url, tries = str(_pay_link(message)), 1 if customer.patience_s is None else _TRIES
        payment = await customer.user.pay_link(url)
        while payment.status != "paid" and (tries := tries - 1):
            await self._system.travel(_A_MINUTE)
            payment = await customer.user.pay_link(url)
        name = customer.user.account.first_name
        need(payment.status == "paid", f"{name} could not pay: {payment.status}, {payment.reason}")
        return payment.charge_ids[0]


def _pay_link(message: Message) -> str | None:
    """Where a button leads to an invoice of Telegram's."""
    return next((url for url in urls_of(message) if url.startswith("https://t.me/$")), None)


async def _receipt(customer: Customer, last: int, words: str) -> None:
    """It comes after that message, with these words."""
    await customer.sees(
        lambda message: (
            message["message_id"] > last and "Payment received" in text_of(message) and words in text_of(message)
        ),
        f"a receipt: {words}",
    )
