"""The VPN nodes, each asked about itself (docs/node.md, HTTP), and what Atlas's own table says of it."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from infra.doctor.certificate import Certificate, peer_certificate
from infra.doctor.check import Check, NotCheckedError, WrongError, insist
from lib.domain.provisioning import CLOCK_OFF_MS
from lib.nodes import keys
from lib.nodes.transport import AiohttpTransport, NodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.doctor.deployment import Deployment, Json

_SUBJECT = "Nodes"
XRAY_VERSION = "26.7.28"
"""The one that still admits every phone client (docs/node.md, The pin)."""
CERTIFICATE_DAYS = 14
APPLIED_WITHIN_S = 600.0
"""A sweep a minute, and a breaker that waits a minute at most: what is older than this is stuck."""
_OK, _NO_KEY = 200, frozenset({401, 403, 404})

# `held` is what the node confirmed and is to have; `late` what it did not confirm in time, either way.
_NODES = """
select n.name, n.api_url, n.key_name, n.state,
       case when n.pin_until is null or n.pin_until > atlas.now() then n.pin end as pin, n.next_pin, n.trouble, n.clock_off_ms,
       n.lost_since is not null as lost, n.open_until is not null as open,
       coalesce(c.held, 0) as held, coalesce(c.late, 0) as late
from nodes n left join (
    select node_id, count(*) filter (where wanted and applied_version = version) as held,
           count(*) filter (where (not wanted or applied_version is distinct from version)
                            and changed_at < atlas.now() - make_interval(secs => :seconds)) as late
    from node_clients group by node_id
) c on c.node_id = n.id
where n.state <> 'retired' order by n.name
"""
_LINKS = r"""
select n.name, substring(c.link from '[?&]pbk=([^&#]+)') as public_key, substring(c.link from '@[^?#]*:([0-9]+)[?]') as port,
       count(*) as customers
from node_clients c join nodes n on n.id = c.node_id where c.wanted and c.link is not null group by 1, 2, 3
"""


@dataclass(frozen=True, slots=True)
class Node:
    """A node as it was found.

    Attributes:
        row: of `nodes`, with what it should hold before it was asked.
        after: what it should hold after it was asked.
        status: of its answer; 0 when there was none.
        health: the answer of `GET /health`; empty when there was none.
        certificate: what it showed; None where it speaks plain HTTP, or did not connect.
        trouble: why there is no answer, in words.
        older: it was opened by the key of an older master key alone.
    """

    row: Json
    after: int = 0
    status: int = 0
    health: Json = field(default_factory=dict)
    certificate: Certificate | None = None
    trouble: str = ""
    older: bool = False

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.row["name"])

    @property
    def tls(self) -> bool:
        """Whether its address is of TLS."""
        return str(self.row["api_url"]).startswith("https:")

    @property
    def pins(self) -> frozenset[str]:
        """The public keys that are trusted now; none of a node on this machine."""
        return frozenset(pin for pin in (self.row["pin"], self.row["next_pin"]) if pin)


async def _keys(deployment: Deployment, row: Json) -> list[str]:
    """What may open the node, the current one first."""
    name = str(row["key_name"])
    if name == keys.MASTER_KEYS:
        return [keys.derived(master, str(row["name"])) for master in await deployment.members(keys.MASTER_KEYS)]
    value = await deployment.setting(name)
    return [value] if value else []


async def _asked(deployment: Deployment, row: Json) -> Node:
    node, parts = Node(row), urlsplit(str(row["api_url"]))
    certificate = None
    if node.tls:
        unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
        try:
            async with asyncio.timeout(5):
                certificate = await peer_certificate(str(parts.hostname), parts.port or 443, unchecked)
        except (OSError, TimeoutError) as error:
            return Node(row, trouble=f"no TLS connection: {type(error).__name__}")
        if node.pins and certificate.pin not in node.pins:  # the key is for the node alone
            return Node(
                row, certificate=certificate, trouble="it shows another public key than its pin, so it was not asked"
            )
    opened_by = await _keys(deployment, row)
    if not opened_by:
        return Node(row, certificate=certificate, trouble=f"{row['key_name']}, which holds its key, is not set")
    transport, status, body, older = AiohttpTransport(connect_s=5, read_s=5), 0, b"", False
    try:
        for key in opened_by:
            status, body = await transport.send(f"{row['api_url']}/health", None, {"X-API-Key": key}, sorted(node.pins))
            if status not in _NO_KEY:
                older = key != opened_by[0]
                break
    except NodeError as error:
        return Node(row, certificate=certificate, trouble=str(error))
    finally:
        await transport.close()
    health = json.loads(body) if status == _OK else {}
    return Node(row, 0, status, health if isinstance(health, dict) else {}, certificate, older=older)


async def _look(deployment: Deployment) -> list[Node]:
    rows = await deployment.rows(_NODES, seconds=APPLIED_WITHIN_S)
    found = await asyncio.gather(*(_asked(deployment, row) for row in rows))
    after = {row["name"]: row["held"] for row in await deployment.rows(_NODES, seconds=APPLIED_WITHIN_S)}
    return [replace(one, after=after.get(one.name, 0)) for one in found]


async def _nodes(deployment: Deployment) -> list[Node]:
    return await deployment.once.get("nodes", lambda: _look(deployment))


async def _answering(deployment: Deployment) -> list[Node]:
    found = [node for node in await _nodes(deployment) if node.health]
    if not found:
        raise NotCheckedError("no node told anything about itself")
    return found


async def reachable(deployment: Deployment) -> str:
    """There are nodes, one at least takes customers, and each answers."""
    nodes = await _nodes(deployment)
    problems = [f"{node.name}: {node.trouble}" for node in nodes if node.trouble]
    problems += [
        f"{node.name} answers {node.status}"
        for node in nodes
        if not node.trouble and node.status != _OK and node.status not in _NO_KEY
    ]
    problems += [f"{node.name} is lost: it has not answered Atlas for minutes" for node in nodes if node.row["lost"]]
    problems += [
        f"{node.name} does not answer Atlas: its breaker is open, and it is asked by a probe a minute"
        for node in nodes
        if node.row["open"] and not node.row["lost"]
    ]
    if not any(node.row["state"] == "active" for node in nodes):
        problems.append("there is no node that takes customers")
    insist(problems)
    return ", ".join(node.name for node in nodes)


async def key(deployment: Deployment) -> str:
    """Each node takes its key."""
    nodes = [node for node in await _nodes(deployment) if node.status]
    insist(
        [f"{node.name} refuses its key with {node.status}" for node in nodes if node.status in _NO_KEY]
        + [f"{node.name} takes the key of an older NODE_MASTER_KEYS alone" for node in nodes if node.older]
        + [f"{node.name}: Atlas noted trouble with {node.row['trouble']}" for node in nodes if node.row["trouble"]]
    )
    if not nodes:
        raise NotCheckedError("no node answers")
    return ""


async def certificate(deployment: Deployment) -> str:
    """Each node shows the public key that its row names, in a certificate that lasts."""
    nodes, problems = await _nodes(deployment), []
    now = datetime.fromtimestamp(time.time(), UTC)
    days = []
    for node in nodes:
        if not node.tls:
            if deployment.cloud is not None:
                problems.append(f"{node.name} is called in the clear: its key can be read on the way")
        elif node.certificate is not None:
            if node.pins and node.certificate.pin not in node.pins:
                problems.append(f"{node.name} shows another public key than its pin")
            days.append(node.certificate.days_left(now))
            if days[-1] < CERTIFICATE_DAYS:
                problems.append(f"{node.name}: its certificate ends in {days[-1]} days")
    insist(problems)
    if not days:
        raise NotCheckedError("no node is called over TLS")
    return f"{min(days)} days left"


async def clock(deployment: Deployment) -> str:
    """Each node's clock is right by a minute."""
    problems = []
    for node in await _answering(deployment):
        told = node.health.get("clock", {}).get("off_ms")
        off_ms = told if isinstance(told, int) else node.row["clock_off_ms"]
        if off_ms is not None and abs(off_ms) > CLOCK_OFF_MS:
            problems.append(f"{node.name} is {abs(off_ms) // 1000} s {'ahead' if off_ms > 0 else 'behind'}")
    insist(problems)
    return ""


