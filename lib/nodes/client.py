"""The node service's client: one batch call, three attempts, every answer checked (docs/architecture.md, Nodes)."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
import uuid
from asyncio import sleep
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeGuard

from lib import json_reader, log
from lib.domain.provisioning import Answer, Dropped, Heard
from lib.domain.reconcile_nodes import Listed
from lib.nodes.transport import NodeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lib.domain.provisioning import Node, Work
    from lib.nodes.transport import Transport

ATTEMPTS = 3
CALL_S = 50.0
"""One call with its attempts and pauses ends by then, whatever the node does; a claim's lease outlives it."""
_BACKOFF_S = 0.5
_OK, _CONFLICT, _TOO_MANY = 200, 409, 429
_AUTHENTICATION = frozenset({401, 403})
_SERVER_ERROR = 500
_MOST = 2**62  # no higher version could be sent for one beyond it
_MOST_DROPPED = 500
_MOST_LINK, _MOST_NAME = 4096, 200
_LARGEST_OFFSET_MS = 86_400_000 * 36_500


@dataclass(frozen=True, slots=True)
class Said:
    """A node's answer: about each client, and about itself."""

    answers: tuple[Answer, ...]
    heard: Heard


@dataclass(frozen=True, slots=True)
class Page:
    """A page of what a node holds, in the order of the names as text.

    Attributes:
        clients: those whose name is a subscription's id.
        others: names that are not Atlas's: clients that a person or another tool put there.
        last: the last name of the page; None when the list ends here.
    """

    clients: tuple[Listed, ...]
    others: tuple[str, ...]
    last: str | None


