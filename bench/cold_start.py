"""P2: from a process's start to the first useful answer of each public target, against two comparison programs.

A round starts each of them once, one after the other, so a ratio compares neighbours in time; the next round begins with
another one. The files are in the page cache and the bytecode is compiled: a first round is thrown away.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from http import HTTPMethod
from typing import TYPE_CHECKING, Any

from bench.figures import Bar, Outcome, Plot, Row, Series, paired_ratio
from bench.launch import ColdStart, Question, cold_start
from bench.places import PROGRAMS
from sandbox.cloud.instances import settings_of
from sandbox.processes.child import Process, bare_environment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from bench.buyers import Buyers, Checkout, Payers
    from bench.sizes import Sizes
    from sandbox.system.system import System

EMPTY, PLAIN = "empty function (a)", "plain aiogram webhook (b)"
START, CHECKOUT = "/start", "pre_checkout_query"
SETTLED, HEALTH = "cryptobot_webhook settled", "health"
_OURS = (START, CHECKOUT, SETTLED, HEALTH)
_UPDATES_FROM = 900_000_000
_LIMITS = {(START, EMPTY): 4.0, (START, PLAIN): 0.4, (CHECKOUT, EMPTY): 2.0, (SETTLED, EMPTY): 2.0}


@dataclass(frozen=True, slots=True)
class Contender:
    """A target, how it is started, and how each round's question is made."""

    name: str
    target: str
    folder: Path
    question: Callable[[], Awaitable[Question]]


async def measure(system: System, buyers: Buyers, sizes: Sizes) -> Outcome:
    """Raises: UselessAnswerError, and what making an order may raise."""
    programs = contenders(system, buyers)
    starts: dict[str, list[ColdStart]] = defaultdict(list)
    queues = list(system.tasks.queues)
    for queue in queues:  # follow-up work would run beside the next start; in production it runs elsewhere
        system.tasks.pause(queue)
    try:
        for number in range(sizes.thrown_away + sizes.cold_starts):
            turn = number % len(programs)
            for contender in programs[turn:] + programs[:turn]:
                start = await cold_start(process_of(system, contender), contender.question)
                if number >= sizes.thrown_away:
                    starts[contender.name].append(start)
    finally:
        for queue in queues:
            system.tasks.purge(queue)
            system.tasks.resume(queue)
    return _outcome(starts)


def contenders(system: System, buyers: Payers) -> list[Contender]:
    """The comparison programs, then ours."""

    async def plain_start() -> Question:
        return _start_update(buyers.telegram_id(), system.webhook_secret)

    async def checkout() -> Question:
        return _checkout_update(await buyers.checkout(), system.webhook_secret)

    async def settled() -> Question:
        paid = await buyers.paid()
        return Question(
            HTTPMethod.POST, lambda body: json.loads(body).get("outcome") == "settled", paid.body, paid.headers
        )

    root = system.checkout.root
    return [
        Contender(EMPTY, "empty", PROGRAMS / "empty", _alive),
        Contender(PLAIN, "plain", PROGRAMS / "plain", plain_start),
        Contender(START, "telegram_webhook", root, plain_start),
        Contender(CHECKOUT, "telegram_webhook", root, checkout),
        Contender(SETTLED, "cryptobot_webhook", root, settled),
        Contender(HEALTH, "health", root, _alive),
    ]


async def empty(system: System) -> float:
    """Seconds of one start of the empty function, (a): what another figure of cold functions is compared with.

    Raises:
        UselessAnswerError: see there.
    """
    program = Contender(EMPTY, "empty", PROGRAMS / "empty", _alive)
    return (await cold_start(process_of(system, program), _alive)).seconds


async def _alive() -> Question:
    return Question(HTTPMethod.GET, lambda body: json.loads(body).get("ok") is True)