async def xray(deployment: Deployment) -> str:
    """On each node Xray runs, what is told is recorded, and nothing is amiss by the node's own account."""
    problems = []
    for node in await _answering(deployment):
        if not node.health.get("xray", {}).get("up"):
            problems.append(f"{node.name}: Xray does not run")
        if not node.health.get("writable"):
            problems.append(f"{node.name} can't record a change")
        # Atlas's clock and a machine's are told of by nodes-clock, links by nodes-links.
        problems += [
            f"{node.name} says: {words}"
            for words in _told(node)
            if not words.startswith(("this machine's clock", "Atlas")) and node.health.get("xray", {}).get("up")
        ]
    insist(problems)
    return ""


def _told(node: Node) -> Iterator[str]:
    problems = node.health.get("problems")
    for words in problems if isinstance(problems, list) else ():
        yield str(words)[:200]


async def version(deployment: Deployment) -> str:
    """Each node runs the pinned Xray."""
    told = {
        node.name: str(found)
        for node in await _answering(deployment)
        if (found := node.health.get("xray", {}).get("version"))
    }
    insist([f"{name} runs Xray {found}, not {XRAY_VERSION}" for name, found in told.items() if found != XRAY_VERSION])
    if not told:
        raise NotCheckedError(
            "no node tells which Xray it runs: look on the machine itself (docs/doctor.md, A node is not as it should be)"
        )
    return XRAY_VERSION


async def links(deployment: Deployment) -> str:
    """Each node makes working links, and those that customers have are of the inbound that runs now."""
    nodes = {node.name: node for node in await _answering(deployment)}
    problems = [
        f"{name} makes no working link"
        for name, node in nodes.items()
        if not isinstance(node.health.get("inbound"), dict)
    ]
    for row in await deployment.rows(_LINKS):
        inbound = nodes[row["name"]].health.get("inbound") if row["name"] in nodes else None
        if not isinstance(inbound, dict):
            continue
        if row["public_key"] != inbound.get("public_key") or str(row["port"]) != str(inbound.get("port")):
            problems.append(
                f"{row['name']}: the links of {row['customers']} customers have another key or port than it has now"
            )
    insist(problems)
    return ""


