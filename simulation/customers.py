"""Customers as small state machines: through the chat alone, each with a stream of chance of their own.

They come, try, buy, pay late, twice, too much or too little, from their balance, press twice, press what is old, block the bot and
come back. Whatever they meet, an answer that never comes included, they go on with their life.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox.cryptopay.invoices import InvoiceError
from sandbox.system.customer import Customer, StepFailedError, buttons_of, urls_of
from sandbox.telegram.protocol.errors import ApiError
from simulation.network import CRYPTO_PAY

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from sandbox.system.customer import Message
    from simulation.world import World

FIRST_ID: Final = 700_000_000
_HOUR_S: Final = 3600.0
_DAY_S: Final = 86_400.0
_STARS: Final = 1_000_000
_TRIES: Final = 3
_PERIODS: Final = ((30, 6), (90, 2), (180, 1), (365, 1))
_TARIFFS: Final = (("basic", 4), ("plus", 1))
_METHODS: Final = (("cryptobot", 4), ("stars", 4), ("card", 2), ("balance", 2))
_TOP_UPS: Final = (25_000, 75_000, 99_900)
_NOT_PRESSED: Final = ("freeze", "thaw", "pay", "order_id=", "data")
"""Of the buttons that wandering presses at random: what changes ends in ways that the model of access does not know, or costs money."""


@dataclass(slots=True)
class Seen:
    """What a customer did that must or may have an effect; the models go by it.

    Attributes:
        trial_taps: when they pressed it.
        renewal: they ever asked for auto-renewal.
    """

    trial_taps: list[float] = field(default_factory=list)
    renewal: bool = False


class Person:
    """One customer.

    Args:
        world: where they live.
        number: from 1 on; their Telegram id is `FIRST_ID` more.
        dice: their own.
    """

    def __init__(self, world: World, number: int, dice: random.Random) -> None:
        self._world = world
        self._dice = dice
        self.name = f"c{number}"
        language = dice.choice(("ru", "en", ""))
        self.user = world.telegram.user(FIRST_ID + number, f"C{number}", language_code=language)
        self.user.account.stars = _STARS
        self.user.fill_in({"email": f"c{number}@example.com"})
        self.seen = Seen()
        self._longest_s = dice.choice((_DAY_S, 5 * _DAY_S, 20 * _DAY_S))  # some come often, some are forgotten
        self._customer = Customer(self.user, patience_s=dice.choice((None, 6.0)))
        self._last: dict[str, Callable[[], Awaitable[object]]] = {}

    async def live(self, days: float) -> None:
        """From their first /start on, until so many days of the run have passed."""
        loop, until = self._world.loop, days * _DAY_S
        await asyncio.sleep(self._dice.uniform(0, until * 0.4))
        while loop.time() < until:
            await self._do(self._act())
            # now and then one thing after the other, mostly not for days
            pause = self._dice.choice((30.0, _HOUR_S, 4 * _HOUR_S, 12 * _HOUR_S, 2 * _DAY_S, self._longest_s))
            await asyncio.sleep(min(self._dice.uniform(0.2, 1.0) * pause, max(until - loop.time(), 1.0)))

    def _act(self) -> Callable[[], Awaitable[object]]:
        acts: tuple[tuple[Callable[[], Awaitable[object]], int], ...] = (
            (self._try, 3),
            (self._buy, 8),
            (self._top_up, 2),
            (self._renew, 2),
            (self._wander, 3),
            (self._press_what_is_old, 2),
            (self._block, 1),
            (self._look_at_key, 2),
        )
        return self._dice.choices([act for act, _ in acts], [weight for _, weight in acts])[0]

    async def _do(self, act: Callable[[], Awaitable[object]]) -> None:
        name = act.__name__.strip("_").replace("_", " ")
        try:
            said = await act()
        except (StepFailedError, InvoiceError, ApiError, ValueError) as error:
            said = f"gave up: {str(error).splitlines()[0][:100]}"
        self._world.events.write(self.name, f"{name}: {said or 'done'}")

    # -- what they do ----------------------------------------------------------------------------------------------------

    async def _try(self) -> str:
        menu = await self._customer.start()
        if "go:trial" not in buttons_of(menu):
            return "not offered"
        screen = await self._customer.press(menu, "go:trial")
        if not any(data.startswith("trial") for data in buttons_of(screen)):
            return "refused"
        self.seen.trial_taps.append(self._world.loop.time())
        times = self._dice.choice((1, 1, 2))
        await self._tap(screen, "trial", times)
        return f"tapped {times}"

    async def _tap(self, screen: Message, meaning: str, times: int) -> None:
        data = next(data for data in buttons_of(screen) if data.startswith(meaning))
        for _ in range(times):
            await self.user.click_raw(screen["message_id"], data)
            await asyncio.sleep(self._dice.uniform(0, 0.5))
        await asyncio.sleep(3)

    async def _buy(self) -> str:
        tariff, days, method = (self._one_of(among) for among in (_TARIFFS, _PERIODS, _METHODS))
        if method == "balance":
            await self._customer.order(tariff, days, lambda message: "go:key" in buttons_of(message), method=method)
            return f"{tariff} {days} from the balance"
        screen = await self._customer.order(tariff, days, _offer, method=method)
        return f"{tariff} {days} by {method}: {await self._pay(screen)}"

    async def _top_up(self) -> str:
        amount, method = self._dice.choice(_TOP_UPS), self._one_of(_METHODS[:3])
        await self._customer.start()
        way = ("go:profile", "go:balance", f"top_up:{amount}", f"pay_top_up:{method}:")
        return f"{amount} by {method}: {await self._pay(await self._customer.follow(way, _offer, 'an invoice'))}"

    async def _pay(self, screen: Message) -> str:
        """At once, late, never, twice, by another, with more or with less."""
        how = self._dice.choices(
            ("at once", "late", "not", "twice", "more", "less", "by another"), (10, 3, 3, 2, 1, 1, 1)
        )[0]
        if how == "not":
            return how
        pause = {"late": self._dice.choice((_HOUR_S, _DAY_S)) * self._dice.uniform(0.4, 1.2)}.get(how, 20.0)
        await asyncio.sleep(pause * self._dice.uniform(0.1, 1.0))
        url = str(_offer(screen))
        if url.startswith("https://t.me/$"):
            return await self._pay_link(url, how)
        return await self._pay_crypto(url, how)

    async def _pay_link(self, url: str, how: str) -> str:
        tries = 0
        while True:
            paid = await self.user.pay_link(url, charges=2 if how == "twice" else 1)
            if paid.status == "paid":
                return f"{how}, paid {len(paid.charge_ids)}"
            if (tries := tries + 1) == _TRIES:
                return f"{how}, {paid.status}"
            await asyncio.sleep(60 * tries)

    async def _pay_crypto(self, url: str, how: str) -> str:
        invoices = self._world.crypto_pay.invoices
        found = [one for one in invoices.values() if one["bot_invoice_url"] == url]
        if not found:
            return "the invoice is gone"
        invoice = found[0]
        silent = self._dice.random() < 0.1  # noqa: PLR2004 -- of the payments, those whose webhook never comes
        factor = {"more": 1.5, "less": 0.5}.get(how)
        instead = None if factor is None else (f"{float(invoice['amount']) * factor:.2f}", invoice["fiat"])
        payer = self.user.id if how != "by another" else self.user.id + 10_000
        await self._world.crypto_pay.pay(invoice["invoice_id"], webhook=not silent, payer=payer, instead=instead)
        if how == "twice":
            await self._world.crypto_pay.pay_again(invoice["invoice_id"], webhook=not silent)
        return f"{how}, paid {'silently' if silent else 'and told'}"

    async def _renew(self) -> str:
        await self._customer.start()
        screen = await self._customer.follow(
            ("go:profile", "go:auto_renewal"), lambda message: _any(message, "renew:"), "auto-renewal"
        )
        if any(data.startswith("renew:1:") for data in buttons_of(screen)):
            self.seen.renewal = True
        await self._tap(screen, "renew:", 1)
        return "switched"

    async def _wander(self) -> str:
        screen = await self._customer.start()
        pressed = []
        for _ in range(self._dice.randint(1, 6)):
            offered = [data for data in buttons_of(screen) if not data.startswith(_NOT_PRESSED)]
            if not offered:
                break
            data = self._dice.choice(offered)
            self._note(data)
            pressed.append(data.split(":")[0])
            screen = await self._customer.press(screen, data)
        return " ".join(pressed)

    async def _press_what_is_old(self) -> str:
        old = [message for message in self.user.messages if message["from"]["is_bot"] and buttons_of(message)]
        if not old:
            return "there is nothing"
        screen = self._dice.choice(old)
        offered = [data for data in buttons_of(screen) if not data.startswith(_NOT_PRESSED)]
        if not offered:
            return "nothing to press"
        data = self._dice.choice(offered)
        self._note(data)
        await self._tap(screen, data, self._dice.choice((1, 1, 2)))
        return data.split(":")[0]

    def _note(self, data: str) -> None:
        """What that button may bring about."""
        if data.startswith("trial"):
            self.seen.trial_taps.append(self._world.loop.time())
        if data.startswith("renew:1:"):
            self.seen.renewal = True

    async def _block(self) -> str:
        if self.user.account.blocked:
            await self._customer.start()
            return "came back"
        if not self.user.account.started:
            return "never wrote"
        self.user.block()
        return "blocked"

    async def _look_at_key(self) -> str:
        return "a key" if await self._customer.shown_key() else "none"

    def _one_of(self, among: tuple[tuple[Any, int], ...]) -> Any:
        return self._dice.choices([one for one, _ in among], [weight for _, weight in among])[0]


def _offer(message: Message) -> str | None:
    """Where to pay."""
    return next((url for url in urls_of(message) if url.startswith(("https://t.me/$", CRYPTO_PAY))), None)


def _any(message: Message, meaning: str) -> bool:
    return any(data.startswith(meaning) for data in buttons_of(message))
