"""What a process makes once, on first use: the only place where real adapters are put together.

Nothing here runs at import time: the framework imports in a master process and forks.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from lib import function_table, target
from lib.db import Database
from lib.db.connection import Timeouts
from lib.function_table import PRIVATE
from lib.settings import plain

if TYPE_CHECKING:
    import httpx

    from lib.nodes.transport import Transport
    from lib.payments.provider import GivesBack, Invoices, ProviderAccount
    from lib.tasks.queue import TaskQueue

_SWEEP_STATEMENT_MS = 20_000


def database() -> Database:
    """This instance's connections: where tasks and sweeps are served side by side, `DB_CONNECTIONS` for each of the two kinds.

    Raises:
        lib.settings.plain.MissingSetting: `DATABASE_URL`.
    """
    return _for_sweeps() if function_table.load().is_sweep(target.name()) else _for_others()


@cache
def _for_sweeps() -> Database:
    return _connections(
        "-sweeps" if os.environ.get("FUNCTION_TARGET") == PRIVATE else "", Timeouts(_SWEEP_STATEMENT_MS)
    )


@cache
def _for_others() -> Database:
    return _connections("", Timeouts())


def _connections(kind: str, timeouts: Timeouts) -> Database:
    settings = plain.database()
    served = os.environ.get("FUNCTION_TARGET", "atlas")
    return Database(
        settings.url,
        connections=settings.connections,
        application=served + kind,
        reserved=1 if served == "telegram_webhook" else 0,
        timeouts=timeouts,
        reads_only=served == "health",  # public, and it only looks
    )


def transaction_age_s() -> float:
    """For how many seconds the oldest transaction of this instance is under way; 0 when none is."""
    made = [make() for make in (_for_sweeps, _for_others) if make.cache_info().currsize]
    return max((one.oldest_s() for one in made), default=0.0)


@cache
def http_client() -> httpx.AsyncClient:
    """One client with kept-alive connections for payment providers; every call gives its own timeout."""
    import httpx  # noqa: PLC0415 -- 50 ms that the first answer of a public function need not wait for

    return httpx.AsyncClient(limits=httpx.Limits(max_connections=64, max_keepalive_connections=16), trust_env=False)


@cache
def node_transport() -> Transport:
    """The one way to nodes, with kept connections."""
    from lib.nodes.transport import AiohttpTransport  # noqa: PLC0415 -- aiohttp, which few functions need

    return AiohttpTransport()


@cache
def budgeted_queue() -> TaskQueue:
    """Cloud Tasks by REST, for functions that a customer waits for."""
    from lib.tasks.rest import RestTaskQueue  # noqa: PLC0415 -- only where something follows

    return RestTaskQueue(plain.tasks())


@cache
def task_queue() -> TaskQueue:
    """Cloud Tasks by Google's client, for tasks and sweeps."""
    from lib.tasks.google_client import GoogleTaskQueue  # noqa: PLC0415 -- 260 ms, not for public functions

    return GoogleTaskQueue(plain.tasks())


@cache
def invoices() -> dict[str, Invoices]:
    """By name, the providers that are configured here and make invoices."""
    from lib.payments import registry  # noqa: PLC0415 -- only where providers are asked

    return registry.connected(http_client)


@cache
def giving_back() -> dict[str, GivesBack]:
    """By name, the providers that are configured here and give charges back."""
    from lib.payments import registry  # noqa: PLC0415 -- only where money is given back

    return registry.giving_back(http_client)


@cache
def provider_accounts() -> dict[str, ProviderAccount]:
    """By name, the own accounts of the providers that are configured here and can be asked for them."""
    from lib.payments import registry  # noqa: PLC0415 -- as above

    return registry.accounts(http_client)
