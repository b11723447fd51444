"""The whole of Atlas on this machine, on real parts: what `make run`, `make demo`, the end-to-end tests and the bench start."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

import httpx

from lib import function_table
from lib.db.invariants import Violation
from lib.nodes import keys
from lib.telegram.webhook_terms import most_connections
from sandbox.cloud.checkout import HERE
from sandbox.cloud.cloudtasks import CloudTasks
from sandbox.cloud.cloudtasks.oidc import test_key_signer
from sandbox.cloud.gateway import Gateway
from sandbox.cloud.iam import Iam, invokers
from sandbox.cloud.instances import PROVIDER, Fleet
from sandbox.cloud.probes import LivenessProbes
from sandbox.cloud.scheduler import Scheduler
from sandbox.cloud.scheduler import make_app as scheduler_api
from sandbox.cryptopay import CryptoPay
from sandbox.postgres.database import LocalDatabase
from sandbox.postgres.link import DatabaseLink
from sandbox.stand_in.clock import Clock
from sandbox.stand_in.server import Server
from sandbox.state.home import Home
from sandbox.system import platform, schema
from sandbox.system.failpoints import Failpoints
from sandbox.system.messenger import StandIn
from sandbox.system.nodes import Nodes
from sandbox.system.settings import check_settings
from sandbox.telegram import Webhook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping
    from pathlib import Path

    from sandbox.cloud.checkout import Checkout
    from sandbox.stand_in.faults import Faults
    from sandbox.system.messenger import Messenger
    from sandbox.telegram import Telegram

_BOT_TOKEN = "TELEGRAM_BOT_TOKEN"  # noqa: S105 - the setting's name
_QUIET_LOOKS = 2  # how often in a row nothing must have happened before the system counts as settled


class SystemFailedError(RuntimeError):
    """A part answered what it must not; the text says which."""


class System:
    """Everything wired together in one folder.

    `start` to begin, `stop` to end; after `stop` a new `System` on the same folder goes on where this one was.

    Args:
        folder: state, secrets, ports and logs.
        instances: how many processes of a target, 1 unless said; the gateway lets them take turns.
        guards: run functions with `ATLAS_TEST_GUARDS=1`.
        scheduler: fire the sweeps by their schedule; off, they run when `sweep` is called.
        durable: Postgres survives a crash of the machine (and is slower).
        link: put a `DatabaseLink` between functions and Postgres, so that the database can be slow, silent or down for them.
        settings: over those made here, for every function.
        messenger: makes the bot's side of Telegram, the stand-in unless said.
        checkout: whose functions, schema and node service run; stand-ins are always these.
        migrations: bring a database, by its URL, to the schema to run on, when that is not the checkout's newest.
        forked: functions begin with their libraries loaded (`sandbox/processes/forks.py`): a start is faster, and can't be measured.
        probed: ask each process whether it lives, as the platform does, and replace one that does not answer.
    """

    def __init__(
        self,
        folder: Path,
        *,
        instances: Mapping[str, int] | None = None,
        guards: bool = False,
        scheduler: bool = False,
        durable: bool = False,
        link: bool = False,
        settings: Mapping[str, str] | None = None,
        messenger: Callable[[Home, Clock], Messenger] = StandIn,
        checkout: Checkout = HERE,
        migrations: Callable[[str], list[str]] | None = None,
        probed: bool = False,
        forked: bool = False,
    ) -> None:
        self.checkout = checkout
        self._migrations = migrations or partial(schema.newest, checkout)
        self.home = Home(folder)
        self.clock = Clock()
        self._make_messenger = messenger
        self.failpoints = Failpoints(folder.resolve() / "failpoints")
        self.link: DatabaseLink | None = None
        self._instances = dict(instances or {})
        self._guards = guards
        self._scheduled = scheduler
        self._durable = durable
        self._linked = link
        self._extra = dict(settings or {})
        self._undo = contextlib.AsyncExitStack()
        self._probed = probed
        self._forked = forked
        self.started = False

    # -- life ----------------------------------------------------------------------------------------------------------

    async def start(self, progress: Callable[[str, float], None] | None = None) -> Self:
        """Start every part and return when a person could write to the bot.

        Args:
            progress: is told each step when it is done and the seconds it took.

        Raises:
            sandbox.state.home.InUseError: another process has the folder.
            BadSettingsError: `settings` hold something that functions would refuse; nothing was started.
            Exception: what the part that failed says; everything started before it is stopped again.
        """
        tell = progress or (lambda _step, _seconds: None)
        self.home.take()
        self._undo.callback(self.home.let_go)
        try:
            self._assemble()
            if self._extra:
                await check_settings(self.settings(), self.checkout)
            await self._start(tell)
        except BaseExceptionGroup as several:  # parts that start side by side; the first failure tells
            await self.stop()
            raise several.exceptions[0] from several
        except BaseException:
            await self.stop()
            raise
        self.started = True
        return self

    async def stop(self) -> None:
        """Stop every part, in the opposite order; state stays in the folder. Idempotent."""
        self.started = False
        await self._undo.aclose()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    def _assemble(self) -> None:
        """Everything that needs no running part: addresses first, since each part is told the others'."""
        home = self.home
        self.failpoints.folder.mkdir(parents=True, exist_ok=True)
        functions_port = home.port("postgres.link") if self._linked else None
        self.database = LocalDatabase(
            home, durable=self._durable, functions_port=functions_port, migrations=self._migrations
        )
        if functions_port is not None:
            self.link = DatabaseLink(functions_port, self.database.server.port)
        self.node_master_key = home.secret("node.master", prefix="master-")
        self.nodes = Nodes(home, self.node_master_key, self.checkout.root)
        self.messenger = self._make_messenger(home, self.clock)
        self.bot_token = self.messenger.token
        self.webhook_secret = home.secret("telegram.webhook")
        self.cryptopay_token = f"31337:{home.secret('cryptopay')}"
        self.health_key = home.secret("health")
        self.urls = {
            name: f"http://127.0.0.1:{home.port(name)}" for name in ("gateway", "cryptopay", "cloudtasks", "scheduler")
        }
        self.fleet = Fleet(home, self.settings(), self._instances, checkout=self.checkout, forked=self._forked)
        self.probes = LivenessProbes(self.fleet.processes, function_table.probes())
        self.gateway = Gateway(self.fleet.backends())
        self.iam = Iam(
            invokers(
                tasks=platform.tasks_invokers(self.checkout),
                scheduler=platform.SCHEDULER_INVOKER,
                table=self.checkout.table,
            ),
            base_url=self.urls["gateway"],
            signer=test_key_signer(),
        )

    async def _start(self, tell: Callable[[str, float], None]) -> None:
        async with _timed(tell, "database, node and functions"), asyncio.TaskGroup() as parts:
            parts.create_task(self._start_database(tell))
            parts.create_task(self._start_nodes(tell))
            # They ask for the database with their first request, so they may load meanwhile.
            parts.create_task(self._start_fleet(tell))
        async with _timed(tell, "Telegram, Crypto Pay, task queues and scheduler"):
            await self._start_stand_ins()

    async def _start_database(self, tell: Callable[[str, float], None]) -> None:
        async with _timed(tell, "PostgreSQL with the newest schema"):
            self._undo.push_async_callback(asyncio.to_thread, self.database.stop)
            await asyncio.to_thread(self.database.start)
            await asyncio.to_thread(self.nodes.register, self.database)
            if self.link is not None:
                self._undo.push_async_callback(self.link.stop)
                await self.link.start()

    async def _start_nodes(self, tell: Callable[[str, float], None]) -> None:
        async with _timed(tell, f"{len(self.nodes)} VPN nodes, each Xray and its service"):
            for node in self.nodes:
                self._undo.push_async_callback(node.stop)
            await self.nodes.start()

    async def _start_fleet(self, tell: Callable[[str, float], None]) -> None:
        async with _timed(tell, f"{len(self.fleet.chosen())} function processes"):
            self._undo.push_async_callback(self.fleet.close)
            await self.fleet.start()
            if self._probed:
                self._undo.push_async_callback(self.probes.stop)
                self.probes.start()

    async def _start_stand_ins(self) -> None:
        offset = await asyncio.to_thread(self.database.offset)
        self.clock.travel(offset - self.clock.offset)
        self.nodes.set_clocks(self.clock.offset)
        stores = self.home.folder("stores")
        self.cryptopay = CryptoPay(tokens=[self.cryptopay_token], clock=self.clock, store=stores / "cryptopay.sqlite3")
        self.cryptopay.public_url = self.urls["cryptopay"]
        self.cryptopay.webhook_url = self.function_url("cryptobot_webhook")
        self.cryptopay.framed_by = (
            self.messenger.page_origin
        )  # the chat page shows an invoice as Telegram shows a mini app
        self.tasks = CloudTasks(
            platform.queues(self.checkout.table),
            clock=self.clock,
            store=stores / "cloudtasks.sqlite3",
            grants={function.service: function.enqueues for function in self.checkout.table.functions.values()},
            acts_as={
                function.service: [platform.tasks_invoker(queue, self.checkout) for queue in function.enqueues]
                for function in self.checkout.table.functions.values()
            },
        )
        self.tasks.readdress(platform.Readdress(self.checkout.table, self.urls["gateway"]))
        self.scheduler = Scheduler(platform.jobs(self.checkout.table, self.urls["gateway"]), clock=self.clock)
        self._undo.push_async_callback(self.gateway.close)
        for name, app in (
            ("gateway", self.iam.protect(self.gateway.app)),
            ("cryptopay", self.cryptopay.app),
            ("cloudtasks", self.tasks.app),
            ("scheduler", scheduler_api(self.scheduler)),
        ):
            server = Server(app, self.home.port(name))
            self._undo.push_async_callback(server.stop)
            await server.start()
        self._undo.push_async_callback(self.messenger.stop)
        admins = frozenset(int(one) for one in self._extra.get("ADMIN_IDS", "").split(",") if one.strip())
        await self.messenger.open(framed=(self.urls["cryptopay"],), admins=admins)
        for part in (self.cryptopay, self.tasks):
            self._undo.push_async_callback(part.stop)
            await part.start()
        await self.messenger.deliver_to(self._webhook())
        self._undo.push_async_callback(self.scheduler.stop)
        if self._scheduled:
            await self.scheduler.start()

    # -- settings ------------------------------------------------------------------------------------------------------

    def settings(self) -> dict[str, str]:
        """Every setting (docs/configuration.md) that this system uses, secrets included."""
        made = {
            "ENVIRONMENT": "local",
            "LOG_LEVEL": "INFO",
            "DATABASE_URL": self.database.functions_url,
            "TELEGRAM_WEBHOOK_SECRET": self.webhook_secret,
            "TELEGRAM_WEBHOOK_URL": self.function_url("telegram_webhook"),
            "CRYPTOPAY_TOKEN": self.cryptopay_token,
            "CRYPTOPAY_API_BASE": self.urls["cryptopay"],
            "CRYPTOPAY_ASSETS": "USDT,TON,BTC",
            "CRYPTOPAY_WEBHOOK_URL": self.function_url("cryptobot_webhook"),
            "PUBLIC_BASE_URL": self.urls["gateway"],
            "HEALTH_KEY": self.health_key,
            "TASKS_ENDPOINT": self.urls["cloudtasks"],
            "TASKS_PROJECT": "local",
            "TASKS_LOCATION": "local",
            "TASKS_INVOKER": platform.tasks_invokers(self.checkout),
            "FUNCTION_URL_TEMPLATE": f"{self.urls['gateway']}/{{name}}",
            "XRAY_API_URL": self.nodes[0].url,
            "XRAY_API_KEY": self.nodes[0].key,
            keys.MASTER_KEYS: self.node_master_key,
            "ATLAS_FAILPOINTS": str(self.failpoints.folder),
        }
        if self._guards:
            made["ATLAS_TEST_GUARDS"] = "1"
        return made | self.messenger.settings() | self._extra

    def facts(self) -> dict[str, Any]:
        """What commands beside this system need (`Home.announce`): addresses, the owner's database URL, settings."""
        settings = self.settings()
        if self.messenger.real:  # a real bot's tokens are kept where its operator keeps them, and nowhere else
            settings = {name: value for name, value in settings.items() if name not in {_BOT_TOKEN, PROVIDER}}
        return {"chat": self.chat_url, "database": self.database.owner_url, "settings": settings} | {
            "scheduler": self.urls["scheduler"]
        }

    @property
    def telegram(self) -> Telegram:
        """The stand-in for Telegram: simulated people, faults on demand.

        Raises:
            RuntimeError: it is not up, or this system talks to the real one.
        """
        if not isinstance(self.messenger, StandIn):
            raise RuntimeError("the real Telegram has no simulated people")  # noqa: TRY004 - no wrong argument: a wrong moment
        return self.messenger.telegram

    @property
    def chat_url(self) -> str:
        """Where a person writes to the bot."""
        return self.messenger.chat_url

    def function_url(self, target: str) -> str:
        """Where the gateway has a function."""
        return platform.function_url(self.urls["gateway"], self.checkout.table.functions[target])

    def _webhook(self) -> Webhook:
        """Where updates go, with the secret and as many at once as the instances can take."""
        row = self.checkout.table.functions["telegram_webhook"]
        connections = most_connections(row, self._instances.get(row.name, 1))
        return Webhook(self.function_url(row.name), self.webhook_secret, connections)

    # -- functions -----------------------------------------------------------------------------------------------------

    async def start_functions(self, only: Iterable[str] | None = None) -> None:
        """Start the function processes that do not run."""
        await self.fleet.start(only)

    async def kill_functions(self, only: Iterable[str] | None = None) -> None:
        """SIGKILL every process of these functions, or of all, at once."""
        await self.fleet.kill(only)

    async def restart(self, only: Iterable[str] | None = None) -> None:
        """Stop and start, as a deploy does."""
        await self.fleet.stop(only)
        await self.fleet.start(only)

    async def call(
        self,
        target: str,
        path: str = "/",
        *,
        instance: int = 0,
        method: str = "POST",
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 180.0,
    ) -> httpx.Response:
        """Call one instance of a function directly, past the gateway."""
        port = self.fleet.processes[target][instance].port
        async with _client(timeout_s) as client:
            return await client.request(
                method, f"http://127.0.0.1:{port}{path}", json=json, content=content, headers=dict(headers or {})
            )

    async def sweep(self, name: str) -> dict[str, Any]:
        """Run a sweep once, as the scheduler does, and return what it answered.

        Raises:
            KeyError: there is no such sweep.
            SystemFailedError: it did not answer 200 with JSON.
        """
        run = await self.scheduler.run_now(self.checkout.table.sweep(name).service)
        if run.status != HTTPStatus.OK:
            raise SystemFailedError(f"sweep {name}: {run.reason} {run.body[:300]!r}")
        answer: dict[str, Any] = json.loads(run.body)
        return answer

    @property
    def sweeps(self) -> list[str]:
        """Names that `sweep` takes."""
        functions = self.checkout.table.functions.values()
        return [
            function_table.sweep_name(function.name) for function in functions if function.trigger == platform.SCHEDULED
        ]

    async def switch_scheduler(self, *, on: bool) -> None:
        """Fire the sweeps by their schedule, or leave them to `sweep`."""
        self._scheduled = on
        if on:
            await self.scheduler.start()
        else:
            await self.scheduler.halt()

    @property
    def scheduler_is_on(self) -> bool:
        """Whether sweeps fire by themselves."""
        return self._scheduled

    @property
    def faults(self) -> Faults:
        """What goes wrong between the outside world and the functions; setting it takes effect at once."""
        return self.gateway.injector.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self.messenger.spoil_calls(faults)
        self.gateway.injector.faults = faults

    def arm(self, failpoint: str, action: str = "kill") -> None:
        """Stop the next process that reaches this place (lib/failpoints.py); over all processes it fires once."""
        self.failpoints.arm(failpoint, action)

    def disarm(self) -> None:
        """Take back every failpoint that has not fired."""
        self.failpoints.disarm()

    # -- time, state, rest ---------------------------------------------------------------------------------------------

    async def travel(self, by: timedelta) -> None:
        """Let time pass, for the database, all stand-ins and the nodes' wall clocks together."""
        ahead = await asyncio.to_thread(self.database.travel, by)
        # Not by `by`: the database may have gone before, in a call that it died over, or in one that is still to be heard of.
        self.clock.travel(max(ahead - self.clock.offset, timedelta(0)))
        self.nodes.set_clocks(self.clock.offset)

    async def sql(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """One statement as the owner of the database; rows by column name."""
        return await asyncio.to_thread(self.database.query, query, **parameters)

    async def invariants(self) -> list[Violation]:
        """What must never be, and is; empty when all holds. Beyond what Postgres can be asked: each client on a node has its row."""
        found = await asyncio.to_thread(self.database.invariants)
        if strangers := await self.nodes.without_a_row(self.database):
            found.append(Violation("client_on_a_node_has_its_row", tuple(strangers)))
        return found

    async def settled(self, timeout_s: float = 30.0) -> None:
        """Return when nothing is under way: updates delivered, webhooks answered, tasks run that are due, calls executed.

        Work that waits for a moment to come (a retry, a lease) does not count.

        Raises:
            AssertionError: still busy after so many real seconds; the text says with what.
        """
        deadline = time.monotonic() + timeout_s
        before, quiet = self._activity(), 0
        while quiet < _QUIET_LOOKS:
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"not settled within {timeout_s:.0f} s: {before}")
            await self.messenger.idle(left)
            await self.cryptopay.idle(left)
            await self.gateway.idle()
            try:
                await self.tasks.idle(left)
            except TimeoutError:
                waiting = ", ".join(f"{task.queue}:{task.short_name[:8]}" for task in self.tasks.tasks.values())
                raise AssertionError(f"tasks still busy after {timeout_s:.0f} s: {waiting}") from None
            now = self._activity()
            quiet, before = (quiet + 1 if now == before else 0), now

    def _activity(self) -> dict[str, int]:
        return self.messenger.activity() | {
            "tasks": len(self.tasks.attempts),
            "requests": self.gateway.count,
        }


@asynccontextmanager
async def _timed(tell: Callable[[str, float], None], step: str) -> AsyncIterator[None]:
    began = time.monotonic()
    yield
    tell(step, time.monotonic() - began)


def _client(timeout_s: float = 30.0) -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=httpx.Timeout(timeout_s, connect=10), trust_env=False)
