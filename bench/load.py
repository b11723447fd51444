"""/start updates from a process of its own, over kept-alive connections, each sent when the one before is answered: P1, P12.

`python -m bench.load` reads a line, a `Load` as JSON, says `ready`, starts with the next line and writes a `Taken`. Everything that is
sent is made before the clock starts. An answer that is not 200, or is not the one that was asked for, ends the run: only useful work is counted.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from sandbox.cloud.instances import ROOT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

PERSONS_FROM = 500_000_000
_NEW_FROM = PERSONS_FROM + 1_000_000_000
_COMES_BACK_AFTER = 64
"""Updates between a person's first one and their second: far more than are ever under way."""
_GIVE_UP_S = 60.0


class WrongAnswerError(RuntimeError):
    """The server answered something else; the text says what."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to send.

    Attributes:
        first: number of the first update; persons and update ids follow from it, so no two loads share any.
        connections: how many updates are under way at once.
        secret: Telegram's secret token of the webhook.
        returning: every other update is of a person who has sent one before; else each is of a new person.
        answered: what the body of an answer must hold; `{chat_id}` stands for the person's.
    """

    port: int
    path: str
    first: int
    count: int
    connections: int
    secret: str
    answered: list[str]
    returning: bool = True


@dataclass(frozen=True, slots=True)
class Taken:
    """What it took: seconds of each update, from the first one's start to each one's answer, and of this process's CPU."""

    seconds: list[float] = field(default_factory=list)
    answered_at: list[float] = field(default_factory=list)
    all_s: float = 0.0
    cpu_s: float = 0.0


def person(number: int) -> int:
    """Who sends the update of this number. Every person sends two: every other update is of a person the bot does not know."""
    pair, second = divmod(number, 2)
    return PERSONS_FROM + (pair - _COMES_BACK_AFTER // 2 if second else pair)


def update(number: int, telegram_id: int) -> bytes:
    """A /start as Telegram sends it."""
    name = f"Anna {telegram_id}"
    content = {
        "update_id": PERSONS_FROM + number,
        "message": {
            "message_id": number,
            "from": {"id": telegram_id, "is_bot": False, "first_name": name, "language_code": "en"},
            "chat": {"id": telegram_id, "first_name": name, "type": "private"},
            "date": int(time.time()),
            "text": "/start",
            "entities": [{"offset": 0, "length": 6, "type": "bot_command"}],
        },
    }
    return json.dumps(content, separators=(",", ":")).encode()


def post(port: int, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A request as bytes."""
    fields = {"Host": f"127.0.0.1:{port}", "Content-Type": "application/json", "Content-Length": len(body), **headers}
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return head.encode() + b"\r\n" + body


async def answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body, by length or by chunks."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = head.lower()
    at = fields.find(b"\r\ncontent-length:")
    if at >= 0:
        length = int(fields[at + 17 : fields.index(b"\r\n", at + 17)])
        return head, await reader.readexactly(length)
    body = b""
    while length := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(length + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return head, body


async def run(load: Load, wait: Callable[[], None] = lambda: None) -> Taken:
    """Send all of it, once `wait` returns; it is called when everything is made.

    Raises:
        WrongAnswerError: see there.
        OSError, asyncio.IncompleteReadError: the connection broke.
    """
    numbers = range(load.first, load.first + load.count)
    secret = {"X-Telegram-Bot-Api-Secret-Token": load.secret}
    people = [person(number) if load.returning else _NEW_FROM + number for number in numbers]
    ready = [
        (post(load.port, load.path, update(number, who), secret), str(who))
        for number, who in zip(numbers, people, strict=True)
    ]
    waiting = iter(ready)
    seconds: list[float] = []
    answered_at: list[float] = []

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", load.port)
        try:
            for request, chat_id in waiting:
                sent = time.perf_counter()
                writer.write(request)
                head, body = await answer(reader)
                moment = time.perf_counter()
                seconds.append(moment - sent)
                answered_at.append(moment - began)
                if not head.startswith(b"HTTP/1.1 200 "):
                    raise WrongAnswerError(f"{head[:200]!r} {body[:300]!r}")
                for wanted in load.answered:
                    if wanted.replace("{chat_id}", chat_id).encode() not in body:
                        raise WrongAnswerError(f"no {wanted} in {body[:500]!r}")
        finally:
            writer.close()

    wait()
    cpu, began = time.process_time(), time.perf_counter()
    async with asyncio.timeout(_GIVE_UP_S), asyncio.TaskGroup() as group:
        for _ in range(load.connections):
            group.create_task(connection())
    return Taken(seconds, answered_at, time.perf_counter() - began, time.process_time() - cpu)


async def _at_once() -> None:
    """Nothing comes before."""


async def in_a_process(load: Load, first: Callable[[], Awaitable[None]] = _at_once) -> Taken:
    """`run` in a process of its own, after `first`, which is called when that process is ready.

    Raises:
        WrongAnswerError: it failed; the text ends with its error.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.load"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(asdict(load)).encode() + b"\n")
    if await process.stdout.readline() == b"ready\n":
        await first()
    answer, errors = await process.communicate(b"go\n")
    if process.returncode:
        raise WrongAnswerError(errors.decode(errors="replace")[-1500:])
    return Taken(**json.loads(answer))


def _until_told() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    json.dump(asdict(asyncio.run(run(Load(**json.loads(sys.stdin.readline())), _until_told))), sys.stdout)
