"""The real Postgres of a run: its clock and its UUIDs are the run's, transactions run one at a time at moments that the seed chooses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from lib.db.connection import Connection
from lib.db.errors import ConnectionLost, DatabaseError, OutcomeUnknown, StatementFailed
from simulation import processes
from simulation.faults import PAUSE_S
from simulation.processes import Killed

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from lib.db.connection import Timeouts
    from simulation.faults import Faults
    from simulation.virtual_time import RunClock

T = TypeVar("T")
NOW = "simulation.now"
_SET_NOW = "call simulation.tell(:now)"
_TRANSACTION_S = 0.02
"""What a transaction takes at most, and so how far works that run side by side get ahead of each other."""

OURS = """
create schema simulation;
create sequence simulation.uuids;
create procedure simulation.tell(moment text) language plpgsql as $$
begin
    perform set_config('simulation.now', moment, true);
end $$;
create or replace function atlas.now() returns timestamptz language plpgsql stable parallel safe as $$
begin
    return cast(current_setting('simulation.now') as timestamptz);
end $$;
create or replace function pg_catalog.gen_random_uuid() returns uuid language plpgsql volatile parallel unsafe as $$
declare
    drawn text := md5('{seed} ' || nextval('simulation.uuids'));
begin
    return cast(overlay(overlay(drawn placing '4' from 13) placing substr('89ab', 1 + ascii(substr(drawn, 17, 1)) % 4, 1) from 17) as uuid);
end $$;
grant usage on schema simulation to public;
grant usage on sequence simulation.uuids to public;
alter database {database} set simulation.now = '{began}';
"""
"""What makes a database a run's; done by a superuser."""


class SimulatedConnections:
    """Makes connections that tell Postgres the run's time, and that meet what the weather has for commits."""

    def __init__(self, clock: RunClock, faults: Faults) -> None:
        self._clock = clock
        self._faults = faults
        outer = self

        class Simulated(Connection):
            def begin(self, given_up: Callable[[], bool] | None = None) -> None:
                super().begin(given_up)
                outer.tell_time(self)

            def commit(self, failpoint: str) -> None:
                if self._begun:  # else nothing was sent, and nothing can be lost
                    outer.before_commit(self)
                super().commit(failpoint)
                if self._begun and outer.lost_in_commit():
                    raise OutcomeUnknown("the connection was lost during COMMIT")

        self.make = Simulated

    def tell_time(self, connection: Connection) -> None:
        """Let it be now in the transaction that begins: it goes with its first statement."""
        statement = connection._statement(_SET_NOW)  # noqa: SLF001 -- `precede` takes no parameters
        connection._ahead += statement.messages({"now": self._clock.now().isoformat()})  # noqa: SLF001 -- as above

    def before_commit(self, connection: Connection) -> None:
        """Raises: what the weather has for this commit, after which nothing of it is done."""
        if processes.current.get() is None:
            return
        if self._faults.happens("serialization"):
            raise StatementFailed("40001")
        if self._faults.happens("lost"):
            connection.rollback()  # as the server does a little later: here it must not matter when
            raise ConnectionLost("lost")
        if self._faults.weather.unknown and self._faults.dice.random() < self._faults.weather.unknown / 2:
            self._faults.met["unknown"] += 1
            connection.rollback()
            raise OutcomeUnknown("the connection was lost during COMMIT")

    def lost_in_commit(self) -> bool:
        """Whether the answer of a COMMIT that was done is lost."""
        if processes.current.get() is None or not self._faults.weather.unknown:
            return False
        if self._faults.dice.random() >= self._faults.weather.unknown / 2:
            return False
        self._faults.met["unknown"] += 1
        return True


class OneAtATime:
    """In place of `lib.db.workers.Workers`: jobs of all processes on this very thread, each run to its end.

    Args:
        name: as of threads.
    """

    dice: random.Random
    faults: Faults

    def __init__(self, name: str) -> None:
        self._name = name

    def submit(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """As `Workers.submit`; when its turn comes is the seed's to say."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        delay = self.dice.uniform(0, _TRANSACTION_S)
        if processes.current.get() is not None and self.faults.happens("pause"):
            delay += self.dice.uniform(0, PAUSE_S)
        loop.call_later(delay, self._run, work, done)
        return done

    def close(self) -> None:
        """There are no threads."""

    def _run(self, work: Callable[[], Any], done: asyncio.Future[Any]) -> None:
        if done.done():
            return
        process = processes.current.get()
        try:
            processes.assert_alive()
            if process is not None and process.may_die and self.faults.happens("kill"):
                raise process.die()
            result = work()
            if process is not None and process.may_die and self.faults.happens("kill"):
                raise process.die()
        except BaseException as error:  # noqa: BLE001 -- whatever it is, it is for the waiting caller
            done.set_exception(error)
        else:
            done.set_result(result)


class LockConnections:
    """Connections for sweeps' locks, kept open: what frees the lock is the end of its transaction."""

    def __init__(self) -> None:
        self._idle: list[Connection] = []

    def __call__(self, url: str, *, application: str, timeouts: Timeouts) -> KeptConnection:
        """As `Connection`."""
        processes.assert_alive()
        made = self._idle.pop() if self._idle else Connection(url, application=application, timeouts=timeouts)
        return KeptConnection(made, self._idle)

    def close(self) -> None:
        """All of them."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()


class KeptConnection:
    """A connection whose `close` ends its transaction."""

    def __init__(self, real: Connection, idle: list[Connection]) -> None:
        self._real, self._idle = real, idle

    def begin(self) -> None:
        """See `Connection`."""
        self._real.begin()

    def execute(self, sql: str, parameters: dict[str, Any]) -> Any:
        """See `Connection`."""
        return self._real.execute(sql, parameters)

    def simple(self, sql: str) -> None:
        """See `Connection`."""
        processes.assert_alive()
        self._real.simple(sql)

    def close(self) -> None:
        """As the end of a session does."""
        try:
            self._real.rollback()
        except DatabaseError:
            self._real.close()
        else:
            self._idle.append(self._real)


__all__ = ["OURS", "Killed", "LockConnections", "OneAtATime", "SimulatedConnections"]
