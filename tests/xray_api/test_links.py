"""The link is made of the inbound that runs; an inbound no working link can be made for stops the start."""

from __future__ import annotations

import asyncio
import copy
import importlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.node.caller import NodeCaller, wanted
from sandbox.node.lab import RealityTarget, ShareLink, XrayCore, XrayNode, generate_reality_keys, server_config
from sandbox.state.ports import free_port
from tests.waiting import until
from xray_api.inbound import InboundError, LinkFacts, LinkMaker, from_config
from xray_api.xray import Xray

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

V2ray: Any = importlib.import_module("v2ray").V2ray  # v2raypy has no types
UUID = "0b9e5f0a-3a0c-4d52-9a0f-0123456789ab"
KEYS = generate_reality_keys()


def config(short_id: str = "0123456789abcdef") -> dict[str, Any]:
    return server_config(port=443, api_port=10085, target_port=9443, private_key=KEYS.private_key, short_id=short_id)


def reality(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["inbounds"][0]["streamSettings"]["realitySettings"]
    return found


@pytest.mark.parametrize("host", ["203.0.113.7", "2001:db8::7", "node.example.net", "xn--e1afmkfd.example"])
@pytest.mark.parametrize("name", ["Atlas", "VPN #1 ?&+% Москва", "a/b@c:d"])
@pytest.mark.parametrize("short_id", ["01", "0123456789abcdef", "ab00"])
def test_other_readers_read_what_we_wrote(host: str, name: str, short_id: str) -> None:
    facts = from_config(config(short_id), None).facts()
    link = LinkMaker(host, name, "chrome").link(UUID, facts)
    read = V2ray.from_link(link).to_dict()
    server = read["settings"]["vnext"][0]
    user = server["users"][0]
    stream = read["streamSettings"]
    assert (server["address"].strip("[]"), server["port"]) == (host, 443)
    assert (user["id"], user["encryption"], user["flow"]) == (UUID, "none", "xtls-rprx-vision")
    assert (stream["network"], stream["security"]) == ("tcp", "reality")
    seen = stream["realitySettings"]
    expected_short_id = short_id.removesuffix("00")  # zeros at its end say nothing: both sides fill it up with them
    assert (seen["serverName"], seen["publicKey"], seen["shortId"], seen["fingerprint"]) == (
        "www.example.com",
        KEYS.public_key,
        expected_short_id,
        "chrome",
    )
    ours = ShareLink.parse(link)
    assert (ours.uuid, ours.host, ours.port, ours.name) == (UUID, host, 443, name)
    assert (ours.flow, ours.public_key, ours.short_id) == ("xtls-rprx-vision", KEYS.public_key, expected_short_id)


def test_the_link_is_spelled_as_the_standard_says() -> None:
    facts = LinkFacts(8443, "a.example", "PBK_-", "01ab", "xtls-rprx-vision", "tcp")
    assert LinkMaker("::1", "é #", "firefox").link(UUID, facts) == (
        f"vless://{UUID}@[::1]:8443?type=tcp&security=reality&encryption=none&flow=xtls-rprx-vision"
        "&pbk=PBK_-&fp=firefox&sni=a.example&sid=01ab#%C3%A9%20%23"
    )


def _with(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: reality(document).update(changes)


def _inbound(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["inbounds"][0].update(changes)


def _stream(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["inbounds"][0]["streamSettings"].update(changes)


UNWORKABLE: Mapping[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "no reality": (_stream(security="tls"), "security must be reality"),
    "no security": (_stream(security="none"), "security must be reality"),
    "websocket": (_stream(network="ws"), "network must be raw"),
    "xhttp": (_stream(network="xhttp"), "network must be raw"),
    "http header": (_stream(rawSettings={"header": {"type": "http"}}), "header.type must be none"),
    "no minClientVer": (lambda d: reality(d).pop("minClientVer"), "minClientVer must be set"),
    "minClientVer too new": (_with(minClientVer="26.3.27"), "minClientVer must be at most 1.8.1"),
    "minClientVer junk": (_with(minClientVer="new"), "minClientVer must be at most"),
    "maxClientVer": (_with(maxClientVer="26.0.0"), "maxClientVer must not be set"),
    "no shortIds": (_with(shortIds=[]), "shortIds must hold"),
    "empty short id": (_with(shortIds=[""]), "shortIds must hold"),
    "odd short id": (_with(shortIds=["abc"]), "shortIds must hold"),
    "long short id": (_with(shortIds=["00" * 9]), "shortIds must hold"),
    "padded key": (_with(privateKey=KEYS.private_key + "="), "privateKey must be 32 bytes"),
    "short key": (_with(privateKey="abcd"), "privateKey must be 32 bytes"),
    "no key": (_with(privateKey=None), "privateKey must be 32 bytes"),
    "no server name": (_with(serverNames=[]), "serverNames must hold"),
    "wildcard name": (_with(serverNames=["*.example.com"]), "serverNames must hold"),
    "port range": (_inbound(port="443-445"), "port must be one"),
    "encrypted vless": (
        _inbound(settings={"clients": [], "decryption": "mlkem768x25519plus.x"}),
        "decryption must be none",
    ),
    "no tag": (_inbound(tag=""), "needs a tag"),
    "another protocol": (_inbound(protocol="trojan"), "exactly one vless inbound"),
    "two inbounds": (lambda d: d["inbounds"].append(copy.deepcopy(d["inbounds"][0])), "found 2"),
    "no inbounds": (lambda d: d.pop("inbounds"), "found 0"),
}


@pytest.mark.proves("S3-CR-3")
@pytest.mark.parametrize(("spoil", "words"), UNWORKABLE.values(), ids=UNWORKABLE)
def test_an_inbound_without_a_working_link_is_refused(spoil: Callable[[dict[str, Any]], None], words: str) -> None:
    document = config()
    spoil(document)
    with pytest.raises(InboundError, match=words):
        from_config(document, None).facts()


async def refused_start(environment: Mapping[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "xray_api",
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, words = await asyncio.wait_for(process.communicate(), 20)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 2
    return words.decode()


async def test_start_tells_every_problem_at_once_by_name(tmp_path: Path) -> None:
    document = config()
    _with(shortIds=[], minClientVer=None)(document)
    document["api"]["services"] = []
    (tmp_path / "xray.json").write_text(json.dumps(document))
    words = await refused_start(
        {
            "XRAY_API_KEYS": "short",
            "XRAY_API_BIND": "nowhere",
            "XRAY_CONFIG_PATH": str(tmp_path / "xray.json"),
            "XRAY_GRPC": "192.0.2.1:10085",
            "XRAY_PUBLIC_HOST": "https://node",
            "XRAY_LINK_NAME": "",
            "XRAY_FINGERPRINT": "android",
            "XRAY_EXPIRY_GRACE_SECONDS": "-1",
        }
    )
    for name in (
        "XRAY_API_KEYS: ",
        "XRAY_API_BIND: ",
        "XRAY_STATE_PATH: is not set",
        "XRAY_PUBLIC_HOST: ",
        "XRAY_LINK_NAME: ",
        "XRAY_FINGERPRINT: ",
        "XRAY_EXPIRY_GRACE_SECONDS: ",
        "shortIds",
        "minClientVer",
        "HandlerService",
        "XRAY_GRPC: must be loopback",
    ):
        assert name in words
    assert "short\n" not in words, "no value of a key is shown"


@pytest.mark.parametrize("missing", ["XRAY_API_KEYS", "XRAY_CONFIG_PATH", "XRAY_STATE_PATH", "XRAY_PUBLIC_HOST"])
async def test_a_setting_left_out_is_named(tmp_path: Path, missing: str) -> None:
    environment = XrayNode(tmp_path).environment
    (tmp_path / "xray.json").write_text(json.dumps(config()))
    words = await refused_start({name: value for name, value in environment.items() if name != missing})
    assert words.count("- ") == 1
    assert f"{missing}: is not set" in words


async def test_keys_never_travel_in_the_clear_by_accident(tmp_path: Path) -> None:
    environment = XrayNode(tmp_path).environment
    (tmp_path / "xray.json").write_text(json.dumps(config()))
    words = await refused_start(
        {**environment, "XRAY_API_BIND": "0.0.0.0:1", "XRAY_API_TLS_CERT": str(tmp_path / "no")}
    )
    assert "set both or none" in words
    assert "XRAY_API_TLS_CERT: no such file" in words
    assert "in the clear" in await refused_start({**environment, "XRAY_API_BIND": "0.0.0.0:1"})


async def test_a_second_service_on_one_state_file_is_refused(node: XrayNode) -> None:
    environment = {**node.environment, "XRAY_API_BIND": f"127.0.0.1:{free_port()}"}
    assert "another process uses the state file" in await refused_start(environment)


@pytest.mark.proves("S3-CR-3")
async def test_links_follow_the_running_inbound_not_the_file(new_node: Callable[..., XrayNode], client: str) -> None:
    node = await new_node().start()
    other = generate_reality_keys()
    edited = copy.deepcopy(node.core.config)
    reality(edited).update(privateKey=other.private_key, shortIds=["beef"], serverNames=["other.example.com"])
    # The file is edited and Xray is not restarted: links stay what Xray runs, over a restart of the service as well.
    node.core.config_path.write_text(json.dumps(edited))
    await node.service.stop()
    await node.start_service()
    item = wanted(client, 1)
    async with NodeCaller(node.url, node.key) as caller:
        link = ShareLink.parse((await caller.apply(item))[0]["vless_link"])
        assert (link.public_key, link.short_id, link.sni) == (node.public_key, node.short_id, "www.example.com")
        # Now Xray runs it: so do the links, without the service being told.
        node.core.config = edited
        await node.core.restart()

        async def followed() -> bool:
            (answer,) = await caller.apply(item)
            return answer["code"] == 200 and ShareLink.parse(answer["vless_link"]).public_key == other.public_key

        await until(followed, "links of the restarted inbound")
        link = ShareLink.parse((await caller.apply(item))[0]["vless_link"])
        assert (link.short_id, link.sni) == ("beef", "other.example.com")
        # An inbound that cuts clients off: no link is handed out, and an operator reads why.
        reality(edited)["minClientVer"] = "26.3.27"
        await node.core.restart()

        async def withheld() -> bool:
            (answer,) = await caller.apply(item)
            return answer["code"] == 503 and "vless_link" not in answer and "link" in answer["error"]

        await until(withheld, "no link of an unworkable inbound")
        health = await caller.health()
        assert health["ok"] is False
        assert any("minClientVer" in problem for problem in health["problems"])


@pytest.mark.proves("S3-CR-3")
async def test_start_is_refused_when_the_running_inbound_differs_unworkably(tmp_path: Path) -> None:
    node = XrayNode(tmp_path)
    reality(node.core.config)["minClientVer"] = "26.3.27"
    await node.core.start()
    try:
        reality(node.core.config)["minClientVer"] = "1.8.0"
        node.core.config_path.write_text(json.dumps(node.core.config))
        words = await refused_start(node.environment)
        assert "the running Xray" in words
        assert "minClientVer" in words
    finally:
        await node.core.stop()


async def test_the_running_inbound_reads_as_its_file_says(tmp_path: Path) -> None:
    target = RealityTarget(tmp_path).start()
    port, api_port = free_port(), free_port()
    document = server_config(
        port=port, api_port=api_port, target_port=target.port, private_key=KEYS.private_key, short_id="ab"
    )
    core = XrayCore(tmp_path, document)
    await core.start()
    xray = Xray(f"127.0.0.1:{api_port}", "vless-in")
    try:
        assert xray.inbound() == from_config(document, None)
    finally:
        xray.close()
        await core.stop()
        target.stop()
