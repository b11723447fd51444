"""`/apply` and the people's three endpoints: versions, tombstones, idempotence, bad input, and who may ask."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from sandbox.node.caller import HOUR_MS, NodeCaller, now_ms, unwanted, wanted
from tests.waiting import until
from xray_api.xray import Xray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox.node.lab import XrayNode


@pytest.fixture
def running(node: XrayNode) -> Iterator[Xray]:
    """Xray's own word on what it runs, past the service."""
    xray = Xray(f"127.0.0.1:{node.api_port}", "vless-in")
    yield xray
    xray.close()


def names(xray: Xray, client: str) -> dict[str, str]:
    return {user.name: user.uuid for user in xray.users() if user.name.rpartition(".")[0] == client}


async def test_added_client_runs_in_xray_with_its_uuid_and_flow(caller: NodeCaller, running: Xray, client: str) -> None:
    item = wanted(client, 3)
    (answer,) = await caller.apply(item)
    assert answer == {
        "client": client,
        "version": 3,
        "code": 200,
        "wanted": True,
        "uuid": item["uuid"],
        "vless_link": answer["vless_link"],
    }
    assert answer["vless_link"].startswith(f"vless://{item['uuid']}@127.0.0.1:")
    found = [user for user in running.users() if user.name == f"{client}.3"]
    assert [(user.uuid, user.flow) for user in found] == [(item["uuid"], "xtls-rprx-vision")]


async def test_same_version_and_content_again_changes_nothing(caller: NodeCaller, running: Xray, client: str) -> None:
    item = wanted(client, 1)
    first, again = [(await caller.apply(item))[0] for _ in range(2)]
    assert first == again
    assert names(running, client) == {f"{client}.1": item["uuid"]}


async def test_same_version_with_other_content_is_refused(caller: NodeCaller, client: str) -> None:
    item = wanted(client, 1)
    await caller.apply(item)
    for other in (item | {"expiry_timestamp_ms": now_ms() + HOUR_MS}, wanted(client, 1), unwanted(client, 1)):
        (answer,) = await caller.apply(other)
        assert (answer["code"], answer["error"], answer["held_version"]) == (409, "same version, other content", 1)


async def test_a_late_add_cannot_undo_a_remove(caller: NodeCaller, running: Xray, client: str) -> None:
    late = wanted(client, 2)
    await caller.apply(wanted(client, 1))
    (removed,) = await caller.apply(unwanted(client, 3))
    assert removed == {"client": client, "version": 3, "code": 200, "wanted": False}
    (answer,) = await caller.apply(late)
    assert answer == {"client": client, "version": 2, "code": 409, "error": "older version", "held_version": 3}
    assert names(running, client) == {}
    assert client not in await caller.users()


async def test_a_remove_of_a_client_never_seen_is_remembered(caller: NodeCaller, running: Xray, client: str) -> None:
    assert (await caller.apply(unwanted(client, 5)))[0]["code"] == 200
    assert (await caller.apply(wanted(client, 4)))[0]["code"] == 409
    assert names(running, client) == {}


async def test_an_extension_leaves_xray_alone(caller: NodeCaller, running: Xray, client: str) -> None:
    item = wanted(client, 1)
    await caller.apply(item)
    later = item | {"version": 2, "expiry_timestamp_ms": item["expiry_timestamp_ms"] + HOUR_MS}
    (answer,) = await caller.apply(later)
    assert answer["code"] == 200
    assert names(running, client) == {f"{client}.1": item["uuid"]}, (
        "the name holds the version at which the UUID was born"
    )
    held = (await caller.users())[client]
    assert (held["version"], held["expiry_timestamp_ms"]) == (2, later["expiry_timestamp_ms"])


async def test_a_reissue_leaves_only_the_new_uuid(caller: NodeCaller, running: Xray, client: str) -> None:
    await caller.apply(wanted(client, 1))
    new = wanted(client, 2)
    assert (await caller.apply(new))[0]["code"] == 200
    assert names(running, client) == {f"{client}.2": new["uuid"]}


