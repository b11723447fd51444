"""Requests at a steady pace from a process of its own, whatever the answers take: P12's payment webhooks.

`python -m bench.paced` reads one line, a `Paced` as JSON, says `ready`, starts with the next line it reads, ends with the one
after (or when all is sent), and writes a list of `Answer`. A request is counted from the moment it was due, not from when
it could be sent, so a server that holds all callers up is not spared.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bench.load import answer, post
from sandbox.cloud.instances import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_ANSWERED_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Paced:
    """Where to, how often (seconds between two), and what: bodies with their headers."""

    port: int
    path: str
    every_s: float
    requests: list[tuple[str, dict[str, str]]]


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one request: seconds since it was due; status 0 when there was none."""

    seconds: float
    status: int
    body: str


async def _send(port: int, request: bytes, due: float) -> Answer:
    """On a connection of its own, as a provider's webhooks come."""
    try:
        async with asyncio.timeout(_ANSWERED_WITHIN_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            head, body = await answer(reader)
            took = time.perf_counter() - due
            writer.close()
    except (OSError, EOFError) as error:  # a timeout is an OSError too
        return Answer(time.perf_counter() - due, 0, repr(error))
    return Answer(took, int(head.split(b" ", 2)[1]), body.decode(errors="replace")[:300])


async def _run(paced: Paced, ended: asyncio.Event) -> list[Answer]:
    ready = [post(paced.port, paced.path, body.encode(), headers) for body, headers in paced.requests]
    sent: list[asyncio.Task[Answer]] = []
    began = time.perf_counter()
    for number, request in enumerate(ready):
        due = began + number * paced.every_s
        await asyncio.sleep(due - time.perf_counter())
        if ended.is_set():
            break
        sent.append(asyncio.create_task(_send(paced.port, request, due)))
    return list(await asyncio.gather(*sent))


async def _main() -> None:
    lines = asyncio.StreamReader(limit=2**24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    paced = Paced(**json.loads(await lines.readline()))
    print("ready", flush=True)
    await lines.readline()
    ended = asyncio.Event()
    running = asyncio.create_task(_run(paced, ended))
    last = asyncio.create_task(lines.readline())
    await asyncio.wait([running, last], return_when=asyncio.FIRST_COMPLETED)
    ended.set()
    print(json.dumps([asdict(one) for one in await running]))
    last.cancel()


class Pacer:
    """The process, from outside."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.answers: list[Answer] = []

    async def go(self) -> None:
        """Send the first one now."""
        await self._say("go")

    async def end(self) -> None:
        """Send no more; `answers` has those of all that were sent."""
        with contextlib.suppress(ConnectionError):  # everything was sent, and it ended by itself
            await self._say("end")
        await self.finish()

    async def finish(self) -> None:
        """Let it send all; `answers` has theirs."""
        out, _ = await self._process.communicate()
        self.answers = [Answer(**one) for one in json.loads(out)]

    async def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        await self._process.stdin.drain()


@asynccontextmanager
async def pacer(paced: Paced) -> AsyncIterator[Pacer]:
    """A process that is ready to `go`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.paced"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(asdict(paced)).encode() + b"\n")
        await process.stdin.drain()
        if await process.stdout.readline() != b"ready\n":
            raise RuntimeError("bench.paced did not start")
        yield Pacer(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


if __name__ == "__main__":
    asyncio.run(_main())
