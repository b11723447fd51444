"""One run's world, put together: Postgres, the functions, the stand-ins, nodes, and the places where Atlas meets them exchanged.

The seams are those of the code itself (bootstrap's adapters, the workers of a database, aiogram's session). They are of the whole
process, so a process makes one world.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

import httpx

from lib import bootstrap, failpoints
from lib.bot.late_session import LateSession
from lib.db import database as lib_database
from lib.db import lock as lib_lock
from lib.db.connection import Connection, Timeouts
from lib.db.migrate import migrate
from lib.nodes import client as node_client
from lib.nodes import keys
from lib.payments import registry
from lib.sweeps import places
from sandbox.cryptopay import webhooks as crypto_webhooks
from sandbox.cryptopay.faults import Standing
from sandbox.cryptopay.stand_in import CryptoPay
from sandbox.postgres.server import Postgres
from sandbox.telegram.calls.limits import Limits
from sandbox.telegram.service import TelegramService
from sandbox.telegram.updates import delivery
from sandbox.telegram.updates.delivery import Webhook
from simulation import functions as simulated_functions
from simulation.database import OURS, LockConnections, OneAtATime, SimulatedConnections
from simulation.event_log import EventLog
from simulation.faults import FINE, Faults, Weather
from simulation.functions import Functions
from simulation.network import CRYPTO_PAY, TELEGRAM, BotSession, Incoming, Network, Outgoing
from simulation.nodes import Node, NodeNetwork
from simulation.tasks import Queues, Ticks
from simulation.virtual_time import BEGAN, RunClock, VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import TextIO

_DATABASE = "simulated"
_OWNER = "simulation_owner"
_FUNCTIONS = "simulation_functions"
_TOKEN = "7000000001:AAsimulated-bot-of-the-long-run"  # noqa: S105 -- of a stand-in
_CARD = "381764678:TEST:simulated"
_CRYPTO_TOKEN = "31337:AAsimulated-app"  # noqa: S105 -- as above
_SECRET = "simulated-webhook-secret"  # noqa: S105 -- as above
_MASTER = "simulated-master-key-of-the-nodes-0001"
_FIRST_KEY = "simulated-key-of-the-first-node-000001"
OPERATOR = 600_000_001


def dice(seed: int, of: str) -> random.Random:
    """A stream of chance of its own for each part: what one draws moves no other's."""
    return random.Random(f"{seed} {of}")  # noqa: S311 -- chance, not secrecy