def _start_update(telegram_id: int, secret: str) -> Question:
    """A /start of a new customer; the answer is useful when it is a message to them with buttons."""
    person = {"id": telegram_id, "is_bot": False, "first_name": "Anna", "language_code": "en"}
    update = {
        "update_id": _UPDATES_FROM + telegram_id,
        "message": {
            "message_id": 1,
            "date": int(time.time()),
            "chat": {"id": telegram_id, "type": "private", "first_name": "Anna"},
            "from": person,
            "text": "/start",
            "entities": [{"type": "bot_command", "offset": 0, "length": 6}],
        },
    }

    def useful(body: bytes) -> bool:
        answer = json.loads(body)
        buttons = answer.get("reply_markup", {}).get("inline_keyboard")
        return bool(answer.get("method") == "sendMessage" and answer.get("chat_id") == telegram_id and buttons)

    return _telegram_s(update, useful, secret)


def _checkout_update(asked: Checkout, secret: str) -> Question:
    """The last question before a payment, which Telegram gives 10 s; the answer is useful when it is yes to an open order."""
    query = {
        "id": str(asked.telegram_id),
        "from": {"id": asked.telegram_id, "is_bot": False, "first_name": "Anna", "language_code": "en"},
        "currency": asked.currency,
        "total_amount": asked.amount,
        "invoice_payload": asked.payload,
    }
    update = {"update_id": _UPDATES_FROM + asked.telegram_id, "pre_checkout_query": query}

    def useful(body: bytes) -> bool:
        answer = json.loads(body)
        told = answer.get("method"), answer.get("pre_checkout_query_id")
        return told == ("answerPreCheckoutQuery", query["id"]) and (answer.get("ok") is True or not asked.accepted)

    return _telegram_s(update, useful, secret)


def _telegram_s(update: dict[str, Any], useful: Callable[[bytes], bool], secret: str) -> Question:
    headers = {"Content-Type": "application/json", "X-Telegram-Bot-Api-Secret-Token": secret}
    return Question(HTTPMethod.POST, useful, json.dumps(update).encode(), headers)


def process_of(system: System, contender: Contender) -> Process:
    """As `sandbox.cloud.instances` starts it: functions-framework with its production server, one worker."""
    table = system.checkout.table
    port = system.home.port("bench.cold")
    settings = {"HOST": "127.0.0.1", "TELEGRAM_BOT_TOKEN": system.bot_token}
    if contender.target in table.functions:
        settings = settings_of(table.functions[contender.target], system.settings(), table)
    return Process(
        [system.checkout.framework, "--target", contender.target, "--port", str(port)],
        cwd=contender.folder,
        env=bare_environment(settings),
        log=system.home.logs / "bench.cold.log",
        port=port,
    )


def _outcome(starts: dict[str, list[ColdStart]]) -> Outcome:
    seconds = {name: Series.of([start.seconds for start in taken]) for name, taken in starts.items()}
    cpu = {name: Series.of([start.cpu_s for start in taken]) for name, taken in starts.items()}
    rows: list[Row] = []
    measured: dict[str, Any] = {name: [asdict(start) for start in taken] for name, taken in starts.items()}
    ratios: dict[str, Any] = {}
    for name in _OURS:
        for other in (EMPTY, PLAIN):
            ratio = paired_ratio(seconds[name], seconds[other])
            cpu_ratio = paired_ratio(cpu[name], cpu[other])
            ratios[f"{name} / {other}"] = {"time": ratio.as_dict(3), "cpu": cpu_ratio.as_dict(3)}
            if other == PLAIN and name != START:
                continue  # nothing of the kind is in the plain bot
            rows.append(
                Row(
                    "P2",
                    f"cold start of `{name}`" if name == START else f"cold start of {name}",
                    seconds[name].median * 1000,
                    "ms",
                    f"{other} {seconds[other].median * 1000:.0f} ms; CPU {cpu_ratio.median:.2f}x",
                    ratio.median,
                    _LIMITS.get((name, other)),
                )
            )
    bars = tuple(Bar(name, series.median * 1000, name in _OURS) for name, series in seconds.items())
    return Outcome(
        "P2",
        tuple(rows),
        {"starts": measured, "ratios": ratios},
        Plot("cold-start", "Process start to first useful answer, median", "ms", bars),
    )
