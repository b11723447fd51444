"""Threads that block for an event loop, with as little as can be between a job and its result."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_Call = tuple["Callable[[], Any]", "asyncio.Future[Any]"]


class Workers:
    """As many threads as there were jobs under way at once; how many that may be is the caller's business.

    An executor's jobs take a future of its own kind, a lock, a condition and two more turns of the loop: a tenth of what a
    short transaction takes. The thread that was busy last gets the next job, so few connections do most of the work.

    Args:
        name: of the threads, for a reader of a stack.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._threads: list[tuple[threading.Thread, SimpleQueue[_Call | None]]] = []
        self._idle: list[SimpleQueue[_Call | None]] = []

    def submit(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Have it done by a thread; what it returns or raises is the future's, of the running loop."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        jobs = self._idle.pop() if self._idle else self._another()
        jobs.put((work, done))
        return done

    def close(self) -> None:
        """Wait for jobs under way, and end the threads. Blocks."""
        for thread, jobs in self._threads:
            jobs.put(None)
            thread.join()
        self._threads.clear()
        self._idle.clear()

    def _another(self) -> SimpleQueue[_Call | None]:
        jobs: SimpleQueue[_Call | None] = SimpleQueue()
        # A daemon: a function's process ends when it is told to, and Postgres undoes what was under way.
        thread = threading.Thread(
            target=self._work, args=(jobs,), name=f"{self._name}-{len(self._threads)}", daemon=True
        )
        thread.start()
        self._threads.append((thread, jobs))
        return jobs

    def _work(self, jobs: SimpleQueue[_Call | None]) -> None:
        while (job := jobs.get()) is not None:
            work, done = job
            result: Any = None
            error: BaseException | None = None
            try:
                result = work()
            except StopIteration as raised:  # which no future may hold; a generator's end reads the same way (PEP 479)
                error = RuntimeError("the work raised StopIteration")
                error.__cause__ = raised
            except BaseException as raised:  # noqa: BLE001 -- whatever it is, it is for the waiting caller
                error = raised
            self._idle.append(jobs)  # first, so that who is told finds this thread free
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: no caller waits
                done.get_loop().call_soon_threadsafe(_tell, done, result, error)
            del job, work, done, result, error  # or they would live until the next job


def _tell(done: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
