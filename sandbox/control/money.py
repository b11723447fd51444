"""What providers hold of our money, as the page shows it, and its buttons: what people, banks and providers do with it.

The shop's side of the same money is in `books`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from sandbox.control.asking import RefusedError, body_of, text, whole
from sandbox.control.card_statement import statement
from sandbox.cryptopay.faults import MOST_OFF
from sandbox.cryptopay.invoices import InvoiceError
from sandbox.telegram.payments.invoices import CURRENCIES, STARS
from sandbox.telegram.payments.payments import NANOSTARS
from sandbox.telegram.protocol.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from sandbox.control.books import Row
    from sandbox.cryptopay import CryptoPay
    from sandbox.system.system import System
    from sandbox.telegram import Telegram
    from sandbox.telegram.payments.payments import Charge

SHOWN: Final = 50
"""Rows of a table, the newest first."""
_SHORT: Final = 12
_MORE: Final = Decimal(50)
_OTHER: Final = {"USD": "EUR"}
"""What stands for another currency than was asked for: dollars, and for dollars euros."""
_CENT: Final = Decimal("0.01")
_FEWEST: Final = Decimal("0.02")
_ID_DIGITS: Final = 2**63 - 1


class Money:
    """Of one running system. What is done here, the functions hear of by the providers' own ways, or don't."""

    def __init__(self, system: System) -> None:
        self._system = system

    # -- what there is -------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Invoices and charges, the newest first, and what each provider says that it holds."""
        return {"invoices": self._invoices(), "charges": self._charges(), "provider_balances": self._balances()}

    def _invoices(self) -> list[Row]:
        invoices = self._system.cryptopay.invoices
        return [_invoice(number, invoices[number]) for number in sorted(invoices, reverse=True)[:SHOWN]]

    def _charges(self) -> list[Row]:
        """The real Telegram shows its charges in its own app."""
        if self._system.messenger.real:
            return []
        telegram = self._system.telegram
        return [_charge(telegram, one) for one in reversed(telegram.payments.charges[-SHOWN:])]

    def _balances(self) -> list[Row]:
        cryptopay = self._system.cryptopay
        off = cryptopay.faults.standing.balance_off
        said = [
            {
                "id": f"cryptobot:{row['currency_code']}",
                "provider": "cryptobot",
                "says": f"{row['available']} {row['currency_code']}",
                "off": off,
            }
            for row in cryptopay.faults.on_a_bad_day("getBalance", cryptopay.methods.balance())
            if row["available"] != "0"
        ]
        if self._system.messenger.real:
            return said
        payments = self._system.telegram.payments
        nanostars = payments.balance + payments.balance_off
        stars = f"{Decimal(nanostars) / NANOSTARS:f} {STARS}"
        return [{"id": "stars:XTR", "provider": "stars", "says": stars, "off": payments.balance_off}, *said]

    def card_statement(self) -> str:
        """What the provider of cards says of its charges, as CSV; of a real one there is none here."""
        return statement([] if self._system.messenger.real else self._system.telegram.payments.charges)

    # -- buttons -------------------------------------------------------------------------------------------------------

    async def invoice(self, request: Request) -> dict[str, Any]:
        """Pay one of Crypto Pay's: as asked, more, less, in another currency; or once more what is paid.

        Raises:
            RefusedError
        """
        number = whole(await body_of(request), "id", most=_ID_DIGITS)
        cryptopay, what = self._system.cryptopay, request.path_params["what"]
        asked = cryptopay.invoices.get(number)
        if asked is None:
            raise RefusedError(f"there is no invoice {number}")
        try:
            match what:
                case "pay":
                    paid = await cryptopay.pay(number, _asset(asked))
                case "again":
                    paid = await self._pay_again(cryptopay, number, asked)
                case "more" | "less" | "foreign":
                    paid = await cryptopay.pay(number, _asset(asked), instead=_instead(what, asked))
                case _:
                    raise RefusedError(f"an invoice is paid, more, less, foreign or again, not {what!r}")
        except InvoiceError as error:
            raise RefusedError(str(error)) from None
        return {
            "said": f"{_amount(paid)} paid by invoice {paid['invoice_id']}, with {paid['paid_amount']} {paid['paid_asset']}."
        }

    @staticmethod
    async def _pay_again(cryptopay: CryptoPay, number: int, asked: Mapping[str, Any]) -> dict[str, Any]:
        if asked["status"] != "paid":
            raise RefusedError(f"invoice {number} is {asked['status']}: only what is paid is paid again")
        return await cryptopay.pay_again(number, _asset(asked))

    async def charge(self, request: Request) -> dict[str, Any]:
        """Take back a charge of Telegram's: by a refund past the shop, or by force.

        Raises:
            RefusedError
        """
        if self._system.messenger.real:
            raise RefusedError("charges of the real Telegram are given back there")
        telegram, charge_id = self._system.telegram, text(await body_of(request), "id")
        charge = telegram.payments.charge(charge_id)
        if charge is None:
            raise RefusedError("there is no such charge")
        by_stars = charge.currency == STARS
        try:
            match request.path_params["what"]:
                case "refund" if not by_stars:
                    raise RefusedError("of a card's refund Telegram tells nothing: its provider's statement does")
                case "refund":
                    telegram.refund(charge_id)
                    return {"said": f"{_charged(charge)} went back, and the bot is told of it."}
                case "chargeback":
                    telegram.charge_back(charge_id)
                    told = "the list of transactions and the balance" if by_stars else "the provider's statement"
                    return {"said": f"{_charged(charge)} were taken back: only {told} will say so."}
                case "second-debit" if not (by_stars and charge.returned):
                    raise RefusedError("only Stars that went back are debited a second time")
                case "second-debit":
                    telegram.charge_back(charge_id, again=True)
                    return {"said": f"{_charged(charge)} were taken a second time, as the list of transactions says."}
                case what:
                    raise RefusedError(f"a charge meets a refund, a chargeback or a second debit, not {what!r}")
        except ApiError as error:
            raise RefusedError(error.description) from None

    async def balance(self, request: Request) -> dict[str, Any]:
        """Let a provider say more or less than it holds, by its smallest units; 0 ends it.

        Raises:
            RefusedError
        """
        provider = request.path_params["provider"]
        off = whole(await body_of(request), "off", least=-MOST_OFF, most=MOST_OFF)
        match provider:
            case "cryptobot":
                self._system.cryptopay.faults.change(balance_off=off)
            case "stars" if not self._system.messenger.real:
                self._system.telegram.payments.balance_off = off
            case _:
                raise RefusedError(f"no balance of {provider!r} is to be changed here")
        return {"said": f"{provider} says {off:+d} of the smallest unit." if off else f"{provider} says what it holds."}


