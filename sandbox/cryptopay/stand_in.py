"""The stand-in as it is served: the API and the invoice pages over one service."""

from __future__ import annotations

from functools import cached_property

from starlette.applications import Starlette
from starlette.middleware import Middleware

from sandbox.cryptopay.api import api_routes
from sandbox.cryptopay.pages import page_routes
from sandbox.cryptopay.service import CryptoPayService
from sandbox.stand_in.loopback import LoopbackOnly, OwnPageOnly


class CryptoPay(CryptoPayService):
    """`app` is the ASGI application."""

    @cached_property
    def app(self) -> Starlette:
        """To be served on loopback."""
        routes = [*api_routes(self), *page_routes(self)]
        return Starlette(routes=routes, middleware=[Middleware(LoopbackOnly), Middleware(OwnPageOnly)])
