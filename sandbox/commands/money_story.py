"""The demo's chapter about money: more than was agreed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sandbox.system.customer import text_of

if TYPE_CHECKING:
    from sandbox.commands.demo_checks import DemoChecks
    from sandbox.commands.teller import Teller
    from sandbox.system.customer import Customer
    from sandbox.system.system import System

_MORE: Final = 50_00


class MoneyStory:
    """Of one running system. Emil starts with nothing; what is bought ends within two months."""

    def __init__(self, system: System, tell: Teller, checks: DemoChecks, emil: Customer) -> None:
        self._system = system
        self._tell = tell
        self._checks = checks
        self._emil = emil

    async def tell(self) -> None:
        """All of it.

        Raises:
            Exception: of the first step that did not hold.
        """
        await self._more_than_agreed()

    async def _more_than_agreed(self) -> None:
        async with self._tell.step("Emil pays an invoice of CryptoBot with more than was agreed") as notes:
            invoice = await self._checks.order(self._emil)
            instead = f"{(self._checks.price + _MORE) / 100:.2f}"
            last = self._emil.last_id()
            await self._system.cryptopay.pay(invoice["invoice_id"], instead=(instead, invoice["fiat"]))
            await _receipt(self._emil, last, "came to your balance")
            await self._checks.holds("Emil", _MORE)
            notes.append(f"the rest of {_MORE / 100:.2f} RUB is on the balance")


async def _receipt(customer: Customer, last: int, words: str) -> None:
    """It comes after that message, with these words."""
    await customer.sees(
        lambda message: (
            message["message_id"] > last and "Payment received" in text_of(message) and words in text_of(message)
        ),
        f"a receipt: {words}",
    )
