"""S3-MR-1: how long a node is waited for, how often it is asked, and what each of its answers means."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lib.domain.provisioning import Answer, Node, Work
from lib.nodes import client as node_client
from lib.nodes.client import ATTEMPTS, NodeClient, NodeError

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.proves("S3-MR-1")

KEY = "the-key-of-the-node"
LINK = "vless://somebody@node.test:443?security=reality"
WORK = Work(
    subscription_id=7,
    node_id=1,
    uuid=uuid.UUID("11111111-2222-4333-8444-555555555555"),
    version=3,
    wanted=True,
    expires_at=datetime(2030, 1, 1, tzinfo=UTC),
    claimed_by=uuid.uuid4(),
)
GOOD = {"client": "7", "version": 3, "code": 200, "uuid": str(WORK.uuid), "vless_link": LINK}
_REMOVAL = Work(**{name: getattr(WORK, name) for name in Work.__slots__} | {"wanted": False})


def items(*found: Any) -> httpx.Response:
    return httpx.Response(200, json={"boot_id": "b", "items": list(found)})


class Asked:
    """A node that answers by a script, the last line again and again, and remembers what it was asked."""

    def __init__(self, *script: httpx.Response | Exception) -> None:
        self.script = list(script)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def apply(self, *works: Work) -> list[Answer]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(self)) as client:
            node = Node(1, "first", "http://node.test", "XRAY_API_KEY")
            return await NodeClient(client, node, KEY).apply(list(works or (WORK,)))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses between attempts, which take no time."""
    taken: list[float] = []

    async def sleep(seconds: float) -> None:
        taken.append(seconds)

    monkeypatch.setattr(node_client, "sleep", sleep)  # its own name: the loop may serve others, who really sleep
    return taken


async def test_one_call_says_what_is_wanted(waits: list[float]) -> None:
    asked = Asked(items(GOOD, {"client": "8", "version": 4, "code": 200}))
    gone = Work(**{name: getattr(_REMOVAL, name) for name in Work.__slots__} | {"subscription_id": 8, "version": 4})
    here, absent = await asked.apply(WORK, gone)
    assert (here.applied, here.link, here.error) == (True, LINK, None)
    assert (absent.applied, absent.link, absent.error) == (True, None, None)
    (request,) = asked.requests
    assert (request.method, request.url.path, request.headers["X-API-Key"]) == ("POST", "/apply", KEY)
    assert json.loads(request.content)["items"] == [
        {
            "client": "7",
            "version": 3,
            "wanted": True,
            "uuid": str(WORK.uuid),
            "expiry_timestamp_ms": 1_893_456_000_000,
        },
        {"client": "8", "version": 4, "wanted": False},
    ]
    assert waits == []


async def test_connecting_may_take_5_s_and_reading_10(waits: list[float]) -> None:
    asked = Asked(items(GOOD))
    await asked.apply()
    assert asked.requests[0].extensions["timeout"] == {"connect": 5.0, "read": 10.0, "write": 10.0, "pool": 10.0}
    assert waits == []


_TEMPORARY: list[httpx.Response | Exception] = [
    *(httpx.Response(status) for status in (429, 500, 502, 503, 504, 526)),
    httpx.ConnectError("refused"),
    httpx.ConnectTimeout("5 s"),
    httpx.ReadTimeout("10 s"),
    httpx.ReadError("reset"),
    httpx.RemoteProtocolError("hung up"),
]
_LASTING = [
    *(httpx.Response(status) for status in (401, 403, 400, 404, 409, 413, 422)),
    httpx.Response(200, text="<html>not ours</html>"),
    httpx.Response(200, json=[]),
    httpx.Response(200, json={"items": None}),
    httpx.Response(200, json={"other": []}),
    httpx.Response(200, content=b"\xff\xfe"),
    httpx.Response(302, headers={"location": "http://elsewhere.test/"}),
]


def _named(answer: httpx.Response | Exception) -> str:
    return type(answer).__name__ if isinstance(answer, Exception) else f"{answer.status_code}-{answer.text[:12]}"


@pytest.mark.parametrize("answer", _TEMPORARY, ids=_named)
async def test_what_may_heal_is_asked_three_times(answer: httpx.Response | Exception, waits: list[float]) -> None:
    asked = Asked(answer)
    with pytest.raises(NodeError) as failure:
        await asked.apply()
    assert failure.value.temporary
    assert len(asked.requests) == ATTEMPTS == 3
    assert len(waits) == 2


