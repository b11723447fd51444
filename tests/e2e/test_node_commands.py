"""S3-9: a third real node joins a running shop by the operators' commands, and its certificate is exchanged under customers' calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from infra import environment
from infra.nodes.__main__ import main
from sandbox.node.caller import NodeCaller
from sandbox.node.lab import ShareLink, XrayNode
from sandbox.system.customer import Customer
from sandbox.system.system import System
from tests.e2e.sweeps.customers import accept_trial
from xray_api import certificate

if TYPE_CHECKING:
    from pathlib import Path

_LINK = """
select c.link from node_clients c join nodes n on n.id = c.node_id
where n.name = 'third' and c.wanted and c.applied_version = c.version and c.link is not null
"""


@pytest.mark.full
@pytest.mark.proves("S3-9")
async def test_a_node_joins_a_running_shop_and_exchanges_its_certificate(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with System(home / ".local", forked=True) as system:
        system.home.announce({"url": system.urls["gateway"], **system.facts()})

        async def make(command: str, **given: str) -> tuple[int, str]:
            """As an operator types it; the code, and what was printed."""
            code = await asyncio.to_thread(
                main, [command], {"ENV": "local", **given}, lambda name: environment.load(name, folder=home / ".local")
            )
            said = capsys.readouterr()
            return code, said.out + said.err

        assert await make("check") == (0, "first: well\nsecond: well\n")
        anna = Customer(system.telegram.user(77))
        await accept_trial(anna)
        await anna.gets_key()

        code, key = await make("key", NAME="third")
        assert code == 0
        node = XrayNode(home / "third", tls=True, key=key.strip())
        at, old = node.certificate, node.pin
        assert at is not None
        assert old is not None
        await node.start()
        try:
            given = {"URL": node.url, "PIN": old, "COUNTRY": "NL", "CITY_RU": "Амстердам", "CITY_EN": "Amsterdam"}
            code, said = await make("add", NAME="third", **given)
            assert code == 0, said
            await system.sweep("activation")
            await system.settled()
            (link,) = [row["link"] for row in await system.sql(_LINK)]
            assert ShareLink.parse(link).port == node.port
            async with NodeCaller(node.url, node.key, trust=node.trust) as caller:
                assert len(await caller.users()) == 1

            new = certificate.make(home / "next.pem")
            assert (await make("add", NAME="third", PIN=f"{old},{new}", UPDATE="1"))[0] == 0
            (home / "next.pem").replace(at)
            boris = Customer(system.telegram.user(78))
            await accept_trial(boris)
            await boris.gets_key()
            assert (await make("add", NAME="third", PIN=new, UPDATE="1"))[0] == 0
            await system.sweep("activation")
            await system.settled()
            assert len(await system.sql(_LINK)) == 2
            assert await make("check") == (0, "first: well\nsecond: well\nthird: well\n")
            assert await system.invariants() == []
        finally:
            await node.stop()
        code, said = await make("check", NAME="third")
        assert (code, "does not answer" in said) == (1, True)