@dataclass(slots=True)
class World:
    """What a run consists of."""

    seed: int
    loop: VirtualLoop
    clock: RunClock
    events: EventLog
    faults: Faults
    functions: Functions
    telegram: TelegramService
    crypto_pay: CryptoPay
    queues: Queues
    ticks: Ticks
    nodes: list[Node]
    owner: Connection

    def query(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Rows, as the owner sees them, at the run's time."""
        self.owner.execute("select set_config('simulation.now', :now, false)", {"now": self.clock.now().isoformat()})
        _, rows, _ = self.owner.execute(sql, parameters)
        return [tuple(row) for row in rows]

    def weather(self, weather: Weather) -> None:
        """From now on."""
        self.faults.weather = weather
        rate = weather.messages_a_second
        self.telegram.limits = None if rate is None else Limits(overall=rate, overall_burst=max(1, int(rate)))
        self.telegram.faults.flooded = weather.call_refused
        self.crypto_pay.faults.standing = Standing(missing=weather.listing_holes, short=weather.listing_short)


def settings(database_url: str, nodes: list[Node]) -> dict[str, str]:
    """The environment of every function."""
    return {
        "ENVIRONMENT": "local",
        "LOG_LEVEL": "ERROR",
        "DATABASE_URL": database_url,
        "DB_CONNECTIONS": "4",
        "TELEGRAM_BOT_TOKEN": _TOKEN,
        "TELEGRAM_BOT_USERNAME": "atlas_simulated_bot",
        "TELEGRAM_API_BASE": TELEGRAM,
        "TELEGRAM_PROVIDER_TOKEN": _CARD,
        "CARD_RECEIPT": "vat_code=1,payment_subject=service",
        "TELEGRAM_WEBHOOK_SECRET": _SECRET,
        "TELEGRAM_WEBHOOK_URL": f"{simulated_functions.BASE}/telegram-webhook",
        "SUPPORT_URL": "https://t.me/atlas_simulated_support",
        "CRYPTOPAY_TOKEN": _CRYPTO_TOKEN,
        "CRYPTOPAY_API_BASE": CRYPTO_PAY,
        "CRYPTOPAY_ASSETS": "USDT,TON,BTC",
        "CRYPTOPAY_WEBHOOK_URL": f"{simulated_functions.BASE}/cryptobot-webhook",
        "PUBLIC_BASE_URL": "http://127.0.0.1:3",
        "PAYMENT_METHODS": "stars,cryptobot,card,balance",
        "HEALTH_KEY": "simulated-health-key",
        "TASKS_ENDPOINT": "http://127.0.0.1:5",
        "TASKS_PROJECT": "local",
        "TASKS_LOCATION": "local",
        "TASKS_INVOKER": "tasks@local.iam.gserviceaccount.com",
        "FUNCTION_URL_TEMPLATE": f"{simulated_functions.BASE}/{{name}}",
        "XRAY_API_URL": nodes[0].url,
        "XRAY_API_KEY": _FIRST_KEY,
        keys.MASTER_KEYS: _MASTER,
        "ADMIN_IDS": str(OPERATOR),
    }


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """A server of the run's own."""
    server = Postgres(folder, durable=False)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _prepare(server: Postgres, seed: int) -> str:
    """A fresh database whose clock and UUIDs are the run's; its functions' login."""
    server.drop_database(_DATABASE)
    server.create_database(_DATABASE)
    migrate(server.url(_DATABASE), "local", providers=registry.providers("local"))
    with contextlib.closing(Connection(server.url(_DATABASE), application="owner", timeouts=Timeouts())) as owner:
        ours = OURS.replace("{seed}", str(seed)).replace("{database}", _DATABASE).replace("{began}", BEGAN.isoformat())
        owner.simple(ours)
    server.allow_login(_FUNCTIONS, member_of="atlas_app")
    return server.socket_url(_DATABASE, _FUNCTIONS)


_ADD_NODE = "insert into nodes (name, api_url, key_name) values (:name, :url, :key_name)"


@contextlib.contextmanager
def world(
    server: Postgres, folder: Path, seed: int, *, longest_tick_s: float, copy: TextIO | None = None
) -> Iterator[World]:
    """The world of a seed, inside whose loop everything runs."""
    functions_url = _prepare(server, seed)
    loop = VirtualLoop()
    clock = RunClock(loop)
    events = EventLog(clock, copy)
    faults = Faults(dice(seed, "faults"))
    targets = Functions(faults, events)
    nodes = []
    for number, (name, key) in enumerate((("first", _FIRST_KEY), ("second", keys.derived(_MASTER, "second"))), 1):
        (folder / name).mkdir(parents=True, exist_ok=True)
        nodes.append(Node(name, f"http://127.0.0.1:1{number}", key, folder / name, clock))
    with contextlib.ExitStack() as stack:
        _exchange_chance_and_time(stack, seed, loop)
        for name, value in settings(functions_url, nodes).items():
            stack.enter_context(mock.patch.dict(os.environ, {name: value}))
        telegram = TelegramService(_TOKEN, "atlas_simulated_bot", clock, provider_tokens=[_CARD])
        crypto_pay = CryptoPay(tokens=[_CRYPTO_TOKEN], clock=clock)
        crypto_pay.public_url = CRYPTO_PAY
        crypto_pay.webhook_url = f"{simulated_functions.BASE}/cryptobot-webhook"
        crypto_pay.faults.dice = dice(seed, "crypto pay")
        telegram.faults.dice = dice(seed, "telegram")
        queues = Queues(targets, faults, dice(seed, "queues"), clock, events)
        owner = Connection(server.socket_url(_DATABASE), application="simulation", timeouts=Timeouts(60_000))
        stack.callback(owner.close)
        for node, key_name in zip(nodes, ("XRAY_API_KEY", keys.MASTER_KEYS), strict=True):
            owner.execute(_ADD_NODE, {"name": node.name, "url": node.url, "key_name": key_name})
        made = World(
            seed,
            loop,
            clock,
            events,
            faults,
            targets,
            telegram,
            crypto_pay,
            queues,
            Ticks(targets, faults, dice(seed, "ticks"), clock, longest_tick_s),
            nodes,
            owner,
        )
        _exchange_adapters(stack, made, Network(faults, dice(seed, "network")))
        targets.load()
        yield made


def _exchange_chance_and_time(stack: contextlib.ExitStack, seed: int, loop: VirtualLoop) -> None:
    """What Python draws comes of the seed, and what passes is the run's time."""
    drawn = dice(seed, "python")
    random.seed(f"{seed} global")
    exchanged: Mapping[Any, Mapping[str, Any]] = {
        uuid: {"uuid4": lambda: uuid.UUID(int=drawn.getrandbits(128), version=4)},
        secrets: {
            "token_hex": lambda count=None: drawn.randbytes(count or 32).hex(),
            "token_urlsafe": lambda count=None: drawn.randbytes(count or 32).hex(),
            "token_bytes": lambda count=None: drawn.randbytes(count or 32),
            "choice": drawn.choice,
            "randbelow": drawn.randrange,
        },
        time: {"monotonic": loop.time, "sleep": lambda _seconds: None},
    }
    for module, attributes in exchanged.items():
        for name, value in attributes.items():
            stack.enter_context(mock.patch.object(module, name, value))


def _exchange_adapters(stack: contextlib.ExitStack, made: World, network: Network) -> None:
    """The adapters of Atlas and of the stand-ins."""
    api = made.telegram.server._api  # noqa: SLF001 -- the table of calls, below its HTTP face
    transport = NodeNetwork(made.nodes, network, dice(made.seed, "node network"))
    outgoing = httpx.AsyncClient(transport=Outgoing(network, api, made.crypto_pay.app))
    incoming = Incoming(made.functions, made.faults, dice(made.seed, "news"))
    locks = LockConnections()
    stack.callback(locks.close)
    OneAtATime.dice, OneAtATime.faults = dice(made.seed, "turns"), made.faults
    BotSession.network, BotSession.table = network, api

    def opened(session: LateSession) -> BotSession:
        if session.real is None:
            session.real = BotSession(**session._settings)  # noqa: SLF001 -- as `_opened` has it
        return session.real  # type: ignore[return-value] # made here alone

    def client(*, kept_alive: int | None = None) -> httpx.AsyncClient:
        del kept_alive
        return httpx.AsyncClient(transport=incoming, timeout=None)  # noqa: S113 -- the caller bounds it

    for module, name, value in (
        (lib_database, "Workers", OneAtATime),
        (lib_database, "Connection", SimulatedConnections(made.clock, made.faults).make),
        (lib_lock, "Connection", locks),
        (bootstrap, "http_client", lambda: outgoing),
        (bootstrap, "node_transport", lambda: transport),
        (bootstrap, "task_queue", lambda: made.queues),
        (bootstrap, "budgeted_queue", lambda: made.queues),
        (LateSession, "_opened", opened),
        (failpoints, "reach", made.functions.reach),
        (places, "here", lambda: places.Places(1)),
        (node_client, "sleep", asyncio.sleep),
        (delivery, "outgoing_client", client),
        (crypto_webhooks, "outgoing_client", client),
    ):
        stack.enter_context(mock.patch.object(module, name, value))


async def open_for_news(found: World) -> None:
    """Nodes and stand-ins begin."""
    for node in found.nodes:
        await node.start()
    await found.telegram.start()
    await found.crypto_pay.start()
    found.telegram._delivery.set_webhook(  # noqa: SLF001 -- what setWebhook does, without a bot that asks for it
        Webhook(f"{simulated_functions.BASE}/telegram-webhook", _SECRET, 40)
    )


__all__ = ["FINE", "World", "open_for_news", "postgres", "world"]
