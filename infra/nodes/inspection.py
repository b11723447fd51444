"""Whether a node is what its row says: asked as the functions ask it, by its pins and its key; nothing of it is changed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lib import json_reader
from lib.nodes.transport import NodeError
from xray_api import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from lib.nodes.transport import Transport

_OK, _NOT_FOUND = 200, 404
_AUTHENTICATION = frozenset({401, 403})
_CLOCK_OFF_MS = 60_000
_FLOW = "xtls-rprx-vision"
_MOST_PROBLEMS, _LONGEST_WORDS = 20, 300
_REALITY_KEY = re.compile(r"[A-Za-z0-9_-]{43}")
_SHORT_ID = re.compile(r"(?:[0-9a-f]{2}){0,8}")


@dataclass(slots=True)
class Seen:
    """What came of it.

    Attributes:
        problems: why it can't be used as it is, in words; empty: it is well.
        pin: of the certificate that its service says it shows; None when it did not say.
        health: what it said of itself; empty when it could not be asked.
    """

    problems: list[str] = field(default_factory=list)
    pin: str | None = None
    health: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Address:
    """Where and how the node is asked.

    Attributes:
        api_url: of its service.
        pins: of its row, those that count now.
        keys: what may open it, the current one first.
    """

    api_url: str
    pins: Sequence[str]
    keys: Sequence[str]


async def look(transport: Transport, node: Address, now: datetime) -> Seen:
    """Ask the node about itself.

    Args:
        transport: which sends nothing to a peer without one of the pins.
        node: which.
        now: Atlas's time, which the node is told.
    """
    seen = Seen()
    try:
        status, body = await _asked(transport, node, now, seen)
    except NodeError as error:
        seen.problems.append(_in_words(error))
        return seen
    if status in _AUTHENTICATION:
        seen.problems.append("does not know its key: XRAY_API_KEYS on the node must hold what `make node-key` prints")
    elif status == _NOT_FOUND:
        seen.problems.append("answers 404: another program is at this address, or a proxy drops the header X-API-Key")
    elif status != _OK:
        seen.problems.append(f"answers {status}")
    else:
        try:
            seen.health = json_reader.read_object(body)
        except json_reader.UnreadableJson:
            seen.problems.append("answers what is no JSON: another program is at this address")
        else:
            _judge(seen)
    return seen


async def _asked(transport: Transport, node: Address, now: datetime, seen: Seen) -> tuple[int, bytes]:
    """Status and body by the first key that it knows; that this was an old one is a problem."""
    answer = 0, b""
    for key in node.keys:
        headers = {"X-API-Key": key, "X-Atlas-Time-Ms": str(int(now.timestamp() * 1000))}
        answer = await transport.send(f"{node.api_url}/health", None, headers, node.pins)
        if answer[0] not in _AUTHENTICATION:
            if key != node.keys[0]:
                seen.problems.append(
                    "knows the key of an older entry of NODE_MASTER_KEYS alone: give it the present one"
                )
            break
    return answer


def _in_words(error: NodeError) -> str:
    return f"does not answer: {error}" if error.temporary else str(error)


def _judge(seen: Seen) -> None:
    health = seen.health
    version, xray = health.get("version"), health.get("xray")
    if version != __version__:
        said = version if isinstance(version, str) else "none that it says"
        seen.problems.append(f"runs version {said[:40]} of the node service; this is {__version__}: bring both to one")
    if not isinstance(xray, dict) or xray.get("up") is not True:
        seen.problems.append("its Xray does not run")
    seen.problems += _of_the_link(health.get("inbound"))
    if health.get("writable") is not True:
        seen.problems.append("can't record a change: its disk, or its state file")
    clock = health.get("clock")
    off_ms = clock.get("off_ms") if isinstance(clock, dict) else None
    if not isinstance(off_ms, int) or isinstance(off_ms, bool):
        seen.problems.append("does not say how its clock goes")
    elif abs(off_ms) > _CLOCK_OFF_MS:
        seen.problems.append(f"its clock is {off_ms / 1000:+.0f} s off")
    told = health.get("problems")
    for words in (told if isinstance(told, list) else [])[:_MOST_PROBLEMS]:
        if isinstance(words, str):
            seen.problems.append(f"says: {json_reader.storable(words)[:_LONGEST_WORDS]}")
    if health.get("ok") is not True and not seen.problems:
        seen.problems.append("says that it is not well, and not why")
    pin = health.get("pin")
    seen.pin = pin if isinstance(pin, str) else None


def _of_the_link(facts: object) -> list[str]:
    """Whether links could be made of what the running inbound says of itself."""
    if not isinstance(facts, dict):
        return ["its running inbound gives no working link"]
    wrong = [
        name
        for name, right in (
            ("port", type(facts.get("port")) is int and 0 < facts["port"] < 1 << 16),
            ("sni", isinstance(facts.get("sni"), str) and bool(facts["sni"])),
            (
                "public_key",
                isinstance(facts.get("public_key"), str) and bool(_REALITY_KEY.fullmatch(facts["public_key"])),
            ),
            ("short_id", isinstance(facts.get("short_id"), str) and bool(_SHORT_ID.fullmatch(facts["short_id"]))),
            ("flow", facts.get("flow") == _FLOW),
        )
        if not right
    ]
    return [f"its link facts can't be right: {', '.join(wrong)}"] if wrong else []
