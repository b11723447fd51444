"""The one thread that talks to Xray: it brings the running core to the recorded state, whatever happened to either.

Callers record first (`store`), then ask for clients to be settled. The thread reads what is recorded *now*, makes Xray agree, looks
at what Xray really runs and answers. When Xray is gone, slow or restarted, what it runs is unknown: everything is compared again as
soon as it answers, so a recorded change is never forgotten (S3-MR-2).
"""

from __future__ import annotations

import logging
import queue
import re
import threading
import time
from collections import defaultdict
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from xray_api.inbound import FLOW, Inbound, InboundError, LinkFacts
from xray_api.logs import failure, log
from xray_api.store import Client, Reader, Store, uuid_key
from xray_api.xray import RunningUser, Xray, XrayRefusedError, XrayUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from xray_api.cut import Cutter

_POLL_SECONDS: Final = 1.0  # between two looks at a healthy Xray
_RETRY_SECONDS: Final = 0.2  # between two attempts at one that does not answer
_MANY: Final = 2000  # names from which one list of all users is cheaper than asking for each
_OURS: Final = re.compile(r"([0-9a-z_-]{1,64})\.[0-9]+")
_DRIFTS: Final = 3


class Settled(NamedTuple):
    """A client's recorded row (None: never heard of) and whether Xray has been seen to agree with it."""

    row: Client | None
    agrees: bool


@dataclass(frozen=True)
class Status:
    """What `/health` says of Xray. `up` is None before the first look; `facts` None while no working link can be made."""

    up: bool | None = None
    facts: LinkFacts | None = None
    problems: tuple[str, ...] = ()
    unsettled: int = 0


class _DriftError(Exception):
    """Xray does not run what it was seen to run: it restarted, or another program changed it."""


class _Running:
    """What Xray runs, as last seen or changed by us, by name, client and UUID key."""

    def __init__(self, users: Iterable[RunningUser] = ()) -> None:
        self.users: dict[str, RunningUser] = {}
        self._by_client: defaultdict[str, set[str]] = defaultdict(set)
        self._by_key: defaultdict[str, set[str]] = defaultdict(set)
        for user in users:
            self.put(user)

    def put(self, user: RunningUser) -> None:
        self.discard(user.name)
        self.users[user.name] = user
        self._by_key[uuid_key(user.uuid)].add(user.name)
        if ours := _OURS.fullmatch(user.name):
            self._by_client[ours[1]].add(user.name)

    def discard(self, name: str) -> None:
        user = self.users.pop(name, None)
        if user is None:
            return
        ours = _OURS.fullmatch(name)
        for index, key in ((self._by_key, uuid_key(user.uuid)), (self._by_client, ours and ours[1])):
            if key is not None:
                index[key].discard(name)
                if not index[key]:
                    del index[key]

    def names_of(self, client: str) -> set[str]:
        return set(self._by_client.get(client, ()))

    def ours_with_key(self, key: str) -> set[str]:
        return {name for name in self._by_key.get(key, ()) if _OURS.fullmatch(name)}

    def clients(self) -> set[str]:
        return set(self._by_client)

    def foreign(self) -> list[RunningUser]:
        return [user for name, user in self.users.items() if not _OURS.fullmatch(name)]


