"""What the checks are given: settings, secrets, the database, the cloud's own words, all of one environment."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import httpx

from infra.doctor.check import NotCheckedError, WrongError
from infra.doctor.once import Once
from infra.doctor.reading import STATEMENT_S, Sessions
from lib import function_table
from lib.db.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    import pg8000.native

    from infra.doctor.reading import Reading
    from lib.function_table import Function, Table

T = TypeVar("T")
Json = dict[str, Any]

_READERS = 2
"""Connections at once: the smallest database has few to spare, and the doctor must not be what takes the last one."""


def _secrets(table: Table) -> frozenset[str]:
    """Names of the settings that come from Secret Manager, by the table of functions."""
    return frozenset(name for row in table.functions.values() for name in row.secrets)


class Platform(Protocol):
    """What queues and schedules there are, in the words of the two REST APIs. Every method blocks."""

    def queues(self) -> list[Json]:
        """Each a `Queue` of Cloud Tasks v2."""

    def tasks(self, queue: str) -> list[Json]:
        """Up to a thousand `Task`s of a queue."""

    def jobs(self) -> list[Json]:
        """Each a `Job` of Cloud Scheduler v1."""


class Cloud(Platform, Protocol):
    """What only a project on Google Cloud has. Every method blocks."""

    def services(self) -> list[Json]:
        """Each a `Service` of Cloud Run v2."""

    def run_jobs(self) -> list[Json]:
        """Each a `Job` of Cloud Run v2: the one that migrates."""

    def secret_versions(self, secret: str) -> list[Json]:
        """Each a `SecretVersion`."""

    def database(self) -> Json | None:
        """The `DatabaseInstance` of Cloud SQL; None where the database is the operator's own."""

    def backups(self) -> list[Json]:
        """The newest `BackupRun`s, newest first."""

    def disk_used(self) -> float | None:
        """Share of the database's disk in use within the last ten minutes; None when there is no figure."""

    def alert_policies(self) -> list[Json]:
        """Each an `AlertPolicy` of Cloud Monitoring."""

    def channels(self) -> list[Json]:
        """Each a `NotificationChannel`."""

    def budgets(self) -> list[Json]:
        """Each a `Budget` of the project's billing account that concerns this project."""

    def drift(self) -> list[str]:
        """Addresses of what `terraform plan` would change; empty when nothing."""


@dataclass
class Deployment:
    """One environment. Made once, used by every check, closed at the end.

    Attributes:
        name: `local`, `dev` or `prod`.
        settings: what functions are told, but for the secrets of a cloud, which `setting` fetches one by one.
        secret: reads a secret's current value; only for names that `settings` lacks.
        connect: opens a session of the role that reads.
        platform: queues and schedules; None where they can't be asked.
        cloud: everything else that only a cloud has; None on this machine.
        folder: of a local system's state, whose disk may fill up.
        trouble: why settings can't be had; then there are none.
        fetches_updates: a local system with a real bot, which has no webhook.
        together: the service that serves every private function by path, in a size that has one.
        most_instances: of each function, where the size says so.
    """

    name: str
    settings: Mapping[str, str] = field(repr=False)
    connect: Callable[[], pg8000.native.Connection] = field(repr=False)
    secret: Callable[[str], str | None] = field(default=lambda _name: None, repr=False)
    platform: Platform | None = None
    cloud: Cloud | None = None
    folder: str = ""
    trouble: str = ""
    fetches_updates: bool = False
    together: str = ""
    most_instances: int | None = None
    once: Once = field(default_factory=Once, repr=False)
    table: Table = field(default_factory=function_table.load, repr=False)

    def __post_init__(self) -> None:
        """What belongs to the running event loop."""
        self._readers = asyncio.Semaphore(_READERS)
        self._sessions = Sessions(self.connect)
        # Daemons, never waited for: what hangs in a thread must not keep the whole look from ending.
        self._threads = Workers("doctor")
        # No proxy of the environment and no redirect: what answers must be the part that is asked, and gets a secret.
        self.http = httpx.AsyncClient(timeout=httpx.Timeout(8, connect=5), trust_env=False, follow_redirects=False)

    async def close(self) -> None:
        """Let go of connections and of questions that are still open."""
        await self.once.close()
        self._sessions.close()
        await self.http.aclose()

    async def read(self, question: Callable[[Reading], T], statement_s: float = STATEMENT_S) -> T:
        """What `question` reads, in a transaction of its own.

        Raises:
            WrongError: the database can't be had, or refused.
        """

        def ask() -> T:
            with self._sessions.reading(statement_s) as session:
                return question(session)

        async with self._readers:
            return await self._threads.submit(ask)

    async def rows(self, sql: str, **parameters: Any) -> list[Json]:
        """Rows of one statement by column name. Raises: WrongError, as `read`."""

        def ask(session: Reading) -> list[Json]:
            columns, rows, _ = session.execute(sql, parameters)
            return [dict(zip(columns, row, strict=True)) for row in rows]

        return await self.read(ask)

    async def now(self) -> datetime:
        """Atlas's own time. Raises: WrongError, as `read`."""

        async def ask() -> datetime:
            moment: datetime = (await self.rows("select atlas.now() as moment"))[0]["moment"]
            return moment

        return await self.once.get("now", ask)

    async def setting(self, name: str) -> str:
        """A setting's or a secret's value; "" when it is unset.

        Raises:
            WrongError: the secret can't be read.
        """
        if name in self.settings:
            return self.settings[name].strip()
        if self.trouble and name not in _secrets(self.table):
            raise WrongError(self.trouble)

        async def ask() -> str:
            return (await self._threads.submit(lambda: self.secret(name)) or "").strip()

        return await self.once.get(("setting", name), ask)

    async def everything(self) -> dict[str, str]:
        """All settings that functions are told, secrets included; what is unset is left out.

        Raises:
            WrongError: they can't be had, or a secret of theirs.
        """
        if self.trouble:
            raise WrongError(self.trouble)
        values = {name: await self.setting(name) for name in sorted(_secrets(self.table) | set(self.settings))}
        return {name: value for name, value in values.items() if value}

    async def members(self, name: str) -> list[str]:
        """A setting that is a list, the first one current. Raises: WrongError."""
        return [part.strip() for part in (await self.setting(name)).split(",") if part.strip()]

    async def function_url(self, function: Function) -> str:
        """Where a function is called, without a slash at the end.

        Raises:
            WrongError: FUNCTION_URL_TEMPLATE says nothing.
        """
        template = await self.setting("FUNCTION_URL_TEMPLATE")
        if "{name}" not in template:
            raise WrongError("FUNCTION_URL_TEMPLATE is not set, so no function can be called")
        if self.together and function.trigger != "public":
            return f"{template.replace('{name}', self.together)}/{function.service}"
        return template.replace("{name}", function.service)

    async def asked(self, what: Callable[[Platform], T], key: str) -> T:
        """What queues or schedules there are, asked once.

        Raises:
            NotCheckedError: there is nothing to ask.
            WrongError: it did not answer.
        """
        platform = self.platform
        if platform is None:
            raise NotCheckedError("no service of queues and schedules can be asked here")
        return await self.once.get(("platform", key), lambda: self._threads.submit(lambda: what(platform)))

    async def of_cloud(self, what: Callable[[Cloud], T], key: str) -> T:
        """What only a cloud has, asked once.

        Raises:
            NotCheckedError: this is no cloud.
            WrongError: it did not answer.
        """
        cloud = self.cloud
        if cloud is None:
            raise NotCheckedError("this machine has none")
        return await self.once.get(("cloud", key), lambda: self._threads.submit(lambda: what(cloud)))
