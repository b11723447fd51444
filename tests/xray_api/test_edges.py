"""What is not as it should be: bodies that no caller means, a damaged or unwritable state, settings that can't work."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from sandbox.node.caller import NodeCaller, now_ms, wanted
from sandbox.node.lab import XrayNode
from sandbox.state.ports import free_port
from tests.xray_api.test_links import config, refused_start
from xray_api.requests import MAX_DEPTH
from xray_api.settings import Settings
from xray_api.store import Change, Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


UUID = "6f1f4c1e-0000-4000-8000-00000000000a"

BODIES = {
    "nested 40 000 deep": b'{"items": ' + b"[" * 40_000 + b"]" * 40_000 + b"}",
    "nested and never closed": b'{"a":' * 40_000,
    "nested too deep": b'{"items": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
    "not JSON": b"{",
    "empty": b"",
    "UTF-16": '{"items": []}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"items": []}',
    "no UTF-8": b'{"items": ["\xff"]}',
    "NaN": b'{"items": [NaN]}',
    "Infinity": b'{"items": [-Infinity]}',
    "a number of 10 000 digits": b'{"items": [' + b"9" * 10_000 + b"]}",
    "a key twice": b'{"items": [], "items": []}',
    "a list": b"[]",
    "items an object": b'{"items": {}}',
    "nothing asked": b'{"items": [], "acknowledged": []}',
    "acknowledged a version of 2^63": b'{"acknowledged": [{"client": "1", "version": 9223372036854775808}]}',
    "acknowledged a client of another kind": b'{"acknowledged": [{"client": ["1"], "version": 1}]}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_body_that_no_caller_means_is_400_without_a_traceback(
    node: XrayNode, caller: NodeCaller, body: bytes
) -> None:
    before = node.service_log.read_text().count("request_failed")
    for path in ("/apply", "/add-user"):
        response = await caller.http.post(path, content=body)
        assert (response.status_code, list(response.json())) == (400, ["error"])
    assert node.service_log.read_text().count("request_failed") == before


@pytest.mark.parametrize("version", [1 << 63, (1 << 63) - 1, (1 << 62) + 1, 0, -1, True, 1.0, 1e999, "1", None, [1]])
async def test_a_version_beyond_what_can_be_counted_up_is_400_in_its_item(
    caller: NodeCaller, client: str, version: Any
) -> None:
    body = json.dumps({"items": [{**wanted(client, 1), "version": version}]}).replace("Infinity", "1e999")
    (answer,) = (await caller.http.post("/apply", content=body)).json()["items"]
    assert answer["code"] == 400
    assert client not in await caller.users()


async def test_the_highest_version_can_still_be_counted_up(caller: NodeCaller) -> None:
    person = {"uuid": wanted("x", 1)["uuid"], "telegram_id": 77, "expiry_timestamp_ms": now_ms() + 60_000}
    assert (await caller.http.post("/add-user", json={**person, "version": 1 << 62})).status_code == 200
    for _ in range(2):
        removed = await caller.http.post(f"/remove-user/{person['uuid']}")
        assert removed.status_code == 200


async def test_half_a_body_and_gone_is_one_line_and_no_traceback(node: XrayNode, caller: NodeCaller) -> None:
    host, port = httpx.URL(node.url).host, httpx.URL(node.url).port
    before = node.service_log.read_text()
    _, writer = await asyncio.open_connection(host, port)
    writer.write(f"POST /apply HTTP/1.1\r\nHost: x\r\nX-API-Key: {node.key}\r\nContent-Length: 900\r\n\r\n{{".encode())
    await writer.drain()
    writer.close()
    while "request_cut_off" not in (told := node.service_log.read_text()[len(before) :]):
        await caller.health()
    assert told.count("request_cut_off") == 1
    assert "Traceback" not in told
    assert "request_failed" not in told


@pytest.mark.parametrize("value", ["", "1", "-1", "1e13", "99999999999999999", "١٨٠٠٠٠٠٠٠٠٠٠٠"])
async def test_a_time_that_is_none_is_400(caller: NodeCaller, value: str) -> None:
    caller.http.event_hooks = {}
    answer = await caller.http.get("/health", headers={b"X-Atlas-Time-Ms": value.encode()})
    assert answer.status_code == 400


# -- the state file --------------------------------------------------------------------------------------------------------------


def filled(path: Path) -> tuple[str, bytes]:
    store = Store(path, 0)
    changes = [
        Change(str(number), 1, wanted=True, uuid=UUID[:-12] + f"{number:012x}", expiry_ms=now_ms() + 10**9)
        for number in range(1, 200)
    ]
    assert {one.error for one in store.apply(changes, now_ms(), frozenset())} == {None}
    store.close()
    return store.state_id, path.read_bytes()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated in the middle": lambda kept: kept[: len(kept) // 2],
    "truncated within a page": lambda kept: kept[: len(kept) // 2 + 100],
    "truncated to its header": lambda kept: kept[:50],
    "no database": lambda _: b"this is not a database" * 100,
    "empty pages": lambda kept: kept[:4096] + bytes(len(kept) - 4096),
    "a flipped schema": lambda kept: kept.replace(b"uuid_key text", b"uuid_kex text", 1),
    "a flipped UUID": lambda kept: kept.replace(
        UUID[:-12].encode() + b"000000000001", UUID[:-12].encode() + b"000000000f01", 1
    ),
    "flipped all over": lambda kept: bytes(
        byte ^ 0x20 if n > 100 and n % 997 == 0 else byte for n, byte in enumerate(kept)
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_state_is_set_aside_and_a_new_one_begins(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "state.sqlite3"
    state_id, kept = filled(path)
    for _ in range(2):  # a second one does not go over the first
        path.write_bytes(damage(kept))
        store = Store(path, 0)
        assert store.state_id != state_id
        assert store.count() == 0
        assert store.damaged is not None
        assert store.damaged.read_bytes() == damage(kept)
        store.close()
    assert len(list(tmp_path.glob("*.damaged-?"))) == 2
    again = Store(path, 0)
    assert again.damaged is None
    again.close()


def test_a_state_that_is_whole_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    state_id, _ = filled(path)
    store = Store(path, 0)
    assert (store.state_id, store.count(), store.damaged) == (state_id, 199, None)
    store.close()


async def test_health_is_not_ok_while_no_change_can_be_recorded_and_is_again_afterwards(
    new_node: Callable[..., XrayNode],
) -> None:
    node = await new_node().start()
    blocker = sqlite3.connect(node.environment["XRAY_STATE_PATH"], isolation_level=None)
    async with NodeCaller(node.url, node.key) as caller:
        assert (await caller.health())["ok"] is True
        blocker.execute("begin immediate")
        assert (await caller.http.post("/apply", json={"items": [wanted("1", 1)]})).status_code == 503
        health = await caller.health()
        assert (health["ok"], health["writable"]) == (False, False)
        assert any("the state can't be written (SQLITE_BUSY)" in problem for problem in health["problems"])
        blocker.execute("rollback")
        blocker.close()
        health = await caller.health()
        assert (health["ok"], health["problems"]) == (True, [])
        assert (await caller.apply(wanted("1", 1)))[0]["code"] == 200
    assert "Traceback" not in node.service_log.read_text()


# -- settings --------------------------------------------------------------------------------------------------------------------

REACHABLE = [
    "de1.example.com",
    "DE1.Example.com.",
    "8.8.8.8",
    "2a00:1450::1",
    "[2a00:1450::1]",
    "пример.com",
    "::ffff:8.8.8.8",
]
LOCAL_ONLY = [
    *("0.0.0.0", "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.0.1", "100.64.0.1"),  # noqa: S104
    *("224.0.0.1", "255.255.255.255", "192.0.2.1", "::", "::1", "fe80::1", "fd00::1", "ff02::1", "2001:db8::1"),
    *(
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "localhost",
        "node1",
        "a.localhost",
        "printer.local",
        "db.internal",
    ),
    *("node.invalid", "vpn.test", "x.onion", "nas.home.arpa"),
]
NEVER = [
    *(
        "",
        " ",
        "https://de1.example.com",
        "de1.example.com:443",
        "8.8.8.8:443",
        "[2a00:1450::1]:443",
        "de1.example.com/x",
    ),
    *(
        "127.1",
        "2130706433",
        "0x7f.1",
        "1.2.3",
        "1.2.3.4.5",
        "-a.com",
        "a..com",
        "a_b.com",
        "[8.8.8.8]",
        "[2a00::1",
        "fe80::1%eth0",
    ),
    *("*.example.com", "user@example.com", "a" * 64 + ".com", ".".join(["a" * 60] * 5)),
]


def host_problems(monkeypatch: pytest.MonkeyPatch, host: str, environment: str) -> list[str]:
    for name in os.environ:
        if name.startswith("XRAY_"):
            monkeypatch.delenv(name)
    for name, value in {
        "XRAY_API_KEYS": "k" * 16,
        "XRAY_CONFIG_PATH": "/x",
        "XRAY_STATE_PATH": "/x",
        "XRAY_PUBLIC_HOST": host,
        "ENVIRONMENT": environment,
    }.items():
        monkeypatch.setenv(name, value)
    try:
        return Settings().cross_checks()
    except ValueError as error:
        return [str(error)]


@pytest.mark.parametrize(
    ("host", "taken_in"),
    [
        *((host, {"local", "dev", "prod"}) for host in REACHABLE),
        *((host, {"local"}) for host in LOCAL_ONLY),
        *((host, set()) for host in NEVER),
    ],
)
def test_a_public_host_is_taken_exactly_when_customers_could_reach_it(
    monkeypatch: pytest.MonkeyPatch, host: str, taken_in: set[str]
) -> None:
    environments = ("local", "dev", "prod")
    assert {one for one in environments if host_problems(monkeypatch, host, one) == []} == taken_in


BAD_STARTS: dict[str, tuple[str, Callable[[Path], dict[str, str]]]] = {
    "a folder in the place of the state": ("XRAY_STATE_PATH: can't be opened", lambda at: {"XRAY_STATE_PATH": str(at)}),
    "a file in the place of its folder": (
        "XRAY_STATE_PATH: can't be opened",
        lambda at: {"XRAY_STATE_PATH": str(at / "file" / "state")},
    ),
    "a folder that nothing can be made in": (
        "XRAY_STATE_PATH: can't be opened",
        lambda _: {"XRAY_STATE_PATH": "/proc/self/state"},
    ),
    "an address of another machine": (
        "XRAY_API_BIND: can't listen there",
        lambda _: {"XRAY_API_BIND": f"192.0.2.1:{free_port()}", "XRAY_API_PLAIN_HTTP": "1"},
    ),
    "a port of three sixes too many": ("XRAY_API_BIND: ", lambda _: {"XRAY_API_BIND": "127.0.0.1:66666"}),
    "a clock outside local": (
        "XRAY_API_CLOCK_PATH: only ENVIRONMENT=local",
        lambda _: {"ENVIRONMENT": "prod", "XRAY_PUBLIC_HOST": "8.8.8.8"},
    ),
    "a clock that is none": (
        "XRAY_API_CLOCK_PATH: must be a file",
        lambda at: {"XRAY_API_CLOCK_PATH": str(at / "file")},
    ),
    "no certificate": (
        "XRAY_API_TLS_CERT, XRAY_API_TLS_KEY: can't be used",
        lambda at: {"XRAY_API_TLS_CERT": str(at / "file"), "XRAY_API_TLS_KEY": str(at / "file")},
    ),
    "an unknown environment": ("ENVIRONMENT: must be", lambda _: {"ENVIRONMENT": "staging"}),
}


@pytest.mark.parametrize(("words", "change"), BAD_STARTS.values(), ids=BAD_STARTS)
async def test_what_can_not_work_is_named_at_start_with_exit_code_2(
    tmp_path: Path, words: str, change: Callable[[Path], dict[str, str]]
) -> None:
    environment = XrayNode(tmp_path).environment
    (tmp_path / "xray.json").write_text(json.dumps(config()))
    (tmp_path / "file").write_text("neither a number nor a certificate")
    told = await refused_start(environment | change(tmp_path))
    assert told.count("- ") == 1, told
    assert words in told
    assert "Traceback" not in told