class Converger:
    """Start it once; `settle` from any thread."""

    def __init__(self, store: Store, xray: Xray, cutter: Cutter) -> None:
        self._store = store
        self._xray = xray
        self._cutter = cutter
        self._asked: queue.SimpleQueue[tuple[tuple[str, ...], Future[dict[str, Settled]]] | None] = queue.SimpleQueue()
        self._running = _Running()
        self._synced = False
        self._stale = threading.Event()
        self._stopping = threading.Event()
        self._failed: set[str] = set()
        self._inbound: Inbound | None = None
        self._uptime: int | None = None
        self._unlisted = 0
        self._foreign = 0
        self._recheck_at: float | None = None
        self._warned: str | None = None
        self.looked = threading.Event()  # set after the first look at Xray, whatever it showed
        self.status = Status()
        self.uuids_elsewhere: frozenset[str] = frozenset()
        self._thread = threading.Thread(target=self._run, name="converge", daemon=True)

    def start(self) -> None:
        """Begin to look after Xray."""
        self._xray.on_loss(self._lost)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is asked of it now is answered as not settled."""
        self._stopping.set()
        self._asked.put(None)
        self._thread.join()

    def settle(self, clients: Iterable[str]) -> Future[dict[str, Settled]]:
        """Make Xray agree with what is recorded of these clients; a client missing in the result could not be looked at."""
        future: Future[dict[str, Settled]] = Future()
        self._asked.put((tuple(clients), future))
        return future

    def runs(self, row: Client) -> bool:
        """Whether Xray was last seen running just what this row says."""
        return row.name is not None and _right(self._running.users.get(row.name), row)

    def _lost(self) -> None:
        self._stale.set()
        self._asked.put(None)

    def _run(self) -> None:
        reader = self._store.reader()
        try:
            next_look = 0.0
            while not self._stopping.is_set():
                asked = self._wait(max(0.0, next_look - time.monotonic()))
                answer: dict[str, Settled] = {}
                try:
                    answer = self._turn(reader, {client for clients, _ in asked for client in clients}, next_look)
                except XrayUnavailableError as error:
                    self._down(str(error))
                except (InboundError, XrayRefusedError) as error:
                    self._unusable(error)
                except Exception:  # noqa: BLE001 - this thread must outlive anything; the line tells, and it starts afresh
                    failure("converge_failed")
                    self._synced = False
                self.looked.set()
                now = time.monotonic()
                if not self._synced:
                    next_look = now + _RETRY_SECONDS
                elif next_look <= now:
                    next_look = now + _POLL_SECONDS
                for clients, future in asked:
                    if future.set_running_or_notify_cancel():
                        future.set_result({client: answer[client] for client in clients if client in answer})
        finally:
            reader.close()

    def _wait(self, timeout_seconds: float) -> list[tuple[tuple[str, ...], Future[dict[str, Settled]]]]:
        """Everything asked so far; blocks until something is, or the time has come to look at Xray."""
        asked = []
        try:
            first = self._asked.get(timeout=timeout_seconds)
            while True:
                if first is not None:
                    asked.append(first)
                first = self._asked.get_nowait()
        except queue.Empty:
            return asked

    def _turn(self, reader: Reader, clients: set[str], next_look: float) -> dict[str, Settled]:
        if self._stale.is_set():
            self._stale.clear()
            self._synced = False
        if self._synced and time.monotonic() >= next_look:
            self._look()
        for _ in range(_DRIFTS):
            try:
                if not self._synced:
                    self._sync(reader)
                rows = reader.clients(clients | self._failed)
                agreeing = self._converge({client: rows.get(client) for client in clients | self._failed})
            except _DriftError:
                log(logging.WARNING, "xray_drifted")
                self._synced = False
                continue
            self._failed = (clients | self._failed) - agreeing
            self._report()
            return {client: Settled(rows.get(client), client in agreeing) for client in clients}
        return {}

    def _look(self) -> None:
        """Is it the same Xray, with the same inbound and as many users as we know of?"""
        uptime = self._xray.uptime_seconds()
        if uptime is not None and self._uptime is not None and uptime < self._uptime:
            self._synced = False
        self._uptime = uptime
        if self._xray.inbound() != self._inbound:
            self._synced = False
        if self._xray.user_count() != len(self._running.users) + self._unlisted:
            self._synced = False
        if self._recheck_at is not None and time.monotonic() >= self._recheck_at:
            # A call that timed out may have been carried out after the comparison that followed.
            self._recheck_at = None
            self._synced = False

    def _sync(self, reader: Reader) -> None:
        """Compare everything recorded with everything running, and make the second the first."""
        began = time.monotonic()
        self._uptime = self._xray.uptime_seconds()
        self._inbound = self._xray.inbound()
        self._running = _Running(self._xray.users())
        self._unlisted = self._xray.user_count() - len(self._running.users)
        foreign = self._running.foreign()
        self._foreign = len(foreign) + max(0, self._unlisted)
        self.uuids_elsewhere = frozenset(uuid_key(user.uuid) for user in foreign)
        wanted = reader.wanted()
        before = len(self._running.users)
        rows = {client: wanted.get(client) for client in wanted.keys() | self._running.clients()}
        self._failed = set(rows) - self._converge(rows)
        self._synced = True
        self._warned = None
        log(
            logging.INFO,
            "xray_synced",
            users_before=before,
            users=len(self._running.users),
            failed=len(self._failed),
            ms=round((time.monotonic() - began) * 1000),
        )

    def _converge(self, rows: Mapping[str, Client | None]) -> set[str]:
        """Make Xray agree on these clients; returns those it was then seen to agree on."""
        wanted = {row.name: row for row in rows.values() if row is not None and row.name is not None}
        missing = {name: row for name, row in wanted.items() if not _right(self._running.users.get(name), row)}
        surplus = {name for client in rows for name in self._running.names_of(client)} - wanted.keys()
        # The new before the old, but where Xray would take the two for one: removing the old would lock out the new.
        self._remove(
            {
                name
                for row in missing.values()
                for name in self._running.ours_with_key(uuid_key(row.uuid or ""))
                if name not in wanted or name in missing
            }
            | (missing.keys() & self._running.users.keys())
        )
        wrong = self._add(missing, wanted)
        if drifted := wrong.keys() - missing.keys():
            raise _DriftError(f"{len(drifted)} users are not what they were")
        if wrong:
            self._xray.remove(wrong)
            wrong = self._add(wrong, wrong)
        held_back = {row.client for row in wrong.values()}
        left = self._remove({name for name in surplus & self._running.users.keys() if _client(name) not in held_back})
        return rows.keys() - held_back - {_client(name) for name in left}

    def _add(self, missing: Mapping[str, Client], check: Mapping[str, Client]) -> dict[str, Client]:
        """Add the missing, then see what Xray runs under every name of `check`; returns what is not right."""
        self._xray.add((name, row.uuid or "") for name, row in missing.items())
        seen = self._seen(check)
        wrong = {}
        for name, row in check.items():
            user = seen.get(name)
            if user is not None and _right(user, row):
                if name in missing:
                    self._running.put(user)
            else:
                wrong[name] = row
        return wrong

    def _remove(self, names: set[str]) -> set[str]:
        """Remove users and have their connections cut; returns the names that Xray still runs."""
        if not names:
            return set()
        self._xray.remove(names)
        seen = self._seen(names)
        left = {name for name in names if seen.get(name) is not None}
        for name in names - left:
            self._running.discard(name)
        if self._inbound is not None and self._inbound.ports:
            self._cutter.cut(names - left, self._inbound.ports[0])
        return left

    def _seen(self, names: Iterable[str]) -> Mapping[str, RunningUser | None]:
        asked = list(names)
        if len(asked) < _MANY:
            return self._xray.lookup(asked)
        return {user.name: user for user in self._xray.users()}

    def _report(self) -> None:
        facts, problems = None, []
        if self._inbound is not None:
            problems = self._inbound.problems()
            facts = None if problems else self._inbound.facts()
        if self._uptime is None:
            problems.append(
                "api.services lacks StatsService: a restart is noticed by the lost connection and user counts alone"
            )
        if self._foreign:
            problems.append(f"the inbound has {self._foreign} users that are not Atlas's; they are left alone")
        self.status = Status(up=True, facts=facts, problems=tuple(problems), unsettled=len(self._failed))

    def _down(self, why: str) -> None:
        if self._warned != why:
            log(logging.WARNING, "xray_unavailable", why=why)
        self._forget(why)
        self.status = Status(up=False, problems=(f"Xray does not answer ({why})",))

    def _unusable(self, error: InboundError | XrayRefusedError) -> None:
        problems = tuple(error.problems) if isinstance(error, InboundError) else (f"Xray refuses: {error}",)
        if self._warned != str(error):
            log(logging.ERROR, "xray_unusable", problems=problems)
        self._forget(str(error))
        self.status = Status(up=True, problems=problems)

    def _forget(self, why: str) -> None:
        self._warned = why
        self._synced = False
        self._running = _Running()
        self._recheck_at = time.monotonic() + _POLL_SECONDS


def _right(user: RunningUser | None, row: Client) -> bool:
    """Whether Xray runs the row's UUID, with the flow that its link promises (S3-MR-3)."""
    return user is not None and user.uuid == row.uuid and user.flow == FLOW


def _client(name: str) -> str:
    return name.rpartition(".")[0]
