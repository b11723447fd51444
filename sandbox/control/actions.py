"""What the buttons do. Each answers with a sentence for the person who pressed one; RefusedError says why it did nothing."""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sandbox.control.active_faults import NEXT_TASK, SHARES, end_all, node_state, set_share
from sandbox.control.asking import RefusedError, body_of, number, text
from sandbox.control.books import known_flags
from sandbox.stand_in.faults import BAD_DAY, NONE, Faults
from sandbox.system.failpoints import BadActionError, places
from sandbox.system.nodes import NODE_NAMES

if TYPE_CHECKING:
    from starlette.requests import Request

    from sandbox.control.time_travel import TimeTravel
    from sandbox.postgres.link import DatabaseLink
    from sandbox.processes.child import Process
    from sandbox.system.system import System

_LONGEST: Final = timedelta(days=366)
_SHORTEST_STEP: Final = timedelta(minutes=1)
_SLOWEST_MS: Final = 60_000
_LATEST_S: Final = 600.0
_LATE_TICK_S: Final = 45.0
PRESETS: Final = {
    "bad-day": ("a bad day", BAD_DAY),
    "storm": ("a 429 storm", Faults(flooded=1.0)),
    "refusals": ("a third of what the bot says refused", Faults(refused=1 / 3)),
    "slow": ("answers of the Bot API up to 4 s late", Faults(slow_s=2.0)),
    "lossy": ("half of the webhooks lost", Faults(lost=0.5)),
    "echo": ("every webhook twice", Faults(twice=1.0)),
    "late": ("webhooks up to 2 s late", Faults(late_s=2.0)),
    "none": ("nothing wrong on the way", NONE),
}
"""Faults of delivery by name, with what they are called."""


