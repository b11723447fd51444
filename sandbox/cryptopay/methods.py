"""The API's methods, each a function of its parameters; and the app's books, which add up to its balance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.cryptopay.arguments import ApiError, identifier
from sandbox.cryptopay.checks import Checks
from sandbox.cryptopay.invoices import Invoice, find_invoices, iso, new_hash, new_invoice
from sandbox.cryptopay.rates import currencies, difference, exchange_rates, text_of, total
from sandbox.cryptopay.statistics import statistics
from sandbox.cryptopay.transfers import Transfers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from decimal import Decimal

    from sandbox.cryptopay.store import Payment, Store
    from sandbox.stand_in.clock import Clock

# What a second invoice of the same purchase has of the first.
_AGREED = (
    "currency_type", "fiat", "asset", "accepted_assets", "amount", "description", "payload", "allow_comments",
    "allow_anonymous",
)  # fmt: skip
_BOTS = {"main": "CryptoBot", "test": "CryptoTestnetBot"}


class Methods:
    """One app: its invoices, transfers and checks, and what the API answers about them.

    Args:
        app_id: the number in front of the app's token.
        network: "main" or "test".
        assets: what the network accepts.
    """

    def __init__(self, app_id: int, network: str, assets: Sequence[str], *, clock: Clock, store: Store) -> None:
        self.public_url = "http://127.0.0.1"
        self.invoices = store.invoices()
        self.payments: dict[int, Payment] = store.payments()
        self.transfers = Transfers(store, assets, self.available)
        self.checks = Checks(store, assets, self.available)
        self._app_id = app_id
        self._network = network
        self._assets = tuple(assets)
        self._clock = clock
        self._store = store
        self._last_id = store.last_id()
        self._known: dict[str, Callable[[dict[str, Any]], Any]] = {
            "getMe": self._get_me,
            "createInvoice": self._create_invoice,
            "getInvoices": self._get_invoices,
            "deleteInvoice": self._delete_invoice,
            "getBalance": lambda _asked: self.balance(),
            "getExchangeRates": lambda _asked: exchange_rates(self._assets),
            "getCurrencies": lambda _asked: currencies(self._assets),
            "getStats": self._get_stats,
            "transfer": self._transfer,
            "getTransfers": lambda asked: {"items": self.transfers.listed(asked)},
            "createCheck": lambda asked: self.checks.make(asked, self._clock.now(), self.public_url),
            "deleteCheck": self.checks.delete,
            "getChecks": lambda asked: {"items": self.checks.listed(asked, self.public_url)},
        }

    def named(self, method: str) -> Callable[[dict[str, Any]], Any]:
        """A method by its name; ApiError 405 METHOD_NOT_FOUND."""
        try:
            return self._known[method]
        except KeyError:
            raise ApiError(405, "METHOD_NOT_FOUND") from None

    def invoice(self, invoice_id: int) -> Invoice:
        """One invoice as it is now; KeyError when it is unknown or deleted."""
        invoice = self.invoices[invoice_id]
        if invoice.settle_expiry(self._clock.now()):
            self._store.save(invoice)
        return invoice

    @property
    def transfers_enabled(self) -> bool:
        """Whether the owner allowed transfers; they are off for a new app."""
        return bool(self._store.switch("transfers_enabled"))

    @transfers_enabled.setter
    def transfers_enabled(self, enabled: bool) -> None:
        self._store.turn("transfers_enabled", enabled)

    # -- the books -----------------------------------------------------------------------------------------------------

    def available(self, asset: str) -> Decimal:
        """What may be spent of an asset now: paid invoices less fees, transfers and checks."""
        income = (invoice.income for invoice in self.invoices.values())
        got = _sum(asset, (one for one in income if one is not None))
        return difference(
            got,
            _sum(asset, self.transfers.spent()),
            _sum(asset, self.checks.amounts("activated")),
            self.on_hold(asset),
        )

    def on_hold(self, asset: str) -> Decimal:
        """What lies in checks that are not activated."""
        return _sum(asset, self.checks.amounts("active"))

    def balance(self) -> list[dict[str, str]]:
        """Result of getBalance."""
        return [
            {
                "currency_code": asset,
                "available": text_of(self.available(asset)),
                "onhold": text_of(self.on_hold(asset)),
            }
            for asset in self._assets
        ]

    # -- methods -------------------------------------------------------------------------------------------------------

    def _get_me(self, _asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"app_id": self._app_id, "name": "Sandbox", "payment_processing_bot_username": _BOTS[self._network]}

    def _create_invoice(self, asked: dict[str, Any]) -> dict[str, Any]:
        invoice = new_invoice(self._last_id + 1, asked, self._clock.now(), self._assets)
        self._last_id += 1
        self.invoices[invoice.invoice_id] = invoice
        self._store.save(invoice)
        return invoice.shown(self.public_url)

    def _get_invoices(self, asked: dict[str, Any]) -> dict[str, Any]:
        current = [self.invoice(number) for number in self.invoices]
        found = find_invoices(current, asked, self._assets)
        return {"items": [invoice.shown(self.public_url) for invoice in found]}

    def second_of(self, invoice: Invoice) -> Invoice:
        """Another invoice for the same: what was agreed and its payload, without an end."""
        self._last_id += 1
        kept = {name: invoice.fields[name] for name in _AGREED if name in invoice.fields}
        fields = kept | {
            "invoice_id": self._last_id,
            "hash": new_hash(),
            "status": "active",
            "created_at": iso(self._clock.now()),
        }
        second = self.invoices[self._last_id] = Invoice(self._last_id, fields)
        self._store.save(second)
        return second

    def forget(self, invoice: Invoice) -> None:
        """As if it had been deleted."""
        del self.invoices[invoice.invoice_id]
        self._store.delete(invoice.invoice_id)

    def _delete_invoice(self, asked: dict[str, Any]) -> bool:
        invoice_id = identifier(asked, "invoice_id")
        if invoice_id not in self.invoices:
            raise ApiError(400, "INVOICE_NOT_FOUND")
        if self.invoice(invoice_id).status == "paid":
            raise ApiError(400, "INVOICE_ALREADY_PAID")
        self.forget(self.invoices[invoice_id])
        return True

    def _get_stats(self, asked: dict[str, Any]) -> dict[str, Any]:
        payers = {number: payment.payer for number, payment in self.payments.items()}
        return statistics(self.invoices.values(), payers, asked, self._clock.now())

    def _transfer(self, asked: dict[str, Any]) -> dict[str, Any]:
        if not self.transfers_enabled:
            raise ApiError(403, "METHOD_DISABLED")
        return self.transfers.make(asked, self._clock.now())


def _sum(asset: str, amounts: Iterable[tuple[str, Decimal]]) -> Decimal:
    return total(amount for code, amount in amounts if code == asset)