class NodeClient:
    """Speaks to one node.

    Attributes:
        failed: attempts in a row that failed as the node's breaker counts them (network, timeout, 429, 5xx), none since the last answer.
    """

    def __init__(self, transport: Transport, node: Node, keys: tuple[str, ...]) -> None:
        """`keys` in the order in which they are tried: several while the master key is exchanged."""
        self._transport = transport
        self._node = node
        self._keys = keys
        self._read = time.monotonic()
        self.failed = 0

    async def apply(self, works: Sequence[Work], acknowledged: Sequence[Dropped] = ()) -> Said:
        """Tell the node what is wanted of each client, and what it says about each and about itself.

        `acknowledged` are clients it removed by itself that nothing is to be done about.

        Raises:
            NodeError: no usable answer for the whole batch.
        """
        body: dict[str, Any] = {"items": [_change(work) for work in works]}
        if acknowledged:
            body["acknowledged"] = [
                {"client": str(one.subscription_id), "version": one.version} for one in acknowledged
            ]
        answer = await self._ask("/apply", json.dumps(body).encode(), "items")
        by_client = {
            item["client"]: item
            for item in answer["items"]
            if isinstance(item, dict) and isinstance(item.get("client"), str)
        }
        answers = tuple(_answer(work, by_client.get(str(work.subscription_id))) for work in works)
        heard = _heard(answer)
        if works and all(_is_nonsense(said, by_client.get(str(said.subscription_id))) for said in answers):
            heard = replace(heard, trouble="answer")
        return Said(answers, heard)

    async def look(self) -> Heard:
        """What the node says about itself, when there is nothing to tell it.

        Raises:
            NodeError: no usable answer.
        """
        return _heard(await self._ask("/list-users?limit=1", None, "users"))

    async def page(self, after: str, limit: int) -> Page:
        """Up to `limit` (1..1000) of the clients that the node holds, those after a name; an empty one comes before all.

        Raises:
            NodeError: no usable answer.
        """
        answer = await self._ask(f"/list-users?limit={limit}&after={after}", None, "users")
        return _page(answer, after)

    async def _ask(self, path: str, body: bytes | None, holds: str) -> dict[str, Any]:
        """The answer, which `holds` a list under that name."""
        try:
            async with asyncio.timeout(CALL_S):
                return await self._again(path, body, holds)
        except TimeoutError:
            self.failed += 1
            raise NodeError(f"no answer within {CALL_S:.0f} s", temporary=True) from None

    async def _again(self, path: str, body: bytes | None, holds: str) -> dict[str, Any]:
        attempt = 1
        while True:
            try:
                answer = await self._once(path, body, holds)
            except NodeError as error:
                self.failed += error.temporary
                if not error.temporary or self._node.is_open or attempt == ATTEMPTS:  # a probe is one attempt
                    raise
            else:
                self.failed = 0
                return answer
            await sleep(random.uniform(0, _BACKOFF_S * 2**attempt))  # noqa: S311 -- full jitter, not a secret
            attempt += 1

    async def _once(self, path: str, body: bytes | None, holds: str) -> dict[str, Any]:
        status, answer = await self._with_a_key(path, body)
        if status in _AUTHENTICATION:
            raise NodeError(f"HTTP {status}: the node does not know our key", temporary=False, trouble="authentication")
        if status != _OK:
            temporary = status == _TOO_MANY or status >= _SERVER_ERROR
            raise NodeError(f"HTTP {status}", temporary=temporary, trouble=None if temporary else "answer")
        try:
            found = json_reader.read_object(answer)
        except json_reader.UnreadableJson:
            raise NodeError("unreadable answer", temporary=False, trouble="answer") from None
        if not isinstance(found.get(holds), list):
            raise NodeError("unreadable answer", temporary=False, trouble="answer")
        return found

    async def _with_a_key(self, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Status and body, by the first key that the node knows: a call that was refused for its key did nothing."""
        *others, last = self._keys
        for key in others:
            answer = await self._send(path, body, key)
            if answer[0] not in _AUTHENTICATION:
                return answer
        return await self._send(path, body, last)

    async def _send(self, path: str, body: bytes | None, key: str) -> tuple[int, bytes]:
        return await self._transport.send(f"{self._node.api_url}{path}", body, self._headers(key), self._node.pins)

    def _headers(self, key: str) -> dict[str, str]:
        """Atlas's time is the database's, and what has passed here since it was read."""
        if not key.isascii() or not key.isprintable():
            raise NodeError("the key can't be sent", temporary=False, trouble="configuration")
        moment = self._node.asked_at + timedelta(seconds=time.monotonic() - self._read)
        return {
            "Content-Type": "application/json",
            "X-API-Key": key,
            "X-Atlas-Time-Ms": str(int(moment.timestamp() * 1000)),
            "X-Correlation-Id": log.correlation.get(),
        }


def _change(work: Work) -> dict[str, Any]:
    change: dict[str, Any] = {"client": str(work.subscription_id), "version": work.version, "wanted": work.wanted}
    if work.wanted:
        change |= {"uuid": str(work.uuid), "expiry_timestamp_ms": int(work.expires_at.timestamp() * 1000)}
    return change


def _is_link(value: object) -> bool:
    return (
        isinstance(value, str)
        and value.startswith("vless://")
        and len(value) <= _MOST_LINK
        and json_reader.is_storable(value)
    )


def _is_version(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MOST


def _answer(work: Work, item: dict[str, Any] | None) -> Answer:
    """What the node said about one client; anything but a full, matching confirmation is an error to be tried again."""
    applied, link, held, error = False, None, None, None
    if item is None:
        error = "no answer for this client"
    elif item.get("code") != _OK:
        code = item.get("code")
        error = f"code {code if isinstance(code, int) else 'none'}: {_words(item.get('error'))}"
        held_version = item.get("held_version")
        if code == _CONFLICT and _is_version(held_version) and work.version <= held_version:
            held = held_version
    elif item.get("version") != work.version:
        error = "the node answered about another version"
    elif not work.wanted:
        applied = True
    elif item.get("uuid") != str(work.uuid):
        error = "the node answered with another UUID"
    elif not _is_link(item.get("vless_link")):
        error = "the node answered without a link"
    else:
        applied, link = True, item["vless_link"]
    return Answer(
        subscription_id=work.subscription_id,
        node_id=work.node_id,
        version=work.version,
        claimed_by=str(work.claimed_by),
        applied=applied,
        link=link,
        held_version=held,
        error=error,
    )


def _is_nonsense(said: Answer, item: dict[str, Any] | None) -> bool:
    """Neither what was asked for nor a refusal: no answer, no code, or a confirmation of something else."""
    return not said.applied and (item is None or item.get("code") == _OK or not isinstance(item.get("code"), int))


def _words(value: object) -> str:
    """A node's own words, as Postgres and the log take them."""
    return json_reader.storable(value)[:100] if isinstance(value, str) else ""


def _heard(answer: dict[str, Any]) -> Heard:
    """What the node said about itself; a part that is not as it should be counts as not said."""
    state_id = answer.get("state_id")
    if not isinstance(state_id, str) or not 0 < len(state_id) <= _MOST_NAME or not json_reader.is_storable(state_id):
        state_id = None
    clock = answer.get("clock")
    off_ms = clock.get("off_ms") if isinstance(clock, dict) else None
    if not isinstance(off_ms, int) or isinstance(off_ms, bool) or abs(off_ms) > _LARGEST_OFFSET_MS:
        off_ms = None
    reported = answer.get("dropped")
    dropped = [
        Dropped(int(one["client"]), one["version"])
        for one in (reported if isinstance(reported, list) else [])[:_MOST_DROPPED]
        if isinstance(one, dict) and _is_subscription(one.get("client")) and _is_version(one.get("version"))
    ]
    return Heard(state_id, off_ms, tuple(dropped))


def _page(answer: dict[str, Any], after: str) -> Page:
    """A list that is not in order, or holds what is no client, is no list: what is missing in it would prove nothing."""
    clients, others, last = [], [], after
    for user in answer["users"]:
        if not isinstance(user, dict) or not _is_name(name := user.get("client")) or name <= last:
            raise NodeError("unreadable list of clients", temporary=False, trouble="answer")
        last = name
        if not _is_subscription(name):
            others.append(name)
        elif _is_version(version := user.get("version")) and (held := _uuid(user.get("uuid"))) is not None:
            clients.append(Listed(int(name), version, held))
        else:
            raise NodeError("unreadable list of clients", temporary=False, trouble="answer")
    if answer.get("next") not in {None, last} or (answer.get("next") is not None and last == after):
        raise NodeError("unreadable list of clients", temporary=False, trouble="answer")
    return Page(tuple(clients), tuple(others), answer.get("next"))


def _is_name(value: object) -> TypeGuard[str]:
    """What the node service takes for a client's name (docs/node.md)."""
    return isinstance(value, str) and re.fullmatch(r"[0-9a-z_-]{1,64}", value) is not None


def _uuid(value: object) -> str | None:
    try:
        return str(uuid.UUID(value)) if isinstance(value, str) else None
    except ValueError:
        return None


def _is_subscription(value: object) -> bool:
    """A client's name is a subscription's id in digits; other names are not Atlas's."""
    return isinstance(value, str) and re.fullmatch(r"[1-9][0-9]{0,17}", value) is not None
