"""A stand-in for Crypto Pay (CryptoBot): its API, signed webhooks with the real retries, and a page where one pays."""

from sandbox.cryptopay.faults import Standing
from sandbox.cryptopay.invoices import InvoiceError
from sandbox.cryptopay.service import Call
from sandbox.cryptopay.stand_in import CryptoPay
from sandbox.cryptopay.webhooks import Delivery, Notice

__all__ = ["Call", "CryptoPay", "Delivery", "InvoiceError", "Notice", "Standing"]
