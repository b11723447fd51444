"""One process for each instance of each function, started exactly as an operator would: `functions-framework --target ...`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sandbox.cloud.checkout import HERE, ROOT
from sandbox.cloud.cloudtasks.api import CALLERS
from sandbox.cloud.gateway import Backend
from sandbox.processes.child import Process, ProcessFailedError, bare_environment
from sandbox.processes.forks import POSSIBLE, Forks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lib.function_table import Function, Table
    from sandbox.cloud.checkout import Checkout
    from sandbox.state.home import Home

# Of other people, loaded by functions before they answer. Not aiogram: how it is loaded is Atlas's own affair (lib/bot/deferred_models.py).
_LIBRARIES = (
    *("functions_framework._cli", "functions_framework.aio", "functions_framework._http.gunicorn", "uvicorn_worker"),
    *("uvicorn.protocols.http.auto", "uvicorn.lifespan.on", "starlette.responses", "starlette.routing"),
    *("pg8000.native", "pydantic_settings", "aiohttp", "magic_filter", "aiofiles", "logging.config"),
)
PROVIDER: Final = "TELEGRAM_PROVIDER_TOKEN"
__all__ = ["PROVIDER", "ROOT", "Fleet", "settings_of"]


def settings_of(function: Function, settings: Mapping[str, str], table: Table | None = None) -> dict[str, str]:
    """The settings that this function would have when deployed: of the secrets, those its row names and no other.

    `HOST` is functions-framework's own: it would listen on every interface of this machine.
    """
    secret = {name for row in (table or HERE.table).functions.values() for name in row.secrets}
    given = {name: value for name, value in settings.items() if name not in secret or name in function.secrets}
    if endpoint := given.get("TASKS_ENDPOINT"):
        given["TASKS_ENDPOINT"] = (
            f"{endpoint}{CALLERS}{function.service}"  # who it is, as its service account says when deployed
        )
    return given | {"DB_CONNECTIONS": str(function.connections), "HOST": "127.0.0.1"}


class Fleet:
    """All instances of all functions.

    Args:
        home: has their ports and logs.
        settings: of the whole system; each function gets its part (`settings_of`).
        instances: how many of a target to run, 1 unless said.
        checkout: whose code they run.
        forked: they begin with their libraries loaded (`sandbox/processes/forks.py`), where that is possible.
    """

    def __init__(
        self,
        home: Home,
        settings: Mapping[str, str],
        instances: Mapping[str, int] | None = None,
        *,
        checkout: Checkout = HERE,
        forked: bool = False,
    ) -> None:
        wanted = dict(instances or {})
        self._functions = checkout.table.functions
        if unknown := wanted.keys() - self._functions.keys():
            raise ValueError(f"no such function: {', '.join(sorted(unknown))}")
        self._forks = None
        if forked and POSSIBLE:
            self._forks = Forks(
                checkout.python, _LIBRARIES, cwd=checkout.root, env=bare_environment({}), log=home.logs / "forks.log"
            )
        self.processes: dict[str, list[Process]] = {}
        for function in self._functions.values():
            self.processes[function.name] = []
            for number in range(wanted.get(function.name, 1)):
                name = function.name if number == 0 else f"{function.name}.{number}"
                port = home.port(name)
                self.processes[function.name].append(
                    Process(
                        [checkout.framework, "--target", function.name, "--port", str(port)],
                        cwd=checkout.root,
                        env=bare_environment(settings_of(function, settings, checkout.table)),
                        log=home.logs / f"{name}.log",
                        port=port,
                        forks=self._forks,
                    )
                )

    def backends(self) -> list[Backend]:
        """What the gateway needs to know."""
        functions = self._functions
        return [
            Backend(
                functions[name].service,
                tuple(process.port for process in group),
                functions[name].timeout_s,
                webhook=functions[name].trigger == "public",
            )
            for name, group in self.processes.items()
        ]

    def chosen(self, only: Iterable[str] | None = None) -> list[Process]:
        """The processes of these targets, or all."""
        names = self.processes if only is None else list(only)
        return [process for name in names for process in self.processes[name]]

    async def start(self, only: Iterable[str] | None = None, *, timeout_s: float = 60.0) -> None:
        """Start what does not run and return when all of it answers.

        Raises:
            ProcessFailedError: one did not come up; the text says every one that did not.
        """
        idle = [process for process in self.chosen(only) if not process.running]
        outcomes = await asyncio.gather(*(process.start(timeout_s) for process in idle), return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if failures:
            raise ProcessFailedError("\n".join(str(failure) for failure in failures)) from failures[0]

    async def stop(self, only: Iterable[str] | None = None) -> None:
        """Ask them to end, as a scale-down does."""
        await asyncio.gather(*(process.stop() for process in self.chosen(only)))

    async def close(self) -> None:
        """`stop` for good: what begins them ends as well."""
        await self.stop()
        if self._forks is not None:
            await self._forks.stop()

    async def kill(self, only: Iterable[str] | None = None) -> None:
        """SIGKILL master and worker of each, at once."""
        await asyncio.gather(*(process.kill() for process in self.chosen(only)))