@pytest.mark.parametrize("answer", _TEMPORARY, ids=_named)
async def test_a_later_attempt_may_succeed(answer: httpx.Response | Exception, waits: list[float]) -> None:
    asked = Asked(answer, answer, items(GOOD))
    (said,) = await asked.apply()
    assert said.applied
    assert len(asked.requests) == 3
    assert len(waits) == 2


@pytest.mark.parametrize("answer", _LASTING, ids=_named)
async def test_what_will_not_heal_is_asked_once(answer: httpx.Response, waits: list[float]) -> None:
    asked = Asked(answer)
    with pytest.raises(NodeError) as failure:
        await asked.apply()
    assert not failure.value.temporary
    assert len(asked.requests) == 1
    assert waits == []


@pytest.mark.parametrize("answer", [*_TEMPORARY, *_LASTING], ids=_named)
async def test_no_error_says_a_secret(answer: httpx.Response | Exception, waits: list[float]) -> None:
    with pytest.raises(NodeError) as failure:
        await Asked(answer).apply()
    assert len(waits) < ATTEMPTS
    for secret in (KEY, str(WORK.uuid), LINK):
        assert secret not in str(failure.value)
    assert failure.value.__cause__ is None


async def test_pauses_are_drawn_from_nothing_up_to_a_doubling_limit(
    waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return high / 3

    monkeypatch.setattr(random, "uniform", uniform)
    with pytest.raises(NodeError):
        await Asked(httpx.Response(503)).apply()
    (low, first), (also_low, second) = drawn
    assert low == also_low == 0
    assert second == 2 * first > 0
    assert waits == [first / 3, second / 3]


@pytest.mark.parametrize(
    ("item", "held", "words"),
    [
        (GOOD | {"uuid": "99999999-2222-4333-8444-555555555555"}, None, "another UUID"),
        (GOOD | {"uuid": None}, None, "another UUID"),
        ({name: value for name, value in GOOD.items() if name != "vless_link"}, None, "without a link"),
        (GOOD | {"vless_link": ""}, None, "without a link"),
        (GOOD | {"vless_link": "https://node.test"}, None, "without a link"),
        (GOOD | {"vless_link": 5}, None, "without a link"),
        ({"client": "7", "code": 409, "error": "older", "held_version": 9}, 9, "code 409"),
        ({"client": "7", "code": 409, "error": "same version, another wish", "held_version": 3}, 3, "code 409"),
        ({"client": "7", "code": 409, "error": "nonsense", "held_version": 2}, None, "code 409"),
        ({"client": "7", "code": 409, "error": "nonsense", "held_version": "9"}, None, "code 409"),
        ({"client": "7", "code": 503, "error": "xray is down"}, None, "code 503"),
        ({"client": "7", "code": 400, "error": "bad"}, None, "code 400"),
        ({"client": "7"}, None, "code None"),
        ({"client": "8", "code": 200}, None, "no answer"),
        ("nonsense", None, "no answer"),
        (None, None, "no answer"),
    ],
)
async def test_only_a_full_matching_confirmation_counts(
    item: Any, held: int | None, words: str, waits: list[float]
) -> None:
    asked = Asked(items(item))
    (said,) = await asked.apply()
    assert (said.applied, said.link, said.held_version) == (False, None, held)
    assert words in str(said.error)
    assert (said.subscription_id, said.version, said.claimed_by) == (7, 3, str(WORK.claimed_by))
    assert len(asked.requests) == 1
    assert waits == []


async def test_an_absent_client_is_removed(waits: list[float]) -> None:
    (said,) = await Asked(items({"client": "7", "version": 3, "code": 200})).apply(_REMOVAL)
    assert (said.applied, said.error) == (True, None)
    assert waits == []


async def test_a_node_that_is_not_there_is_not_waited_for_longer_than_said(unused_port: Callable[[], int]) -> None:
    """The one real call here: nothing listens, three attempts with their pauses, bounded by the limits above."""
    node = Node(1, "first", f"http://127.0.0.1:{unused_port()}", "XRAY_API_KEY")
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(10):
        with pytest.raises(NodeError) as failure:
            await NodeClient(client, node, KEY).apply([WORK])
    assert failure.value.temporary
    assert str(failure.value) == "ConnectError"


@pytest.fixture
def unused_port() -> Callable[[], int]:
    from sandbox.state.ports import free_port

    return free_port
