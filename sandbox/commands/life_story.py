"""The demo's chapters about a subscription's life: a node lost and refilled, a new key under a download, a renewal by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from lib.settings import pricelist
from sandbox.commands.demo_checks import A_MINUTE, ELSEWHERE, MEGABYTE, OK, Download
from sandbox.node.lab import TunnelClient
from sandbox.system.customer import APPLIED_S, link_of, need, same_key, text_of

if TYPE_CHECKING:
    from sandbox.commands.demo_checks import DemoChecks
    from sandbox.commands.teller import Teller
    from sandbox.system.customer import Customer, Message
    from sandbox.system.system import System

_BETWEEN_RENEWALS: Final = timedelta(minutes=10)  # functions/table.json
_A_WHILE: Final = timedelta(hours=1)
_LOST: Final = "select 1 from nodes where name = :name and lost_since is not null"
# Nothing of what it held is still to be found missing, and each client is confirmed by it again.
_REFILLED: Final = """
select 1 from nodes n where n.name = :name and n.lost_since is null and n.state_id = :state_id and n.forgotten_to is null
and not exists (select from node_clients c where c.node_id = n.id and c.applied_version is distinct from c.version)
"""


class LifeStory:
    """Of one running system with two nodes."""

    def __init__(self, system: System, tell: Teller, checks: DemoChecks) -> None:
        self._system = system
        self._tell = tell
        self._checks = checks
        self._prices = pricelist.load()

    async def node_is_lost_and_refilled(self, keys: dict[str, str], on_each: dict[str, list[str]]) -> None:
        """Of the first node, which is down: those with `keys` have access. Puts each one's links on all nodes into `on_each`."""
        node, [row] = (
            self._system.nodes[0],
            await self._system.sql("select name, state_id from nodes order by id limit 1"),
        )

        async def lost() -> object:
            return await self._system.sql(_LOST, name=row["name"])

        async with self._tell.step("it stays silent: after some probes it counts as lost") as notes:
            runs = await self._checks.by_schedule(lost, A_MINUTE, "the node is lost")
            notes.append(f"{runs} minutes later")
        async with self._tell.step(
            "a machine that knows no client takes its place, and is filled again by itself"
        ) as notes:
            node.forget()
            await node.start()
            facts = await self._system.nodes.health(0)
            need(facts["state_id"] != row["state_id"], "it remembers what it held")

            async def refilled() -> object:
                return await self._system.sql(_REFILLED, name=row["name"], state_id=facts["state_id"])

            runs = await self._checks.by_schedule(refilled, A_MINUTE, "the node is filled again")
            held = (await self._system.nodes.health(0))["clients"]
            notes.append(f"within {runs} minutes; clients: {held}")
        async with self._tell.step(
            "bytes flow through both nodes again, for Anna, Boris and Clara, by the keys they have"
        ):
            for name, key in keys.items():
                on_each[name] = await self._checks.links_of(name)
                need(all(same_key(link, key) for link in on_each[name]), f"{name} has another key")
            await self._checks.pull_all([link for links in on_each.values() for link in links], MEGABYTE)

    async def reissued_under_a_download(self, customer: Customer, old: list[str]) -> list[str]:
        """One node's service is away meanwhile, so that each node gets the new key at a time of its own; the new links."""
        node, name, since = self._system.nodes[0], customer.user.account.first_name, self._checks.origin.dripped
        async with (
            TunnelClient(old[0], source=ELSEWHERE, timeout_seconds=60) as client,
            client.stream(self._checks.origin.drip_url) as download,
        ):
            drip = Download(self._checks.origin, since, download.aiter_raw())
            await drip.goes_on()
            async with self._tell.step(
                f"while {name} downloads through a node that can't be told now, she asks for a new key"
            ) as notes:
                await node.service.kill()
                last = customer.last_id()
                await customer.reissue()

                def is_new(message: Message) -> bool:
                    shown = link_of(message)
                    return message["message_id"] > last and shown is not None and not same_key(shown, old[0])

                new = str(link_of(await customer.sees(is_new, "a new key", APPLIED_S)))
                notes.append(f"by the other node, {await self._checks.pull(new, MEGABYTE)}")
            async with self._tell.step("there the old key goes on until the new one works"):
                await drip.goes_on()
                status, _body = await client.get(self._checks.origin.bytes_url(1000))
                need(status == OK, f"the old key was answered {status}")
            async with self._tell.step(
                "the node can be told again: the new key works on both, the old one on none"
            ) as notes:
                await node.start_service()
                links = await self._checks.links_of(name)
                need(all(same_key(link, new) for link in links), "a node has another key")
                await self._checks.pull_all(links, MEGABYTE)
                await self._checks.refused(name, old)
                notes.append(f"her download {await self._checks.fate(drip.chunks, old[0])}")
        return links

    async def auto_renewal_turned_on(self, customer: Customer) -> None:
        """They have enough on the balance."""
        name = customer.user.account.first_name
        async with self._tell.step(f"{name} turns auto-renewal on, for the price that is shown") as notes:
            said = text_of(await customer.turn_auto_renewal(on=True))
            need("It is on" in said and f"{self._checks.price // 100}" in said, f"the screen says: {said}")
            notes.append(f"{self._checks.price / 100:.2f} RUB")

    async def renewed_by_itself(self, customer: Customer) -> None:
        """Time goes by until shortly before the end, then by the sweep's schedule; turned off, it is the last time."""
        name = customer.user.account.first_name
        async with self._tell.step(
            f"a month later the access of {name} is renewed from the balance, before its end"
        ) as notes:
            last, end, held = customer.last_id(), await self._checks.end(name), await self._checks.balance_of(name)
            window = timedelta(hours=self._prices.auto_renewal.window_hours)
            await self._checks.pass_time(end - window + _A_WHILE - self._system.clock.now())

            async def renewed() -> bool:
                return await self._checks.end(name) != end

            await self._checks.by_schedule(renewed, _BETWEEN_RENEWALS, "access is renewed")
            after = await self._checks.end(name)
            need(after - end == timedelta(days=30), f"the end moved by {after - end}")
            await self._checks.holds(name, held - self._checks.price)
            await customer.sees(
                lambda message: message["message_id"] > last and "This is auto-renewal" in text_of(message), "a receipt"
            )
            notes.append(f"until {after:%Y-%m-%d}, {(held - self._checks.price) / 100:.2f} RUB left")
        async with self._tell.step(f"{name} turns it off again"):
            said = text_of(await customer.turn_auto_renewal(on=False))
            need("It is off" in said, f"the screen says: {said}")