def _invoice(number: int, said: Mapping[str, Any]) -> Row:
    paid = said["status"] == "paid"
    return {
        "id": number,
        "amount": _amount(said),
        "status": said["status"],
        "purchase": str(said.get("payload", ""))[:_SHORT],
        "made": said["created_at"],
        "paid_with": f"{said['paid_amount']} {said['paid_asset']}" if paid else "",
        "fee": f"{said['fee_amount']} {said['fee_asset']}" if paid else "",
        "fiat": said["currency_type"] == "fiat",
    }


def _amount(said: Mapping[str, Any]) -> str:
    return f"{said['amount']} {said.get('fiat') or said['asset']}"


def _asset(said: Mapping[str, Any]) -> str:
    return str((said.get("accepted_assets") or [said.get("asset")])[0])


def _instead(what: str, said: Mapping[str, Any]) -> tuple[str, str]:
    """What is paid in place of what was agreed.

    Raises:
        RefusedError: nothing can be paid in its place.
    """
    if said["currency_type"] != "fiat":
        raise RefusedError(f"invoice {said['invoice_id']} asks for no fiat money")
    amount, fiat = Decimal(said["amount"]), str(said["fiat"])
    if what == "more":
        return f"{amount + _MORE:f}", fiat
    if what == "foreign":
        return f"{amount:f}", _OTHER.get(fiat, "USD")
    if amount < _FEWEST:
        raise RefusedError(f"there is no less than {amount:f} {fiat}")
    return f"{(amount / 2).quantize(_CENT):f}", fiat


def _charge(telegram: Telegram, charge: Charge) -> Row:
    account = telegram.chats.accounts.get(charge.user_id)
    return {
        "id": charge.charge_id,
        "short": charge.charge_id[:_SHORT],
        "who": account.first_name if account else str(charge.user_id),
        "method": "stars" if charge.currency == STARS else "card",
        "amount": _charged(charge),
        "purchase": charge.payload[:_SHORT],
        "at": _moment(charge.date),
        "returned": _moment(charge.returned_at) if charge.returned else "",
    }


def _charged(charge: Charge) -> str:
    return f"{Decimal(charge.amount).scaleb(-CURRENCIES[charge.currency][0]):f} {charge.currency}"


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
