"""Requests from a process of their own, so many under way at a time: the next one goes when one is answered. P9's webhooks.

`python -m bench.at_once` reads one line, a `Flood` as JSON, and writes a list of `Answer`. Each request has a connection of its own, as a
provider's webhooks come, and is counted from before that is opened.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass

from bench.load import answer, post
from sandbox.cloud.instances import ROOT

_ANSWERED_WITHIN_S = 30.0
_MOST_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class Request:
    """One webhook."""

    port: int
    body: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Flood:
    """What is sent, in this order, and how many are under way at once."""

    path: str
    at_once: int
    requests: list[Request]


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one request: seconds; status 0 when there was none."""

    seconds: float
    status: int
    body: str


async def _send(port: int, request: bytes) -> Answer:
    began = time.perf_counter()
    try:
        async with asyncio.timeout(_ANSWERED_WITHIN_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            head, told = await answer(reader)
            took = time.perf_counter() - began
            writer.close()
    except (OSError, EOFError) as error:  # a timeout is an OSError too
        return Answer(time.perf_counter() - began, 0, repr(error))
    return Answer(took, int(head.split(b" ", 2)[1]), told.decode(errors="replace")[:300])


async def _run(flood: Flood) -> list[Answer]:
    ready = [(one.port, post(one.port, flood.path, one.body.encode(), one.headers)) for one in flood.requests]
    left = iter(ready)
    answers: list[Answer] = []

    async def work() -> None:
        for port, request in left:
            answers.append(await _send(port, request))

    await asyncio.gather(*(work() for _ in range(flood.at_once)))
    return answers


async def in_a_process(flood: Flood) -> list[Answer]:
    """Send them.

    Raises:
        RuntimeError: the process failed.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.at_once"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate(json.dumps(asdict(flood)).encode() + b"\n")
    if process.returncode:
        raise RuntimeError("bench.at_once failed")
    return [Answer(**one) for one in json.loads(out)]


def _main() -> None:
    said = json.loads(sys.stdin.readline(_MOST_BYTES))
    flood = Flood(said["path"], said["at_once"], [Request(**one) for one in said["requests"]])
    print(json.dumps([asdict(one) for one in asyncio.run(_run(flood))]))


if __name__ == "__main__":
    _main()