def twin(text: str) -> str:
    """A UUID that differs in bytes 6 and 7 only: Xray takes both for one."""
    return text[:14] + ("4abc" if text[14:18] != "4abc" else "4abd") + text[18:]


@pytest.mark.parametrize("other", [str, twin], ids=["same", "bytes-6-7"])
async def test_a_uuid_in_use_is_refused_until_it_is_free(
    caller: NodeCaller, running: Xray, client: str, other: Callable[[str], str]
) -> None:
    item = wanted(client, 1)
    thief = wanted(f"{client}-thief", 1, uuid_text=other(item["uuid"]))
    await caller.apply(item)
    (answer,) = await caller.apply(thief)
    assert (answer["code"], answer["error"]) == (409, "uuid in use")
    freed, given = await caller.apply(unwanted(client, 2), thief)
    assert (freed["code"], given["code"]) == (200, 200), (
        "in one batch: the old name leaves Xray before the new one comes"
    )
    assert names(running, f"{client}-thief") == {f"{client}-thief.1": thief["uuid"]}
    assert names(running, client) == {}


async def test_a_reissue_to_a_twin_uuid_works(caller: NodeCaller, running: Xray, client: str) -> None:
    item = wanted(client, 1)
    await caller.apply(item)
    new = wanted(client, 2, uuid_text=twin(item["uuid"]))
    assert (await caller.apply(new))[0]["code"] == 200
    assert names(running, client) == {f"{client}.2": new["uuid"]}


BAD_ITEMS: dict[str, Any] = {
    "not an object": 7,
    "no client": {"version": 1, "wanted": False},
    "client with a dot": unwanted("12.3", 1),
    "client with capitals": unwanted("AB", 1),
    "client too long": unwanted("x" * 65, 1),
    "client a number": {**unwanted("x", 1), "client": 12},
    "version zero": unwanted("bad", 0),
    "version true": {**unwanted("bad", 1), "version": True},
    "version a text": {**unwanted("bad", 1), "version": "1"},
    "version huge": unwanted("bad", 1 << 63),
    "no version": {"client": "bad", "wanted": False},
    "wanted a text": {**unwanted("bad", 1), "wanted": "no"},
    "uuid short": wanted("bad", 1, uuid_text="zz"),
    "uuid not hex": wanted("bad", 1, uuid_text="g" * 36),
    "uuid without hyphens": wanted("bad", 1, uuid_text=uuid.uuid4().hex),
    "uuid nil": wanted("bad", 1, uuid_text=str(uuid.UUID(int=0))),
    "uuid fullwidth": wanted("bad", 1, uuid_text="\uff10" * 36),
    "no uuid": {key: value for key, value in wanted("bad", 1).items() if key != "uuid"},
    "no expiry": {key: value for key, value in wanted("bad", 1).items() if key != "expiry_timestamp_ms"},
    "expiry negative": wanted("bad", 1, expiry_ms=-1),
    "expiry a fraction": {**wanted("bad", 1), "expiry_timestamp_ms": 1e12 + 0.5},
    "expiry beyond years": wanted("bad", 1, expiry_ms=1 << 60),
}


@pytest.mark.parametrize("bad", BAD_ITEMS.values(), ids=BAD_ITEMS)
async def test_a_bad_item_is_400_and_spoils_no_other(caller: NodeCaller, client: str, bad: Any) -> None:
    before, answer, after = await caller.apply(wanted(client, 1), bad, unwanted(f"{client}-b", 1))
    assert (before["code"], answer["code"], after["code"]) == (200, 400, 200)
    assert answer["error"]
    assert "bad" not in await caller.users()