class Actions:
    """Changes one running system."""

    def __init__(self, system: System, time_travel: TimeTravel) -> None:
        self._system = system
        self._time_travel = time_travel

    # -- time ----------------------------------------------------------------------------------------------------------

    async def travel(self, request: Request) -> dict[str, Any]:
        """Jump; sweeps follow at their next tick."""
        if self._time_travel.running:
            raise RefusedError("time is passing already")
        seconds = number(await body_of(request), "seconds", most=_LONGEST.total_seconds())
        if not seconds:
            raise RefusedError("time goes forward only, and at most a year at once")
        await self._system.travel(timedelta(seconds=seconds))
        return _said(f"It is {self._system.clock.now():%Y-%m-%d %H:%M} UTC now. Sweeps follow at their next tick.")

    async def let_pass(self, request: Request) -> dict[str, Any]:
        """Begin to let time go by in steps."""
        asked = await body_of(request)
        shortest = _SHORTEST_STEP.total_seconds()
        seconds = number(asked, "seconds", least=shortest, most=_LONGEST.total_seconds())
        step = number(asked, "step_seconds", least=shortest, most=seconds)
        self._time_travel.begin(timedelta(seconds=seconds), timedelta(seconds=step))
        return _said("Time passes.")

    async def stop_travel(self, _request: Request) -> dict[str, Any]:
        """End after the step that it is in."""
        self._time_travel.stop()
        return _said("It stops after this step.")

    # -- sweeps and ticks ----------------------------------------------------------------------------------------------

    async def sweep(self, request: Request) -> dict[str, Any]:
        """Run one now; its own answer."""
        name = request.path_params["name"]
        if name not in self._system.sweeps:
            raise RefusedError(f"no sweep {name!r}; there are: {', '.join(self._system.sweeps)}")
        return await self._system.sweep(name)

    async def scheduler(self, request: Request) -> dict[str, Any]:
        """Fire sweeps by their schedule, or not."""
        what = request.path_params["what"]
        if what not in {"on", "off"}:
            raise RefusedError(f"the scheduler is on or off, not {what!r}")
        await self._system.switch_scheduler(on=what == "on")
        return _said(f"The scheduler is {what}.")

    async def tick(self, request: Request) -> dict[str, Any]:
        """Let a job's ticks pass unheard, or the next one never come, twice, or late."""
        job, what = request.path_params["job"], request.path_params["what"]
        scheduler = self._system.scheduler
        if job not in scheduler.jobs:
            raise RefusedError(f"no job {job!r}")
        match what:
            case "pause":
                scheduler.pause(job)
                return _said(f"{job}: its ticks pass unheard from now on.")
            case "resume":
                scheduler.resume(job)
                return _said(f"{job}: its ticks count again.")
            case "miss":
                scheduler.miss_next(job)
                return _said(f"{job}: the next tick never comes.")
            case "double":
                scheduler.double_next(job)
                return _said(f"{job}: the next tick comes twice.")
            case "delay":
                scheduler.delay_next(job, _LATE_TICK_S)
                return _said(f"{job}: the next tick comes {_LATE_TICK_S:g} s late.")
        raise RefusedError(f"ticks pause or resume, the next one is missed, doubled or delayed; no {what!r}")

    # -- queues and tasks ----------------------------------------------------------------------------------------------

    async def queue(self, request: Request) -> dict[str, Any]:
        """Pause, resume or purge."""
        name, what = request.path_params["name"], request.path_params["what"]
        tasks = self._system.tasks
        if name not in tasks.queues:
            raise RefusedError(f"no queue {name!r}")
        match what:
            case "pause":
                tasks.pause(name)
                return _said(f"{name} is paused: tasks are taken and wait.")
            case "resume":
                tasks.resume(name)
                return _said(f"{name} runs.")
            case "purge":
                count = sum(task.queue == name for task in tasks.tasks.values())
                tasks.purge(name)
                return _said(f"{name}: {count} tasks are gone.")
        raise RefusedError(f"a queue is paused, resumed or purged, not {what!r}")

    async def task(self, request: Request) -> dict[str, Any]:
        """Attempt one now, or delete it."""
        what = request.path_params["what"]
        task = self._system.tasks.tasks.get(text(await body_of(request), "name"))
        if task is None:
            raise RefusedError("no such task waits any more")
        match what:
            case "run":
                self._system.tasks.run_now(task.name)
                return _said(f"{task.short_name[:12]} is attempted.")
            case "delete":
                self._system.tasks.forget(task)
                return _said(f"{task.short_name[:12]} is deleted.")
        raise RefusedError(f"a task is run or deleted, not {what!r}")

    async def next_task(self, request: Request) -> dict[str, Any]:
        """What becomes of the next task that is made in a queue: lost, twice, refused, or refused though it is there."""
        name, what = request.path_params["name"], request.path_params["what"]
        tasks = self._system.tasks
        if name not in tasks.queues:
            raise RefusedError(f"no queue {name!r}")
        match what:
            case "lost":
                tasks.lose_next(name)
            case "twice":
                tasks.double_next(name)
            case "refused":
                tasks.fail_next_create(name)
            case "unclear":
                tasks.fail_next_create(name, stored=True)
            case _:
                raise RefusedError(f"the next task is lost, twice, refused or unclear, not {what!r}")
        return _said(f"{name}: the next task {NEXT_TASK[what]}.")

    # -- functions -----------------------------------------------------------------------------------------------------

    async def function(self, request: Request) -> dict[str, Any]:
        """Kill, stop, start, freeze, thaw one process, or kill it and start it again."""
        process = self._process(request)
        name, what = request.path_params["name"], request.path_params["what"]
        if what != "start" and not process.running:
            raise RefusedError(f"{name} does not run")
        if what in {"freeze", "thaw"} and process.known_pid is None:
            raise RefusedError(f"the start of {name} has just begun")
        match what:
            case "kill":
                await process.kill()
            case "stop":
                await process.stop()
            case "start":
                if process.running:
                    raise RefusedError(f"{name} runs already")
                await process.start()
            case "restart":
                await process.kill()
                await process.start()
            case "freeze":
                process.suspend()
            case "thaw":
                process.resume()
            case _:
                raise RefusedError(f"a function can't be told to {what!r}")
        return _said(f"{name}: {_DONE[what]}.")

    def _process(self, request: Request) -> Process:
        group = self._system.fleet.processes.get(request.path_params["name"])
        instance: int = request.path_params["instance"]
        if group is None or instance >= len(group):
            raise RefusedError("no such instance")
        return group[instance]

    def log(self, request: Request) -> str:
        """The last lines of an instance's log.

        Raises:
            RefusedError
        """
        return self._process(request).log_tail(6000)

    # -- node, database, delivery --------------------------------------------------------------------------------------

    async def node(self, request: Request) -> dict[str, Any]:
        """One of them down, up, hung."""
        name, what = request.path_params["name"], request.path_params["what"]
        if name not in NODE_NAMES:
            raise RefusedError(f"there is no node {name!r}")
        node = self._system.nodes[NODE_NAMES.index(name)]
        match what:
            case "down":
                await node.kill()
            case "up":
                if node.service.frozen:
                    node.unhang()
                await node.start()
            case "hang":
                if node_state(node) != "up":
                    raise RefusedError("only a node that is up can hang")
                node.hang()
            case _:
                raise RefusedError(f"a node goes down, up or hangs, not {what!r}")
        return _said(f"The {name} node is {node_state(node)}.")

    async def database(self, request: Request) -> dict[str, Any]:
        """Slow, silent or cut off for functions; killed and started for all."""
        what, server = request.path_params["what"], self._system.database.server
        match what:
            case "slow":
                milliseconds = number(await body_of(request), "ms", most=_SLOWEST_MS)
                self._link().slow(milliseconds / 1000)
                return _said(f"Every message of a function to the database takes {milliseconds:g} ms longer.")
            case "hang":
                self._link().hang()
                return _said("The database takes connections and says nothing.")
            case "cut":
                await self._link().cut()
                return _said("The database is cut off from functions.")
            case "heal":
                await self._link().heal()
                return _said("The database is as it should be.")
            case "crash":
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
                return _said("PostgreSQL was killed and has recovered.")
        raise RefusedError(f"a database is slow, hangs, is cut, crashes or heals, not {what!r}")

    def _link(self) -> DatabaseLink:
        if self._system.link is None:
            raise RefusedError("functions of this system talk to PostgreSQL directly: only a crash is to be had")
        return self._system.link

    async def faults(self, request: Request) -> dict[str, Any]:
        """Shares of webhooks, calls, tasks and ticks that something happens to; what is not named stays as it is."""
        asked = await body_of(request)
        most = {field.name: _LATEST_S if field.name.endswith("_s") else 1.0 for field in fields(Faults)}
        most |= {name: highest for name, (_, _, highest) in SHARES.items()}
        if unknown := asked.keys() - most.keys():
            raise RefusedError(f"no such fault: {', '.join(sorted(unknown))}")
        wanted = {name: number(asked, name, most=most[name]) for name in asked}
        self._set_faults(replace(self._system.faults, **{n: v for n, v in wanted.items() if n not in SHARES}))
        for name in wanted.keys() & SHARES.keys():
            set_share(self._system, name, wanted[name])
        return _said("So it is from now on.")

    async def preset(self, request: Request) -> dict[str, Any]:
        """A set of them by name."""
        found = PRESETS.get(request.path_params["name"])
        if found is None:
            raise RefusedError(f"there are: {', '.join(PRESETS)}")
        self._set_faults(found[1])
        return _said(f"On the way to the functions: {found[0]}.")

    def _set_faults(self, faults: Faults) -> None:
        try:
            self._system.faults = faults
        except ValueError as error:  # the real Telegram takes no orders
            raise RefusedError(str(error)) from None

    async def all_well(self, _request: Request) -> dict[str, Any]:
        """Undo every fault."""
        await end_all(self._system)
        return _said("All is well again.")

    # -- failpoints and flags ------------------------------------------------------------------------------------------

    async def arm(self, request: Request) -> dict[str, Any]:
        """Arm a place that there is."""
        asked = await body_of(request)
        place = text(asked, "place")
        if place not in places():
            raise RefusedError(f"no failpoint {place!r}")
        try:
            self._system.failpoints.arm(place, text(asked, "action"))
        except BadActionError as error:
            raise RefusedError(str(error)) from None
        return _said(f"{place} is armed: the next process that gets there acts, once.")

    async def disarm(self, request: Request) -> dict[str, Any]:
        """Take back one, or all without `place`."""
        asked = await body_of(request)
        place = text(asked, "place") if "place" in asked else None
        self._system.failpoints.disarm(place)
        return _said(f"{place or 'Every failpoint'} is disarmed.")

    async def flag(self, request: Request) -> dict[str, Any]:
        """Switch what is behind a flag."""
        asked = await body_of(request)
        name, on = text(asked, "name"), asked.get("on")
        if name not in known_flags() or not isinstance(on, bool):
            raise RefusedError(f"name: one of {', '.join(known_flags())}; on: true or false")
        await self._system.sql(
            "insert into flags (name, enabled) values (:name, :on)"
            " on conflict (name) do update set enabled = excluded.enabled, updated_at = atlas.now()",
            name=name,
            on=on,
        )
        return _said(f"{name} is {'on' if on else 'off'}.")


_DONE: Final = {
    "kill": "killed",
    "stop": "stopped",
    "start": "started",
    "restart": "killed and started again",
    "freeze": "frozen",
    "thaw": "goes on",
}


def _said(sentence: str) -> dict[str, Any]:
    return {"said": sentence}