async def same(deployment: Deployment) -> str:
    """Each node holds what it is to hold."""
    problems = []
    for node in await _nodes(deployment):
        if node.row["late"] and not node.row["open"] and not node.row["lost"]:
            problems.append(
                f"{node.name} has not confirmed {node.row['late']} changes for {round(APPLIED_WITHIN_S / 60)} min"
            )
        clients, pending = node.health.get("clients"), node.health.get("pending")
        if pending and node.health.get("xray", {}).get("up"):
            problems.append(f"{node.name}: {pending} clients are recorded, and Xray does not have them yet")
        least, most = sorted((int(node.row["held"]), node.after))
        if isinstance(clients, int) and not least <= clients <= most:
            problems.append(f"{node.name} holds {clients} clients and has confirmed {most}")
    insist(problems)
    return ""


async def cut(deployment: Deployment) -> str:
    """Each node can end connections of those whose access ended."""
    unable = [node.name for node in await _answering(deployment) if node.health.get("can_cut") is not True]
    if unable and deployment.cloud is None:
        raise NotCheckedError("this machine lets no process cut sockets")
    if unable:
        raise WrongError(*(f"{name} can't cut connections" for name in unable))
    return ""


_NO_NEW = "new keys don't come from it; what runs there goes on."
_LOST = "those who use only that node have no VPN, unless it is its service alone that is away."
CHECKS = (
    Check(
        name="nodes-reachable",
        part="nodes",
        subject=_SUBJECT,
        asks="there are nodes, and each answers",
        customers=_LOST,
        mend="Look at the machine: is it up, is its port open, does its service run?",
        page="runbooks/node-unreachable.md",
        look=reachable,
        after=("schema",),
        timeout_s=20,
    ),
    Check(
        name="nodes-key",
        part="nodes",
        subject=_SUBJECT,
        asks="each node takes its key",
        customers=_NO_NEW,
        mend="Give the node the key that Atlas has for it, or the other way round.",
        page="runbooks/node-unreachable.md",
        look=key,
        after=("schema",),
        timeout_s=20,
    ),
    Check(
        name="nodes-certificate",
        part="nodes",
        subject=_SUBJECT,
        asks="each node shows its pinned public key, in a certificate that lasts",
        customers=_NO_NEW,
        mend="A new key that you made: put its pin into the node's row. One that you did not make: someone stands between.",
        page="runbooks/node-unreachable.md#another-certificate",
        look=certificate,
        after=("schema",),
        timeout_s=20,
    ),
    Check(
        name="nodes-clock",
        part="nodes",
        subject=_SUBJECT,
        asks="each node's clock is right by a minute",
        customers="none: access does not depend on it. Logs and certificates do.",
        mend="Set up the machine's time service (timedatectl).",
        page="doctor.md#a-node-is-not-as-it-should-be",
        look=clock,
        after=("nodes-key",),
        timeout_s=20,
    ),
    Check(
        name="nodes-xray",
        part="nodes",
        subject=_SUBJECT,
        asks="Xray runs on each node, and changes are recorded",
        customers=_LOST,
        mend="systemctl status xray, then the table at the end of docs/node.md.",
        page="runbooks/node-unreachable.md",
        look=xray,
        after=("nodes-key",),
        timeout_s=20,
    ),
    Check(
        name="nodes-version",
        part="nodes",
        subject=_SUBJECT,
        asks=f"each node that tells its Xray runs {XRAY_VERSION}",
        customers="a newer core refuses most phone clients, silently.",
        mend="Install the pinned version again; the recorded state does not depend on it.",
        page="doctor.md#a-node-is-not-as-it-should-be",
        look=version,
        after=("nodes-key",),
        timeout_s=20,
    ),
    Check(
        name="nodes-links",
        part="nodes",
        subject=_SUBJECT,
        asks="customers' links are of the inbound that runs now",
        customers="the link that they have does not connect.",
        mend="Put the inbound's key and port back; if the key leaked, tell customers to ask for their key again.",
        page="doctor.md#a-node-is-not-as-it-should-be",
        look=links,
        after=("nodes-key",),
        timeout_s=20,
    ),
    Check(
        name="nodes-same",
        part="nodes",
        subject=_SUBJECT,
        asks="each node holds what it is to hold",
        customers="some have no access that they paid for, or one that has ended.",
        mend="Read what the node answers to its last batch; a node that lost its state is filled again by itself.",
        page="runbooks/restore-a-killed-node.md",
        look=same,
        after=("schema",),
        timeout_s=20,
    ),
    Check(
        name="nodes-cut",
        part="nodes",
        subject=_SUBJECT,
        asks="each node can end connections whose access ended",
        customers="access that ended goes on until they disconnect.",
        mend="Give the service CAP_NET_ADMIN, as its unit has it.",
        page="doctor.md#a-node-is-not-as-it-should-be",
        look=cut,
        after=("nodes-key",),
        timeout_s=20,
    ),
)