async def test_a_client_twice_in_a_batch_is_400_the_second_time(caller: NodeCaller, client: str) -> None:
    codes = [answer["code"] for answer in await caller.apply(wanted(client, 1), unwanted(client, 2))]
    assert codes == [200, 400]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[]", 400),
        (b"{}", 400),
        (b'{"items": []}', 400),
        (b'{"items": {}}', 400),
        (json.dumps({"items": [unwanted("many", 1)] * 501}).encode(), 400),
        (b"[" * 100_000, 400),
        (b" " * (1 << 20) + b"{}", 413),
    ],
)
async def test_a_bad_body_is_refused_in_words(caller: NodeCaller, body: bytes, code: int) -> None:
    response = await caller.http.post("/apply", content=body)
    assert response.status_code == code
    assert isinstance(response.json()["error"], str)


async def test_a_body_of_unknown_length_is_read_no_further_than_allowed(caller: NodeCaller) -> None:
    async def endless() -> Any:
        for _ in range(40):
            yield b" " * 65536

    response = await caller.http.post("/apply", content=endless())
    assert response.status_code == 413


async def test_a_full_batch_answers_in_order(caller: NodeCaller, client: str) -> None:
    items = [wanted(f"{client}-{number}", 1) for number in range(500)]
    answers = await caller.apply(*items)
    assert [(a["client"], a["code"], a["uuid"]) for a in answers] == [(i["client"], 200, i["uuid"]) for i in items]
    gone = await caller.apply(*[unwanted(item["client"], 2) for item in items])
    assert {answer["code"] for answer in gone} == {200}


async def test_list_users_pages_by_key(caller: NodeCaller, client: str) -> None:
    mine = [f"{client}-p{number}" for number in range(5)]
    await caller.apply(*[wanted(key, 1) for key in mine])
    seen: list[str] = []
    after: str | None = f"{client}-"
    while after is not None and len(seen) < len(mine):
        page = (await caller.http.get("/list-users", params={"after": after, "limit": 2})).json()
        assert all(user["applied"] for user in page["users"])
        seen += [user["client"] for user in page["users"]]
        after = page["next"]
    assert seen[:5] == mine


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=", "limit=%D9%A1", "after=A.B"])
async def test_a_bad_page_is_400(caller: NodeCaller, query: str) -> None:
    assert (await caller.http.get(f"/list-users?{query}")).status_code == 400


async def test_people_add_extend_reissue_and_remove_by_telegram_id(
    caller: NodeCaller, running: Xray, client: str
) -> None:
    telegram_id, first, second = 10_000_000_000 + int(client), str(uuid.uuid4()), str(uuid.uuid4())
    key, end = f"tg{telegram_id}", now_ms() + HOUR_MS

    async def post(path: str, **body: Any) -> httpx.Response:
        return await caller.http.post(path, json=body)

    assert (await post("/update-user", telegram_id=telegram_id, expiry_timestamp_ms=end)).status_code == 404
    added = await post("/add-user", uuid=first, telegram_id=telegram_id, expiry_timestamp_ms=end)
    again = await post("/add-user", uuid=first, telegram_id=telegram_id, expiry_timestamp_ms=end)
    assert added.json() == again.json()
    assert added.json()["uuid"] == first
    assert (await caller.users())[key]["version"] == 1, "an add repeated word for word is no new version"
    extended = await post("/update-user", telegram_id=telegram_id, expiry_timestamp_ms=end + 1)
    assert extended.json() == added.json()
    await post("/update-user", uuid=second, telegram_id=telegram_id, expiry_timestamp_ms=end + 1)
    assert names(running, key) == {f"{key}.3": second}
    old = await post("/update-user", telegram_id=telegram_id, expiry_timestamp_ms=end, version=1)
    assert (old.status_code, old.json()) == (409, {"error": "older version"})
    for removed in (True, False):
        response = await caller.http.post(f"/remove-user/{second.upper()}")
        assert (response.status_code, response.json()) == (200, {"uuid": second, "removed": removed})
    assert names(running, key) == {}
    assert (await caller.http.post(f"/remove-user/{uuid.uuid4()}")).status_code == 200
    assert (await caller.http.post("/remove-user/zz")).status_code == 400
    assert (await post("/add-user", uuid=second, telegram_id="1", expiry_timestamp_ms=end)).status_code == 400


