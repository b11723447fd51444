"""S3-MR-1: how long a node is waited for, how often it is asked, and what each of its answers means."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from lib.domain.provisioning import LEASE_S, Answer, Dropped, Heard, Node, Work
from lib.nodes import client as node_client
from lib.nodes.client import ATTEMPTS, NodeClient, Said
from lib.nodes.transport import NodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


NODE = Node(
    1, "first", "https://node.test", "XRAY_API_KEY", None, None, None, datetime(2029, 1, 1, tzinfo=UTC), ["ab" * 32]
)
Scripted = tuple[int, bytes] | Exception


class Request(NamedTuple):
    """One call, as the transport was asked to make it."""

    url: str
    body: dict[str, Any] | None
    headers: Mapping[str, str]


def items(*found: Any, **more: Any) -> tuple[int, bytes]:
    return 200, json.dumps({"boot_id": "b", "items": list(found)} | more).encode()


class Asked:
    """A node that answers by a script, the last line again and again, and remembers what it was asked."""

    def __init__(self, *script: Scripted) -> None:
        self.script = list(script)
        self.requests: list[Request] = []

    async def send(
        self, url: str, body: bytes | None, headers: Mapping[str, str], pins: Sequence[str]
    ) -> tuple[int, bytes]:
        assert pins == NODE.pins
        self.requests.append(Request(url, json.loads(body or b"null"), headers))
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def say(self, *works: Work, acknowledged: Sequence[Dropped] = (), key: str = KEY) -> Said:
        return await NodeClient(self, NODE, (key,)).apply(works or (WORK,), acknowledged)

    async def apply(self, *works: Work) -> tuple[Answer, ...]:
        return (await self.say(*works)).answers


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
    assert (request.url, request.headers["X-API-Key"]) == ("https://node.test/apply", KEY)
    told = int(request.headers["X-Atlas-Time-Ms"]) - int(NODE.asked_at.timestamp() * 1000)
    assert 0 <= told < 60_000  # the database's time when the node was read, and what has passed since
    assert request.body is not None
    assert request.body["items"] == [
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


_TEMPORARY: list[Scripted] = [
    *((status, b"") for status in (429, 500, 502, 503, 504, 526)),
    NodeError("ClientConnectorError", temporary=True),
]
_LASTING: list[Scripted] = [
    *((status, b"") for status in (302, 401, 403, 400, 404, 409, 413, 422)),
    (200, b"<html>not ours</html>"),
    (200, b"[]"),
    (200, b'{"items": null}'),
    (200, b'{"other": []}'),
    (200, b"\xff\xfe"),
    (200, b'{"items": [], "more": NaN}'),
    (200, b"[" * 40_000),
    (200, b'{"items": ' + b"[" * 40_000 + b"]" * 40_000 + b"}"),
    NodeError("an answer of more than 4 MiB", temporary=False, trouble="answer"),
]


def _named(answer: Scripted) -> str:
    return type(answer).__name__ if isinstance(answer, Exception) else f"{answer[0]}-{answer[1][:12]!r}"


@pytest.mark.parametrize("answer", _TEMPORARY, ids=_named)
async def test_what_may_heal_is_asked_three_times(answer: Scripted, waits: list[float]) -> None:
    asked = Asked(answer)
    with pytest.raises(NodeError) as failure:
        await asked.apply()
    assert failure.value.temporary
    assert len(asked.requests) == ATTEMPTS == 3
    assert len(waits) == 2


@pytest.mark.parametrize("answer", _TEMPORARY, ids=_named)
async def test_a_later_attempt_may_succeed(answer: Scripted, waits: list[float]) -> None:
    asked = Asked(answer, answer, items(GOOD))
    (said,) = await asked.apply()
    assert said.applied
    assert len(asked.requests) == 3
    assert len(waits) == 2


@pytest.mark.parametrize("answer", _LASTING, ids=_named)
async def test_what_will_not_heal_is_asked_once(answer: Scripted, waits: list[float]) -> None:
    asked = Asked(answer)
    with pytest.raises(NodeError) as failure:
        await asked.apply()
    assert not failure.value.temporary
    assert len(asked.requests) == 1
    assert waits == []


@pytest.mark.parametrize("answer", [*_TEMPORARY, *_LASTING], ids=_named)
async def test_no_error_says_a_secret(answer: Scripted, waits: list[float]) -> None:
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
        await Asked((503, b"")).apply()
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
        ({"client": "7", "code": 409, "error": "same version, other content", "held_version": 3}, 3, "code 409"),
        ({"client": "7", "code": 409, "error": "nonsense", "held_version": 2}, None, "code 409"),
        ({"client": "7", "code": 409, "error": "nonsense", "held_version": "9"}, None, "code 409"),
        ({"client": "7", "code": 503, "error": "xray is down"}, None, "code 503"),
        ({"client": "7", "code": 400, "error": "bad"}, None, "code 400"),
        ({"client": "7"}, None, "code none"),
        (GOOD | {"version": 2}, None, "another version"),
        ({"client": "7", "code": [], "error": {}}, None, "code none"),
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


@pytest.mark.parametrize("key", ["k\u00e9y", "two\nlines", "\udcff"])
async def test_a_key_that_no_header_can_carry_is_the_configuration_s_trouble(key: str, waits: list[float]) -> None:
    with pytest.raises(NodeError) as failure:
        await Asked(items(GOOD)).say(key=key)
    assert (failure.value.temporary, failure.value.trouble, waits) == (False, "configuration", [])


async def test_one_call_ends_whatever_the_node_does(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless:
        async def send(
            self, _url: str, _body: bytes | None, _headers: Mapping[str, str], _pins: Sequence[str]
        ) -> tuple[int, bytes]:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(node_client, "CALL_S", 0.05)
    with pytest.raises(NodeError, match="no answer within"):
        await NodeClient(Endless(), NODE, (KEY,)).apply([WORK])


@pytest.mark.proves("S3-9")
async def test_while_the_master_key_is_exchanged_a_node_that_knows_the_old_key_alone_is_asked_with_it(
    waits: list[float],
) -> None:
    asked = Asked((401, b""), items(GOOD))
    said = await NodeClient(asked, NODE, ("new", "old")).apply([WORK])
    assert said.answers[0].applied
    assert [one.headers["X-API-Key"] for one in asked.requests] == ["new", "old"]
    knows_the_new = Asked(items(GOOD))
    await NodeClient(knows_the_new, NODE, ("new", "old")).apply([WORK])
    assert [one.headers["X-API-Key"] for one in knows_the_new.requests] == ["new"]
    knows_none = Asked((401, b""))
    with pytest.raises(NodeError, match="does not know our key"):
        await NodeClient(knows_none, NODE, ("new", "old")).apply([WORK])
    assert (len(knows_none.requests), waits) == (2, [])


def test_a_claim_outlives_a_call() -> None:
    assert node_client.CALL_S < LEASE_S


async def test_a_node_that_is_told_nothing_may_be_asked_about_itself(waits: list[float]) -> None:
    asked = Asked((503, b""), (200, b'{"users": [], "state_id": "s1"}'))
    assert await NodeClient(asked, NODE, (KEY,)).look() == Heard("s1")
    assert [(one.url, one.body) for one in asked.requests] == [("https://node.test/list-users?limit=1", None)] * 2
    assert len(waits) == 1


async def test_what_the_node_removed_by_itself_is_acknowledged_by_pairs(waits: list[float]) -> None:
    asked = Asked(items(GOOD))
    await asked.say(acknowledged=[Dropped(5, 9)])
    (request,) = asked.requests
    assert (request.body or {})["acknowledged"] == [{"client": "5", "version": 9}]
    assert waits == []


@pytest.mark.parametrize(
    ("fields", "heard"),
    [
        ({}, Heard()),
        ({"state_id": "s1", "clock": {"off_ms": -5}}, Heard("s1", -5)),
        ({"state_id": "", "clock": {"off_ms": None}}, Heard()),
        ({"state_id": ["s1"], "clock": 7}, Heard()),
        ({"state_id": "s\x001", "clock": {"off_ms": 2**70}}, Heard()),
        ({"state_id": "x" * 201, "clock": {"off_ms": 1.5}}, Heard()),
        ({"dropped": [{"client": "5", "version": 9}]}, Heard(dropped=(Dropped(5, 9),))),
        (
            {
                "dropped": [
                    *[{"client": name, "version": 1} for name in ("Anna", "-1", "05", "9" * 19, 5, None, "\u0665")],
                    *[{"client": "5", "version": version} for version in (0, -1, 2**62, 1.0, True, "1")],
                    *["nonsense", None, [], {}],
                    {"client": "6", "version": 2},
                ]
            },
            Heard(dropped=(Dropped(6, 2),)),
        ),
        ({"dropped": {"client": "5"}}, Heard()),
    ],
)
async def test_what_a_node_says_of_itself_is_taken_only_where_it_makes_sense(
    fields: dict[str, Any], heard: Heard, waits: list[float]
) -> None:
    said = await Asked(items(GOOD, **fields)).say()
    assert (said.heard, said.answers[0].applied, waits) == (heard, True, [])