async def test_remove_user_works_for_any_holder_of_the_uuid(caller: NodeCaller, client: str) -> None:
    item = wanted(client, 4)
    await caller.apply(item)
    assert (await caller.http.post(f"/remove-user/{item['uuid']}", json={"version": 3})).status_code == 409
    assert (await caller.http.post(f"/remove-user/{item['uuid']}")).json()["removed"] is True
    assert (await caller.apply(item))[0]["held_version"] == 5


async def test_parallel_changes_of_one_client_end_at_the_newest(caller: NodeCaller, running: Xray, client: str) -> None:
    items = [wanted(client, version) for version in range(1, 31)]
    await asyncio.gather(*(caller.apply(item) for item in items))
    assert (await caller.users())[client]["version"] == 30
    assert list(names(running, client).values()) == [items[-1]["uuid"]]


async def test_health_tells_the_inbound_and_no_private_key(node: XrayNode, caller: NodeCaller) -> None:
    await until(caller.settled, "settled")
    response = await caller.http.get("/health")
    health = response.json()
    assert health["ok"] is True
    assert health["problems"] == []
    assert health["inbound"] == {
        "port": node.port,
        "sni": "www.example.com",
        "public_key": node.public_key,
        "short_id": node.short_id,
        "flow": "xtls-rprx-vision",
        "network": "tcp",
    }
    private_key = json.loads((node.folder / "node.json").read_text())["private_key"]
    assert private_key not in response.text
    assert (await caller.http.get("/nothing")).json() == {"error": "not found"}
    assert (await caller.http.get("/apply")).status_code == 405


PROTECTED = [
    ("POST", "/apply"),
    ("POST", "/add-user"),
    ("POST", "/update-user"),
    ("POST", "/remove-user/{uuid}"),
    ("GET", "/list-users"),
    ("GET", "/health"),
    ("GET", "/nothing"),
    ("POST", "/"),
]


@pytest.mark.proves("N-14")
@pytest.mark.parametrize("endpoint", PROTECTED, ids=" ".join)
async def test_without_the_key_nothing_is_told_and_nothing_changes(
    node: XrayNode, caller: NodeCaller, running: Xray, client: str, endpoint: tuple[str, str]
) -> None:
    method, path = endpoint
    held = wanted(client, 1)
    await caller.apply(held)
    before, there = await caller.users(), running.users()
    body = json.dumps(
        {
            "items": [unwanted(client, 2), wanted(f"{client}-new", 1)],
            "uuid": str(uuid.uuid4()),
            "telegram_id": 1,
            "expiry_timestamp_ms": now_ms() + HOUR_MS,
        }
    )
    tries: dict[int, list[list[tuple[bytes, bytes]]]] = {
        404: [[]],
        401: [
            [(b"X-API-Key", b"wrong")],
            [(b"X-API-Key", b"")],
            [(b"X-API-Key", "ключ".encode())],
            [(b"X-API-Key", b"\xff\xfe")],
            [(b"X-API-Key", node.key.encode() + b"x")],
            [(b"X-API-Key", node.key.encode()), (b"X-API-Key", b"wrong")],
        ],
    }
    async with httpx.AsyncClient(base_url=node.url, trust_env=False) as stranger:
        for code, headers in [(code, one) for code, many in tries.items() for one in many]:
            response = await stranger.request(method, path.format(uuid=held["uuid"]), headers=headers, content=body)
            assert response.status_code == code
            assert response.json() == {"error": "not found" if code == 404 else "wrong key"}
        assert (await stranger.get("/")).json() == {"ok": True}
    assert await caller.users() == before
    assert running.users() == there


async def test_several_keys_are_valid_at_once(new_node: Callable[..., XrayNode]) -> None:
    old, new = "old-key-0123456789", "new-key-0123456789"
    node = await new_node(environment={"XRAY_API_KEYS": f"{old}, {new}"}).start()
    for key, code in ((old, 200), (new, 200), (node.key, 401)):
        async with NodeCaller(node.url, key) as caller:
            assert (await caller.http.get("/health")).status_code == code
