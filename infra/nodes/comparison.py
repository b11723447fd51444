"""What nodes hold against what Postgres wants of them, for a person: the dry run of `sweep_reconcile`. It changes nothing."""

from __future__ import annotations

import asyncio
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Final

from infra import transaction
from infra.nodes import commands
from lib.domain import reconcile_nodes
from lib.domain.reconcile_nodes import Stretch
from lib.nodes.client import NodeClient
from lib.nodes.reconciling import PAGE
from lib.nodes.transport import AiohttpTransport, NodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.environment import Environment
    from infra.nodes.arguments import Arguments
    from infra.transaction import Session
    from lib.domain.provisioning import Node
    from lib.domain.reconcile_nodes import Difference
    from lib.nodes.client import Page
    from lib.nodes.transport import Transport

_AGREE, _DIFFER = 0, 1
_MEANS: Final = {
    "absent": "is not there as it was confirmed: would be applied anew",
    "other": "is there under another version or UUID: would be applied anew",
    "leaving": "is to go, which sweep_expiry sees to",
}


def compare(environment: Environment, arguments: Arguments) -> int:
    """Every node that the sweep would list, or the one that is named, page by page; 1 when something differs or could not be asked."""
    with closing(transaction.Session(environment.connect("readonly"))) as session:
        nodes = session.run(reconcile_nodes.may_be_listed)
        if arguments.node is not None:
            nodes = [node for node in nodes if node.name == arguments.node.name]
        if not nodes:
            sys.stderr.write("there is no such node that the sweep would list: `make node-list` has their states\n")
            return _DIFFER
        return asyncio.run(_every(environment, session, nodes))


async def _every(environment: Environment, session: Session, nodes: list[Node]) -> int:
    transport = AiohttpTransport()
    found = _AGREE
    try:
        for node in nodes:
            try:
                found |= await _one(environment, session, transport, node)
            except (NodeError, commands.UnusableKey) as error:
                sys.stderr.write(f"{node.name}: could not be listed: {error}\n")
                found = _DIFFER
    finally:
        await transport.close()
    return found


async def _one(environment: Environment, session: Session, transport: Transport, node: Node) -> int:
    client = NodeClient(transport, node, commands.keys_of(environment, node.name, node.key_name))
    counts: dict[str, int] = {}
    listed, after = 0, ""
    while True:
        page = await client.page(after, PAGE)
        for one in _of_page(session, node, after, page):
            counts[one.kind] = counts.get(one.kind, 0) + 1
            sys.stdout.write(f"  {node.name}: {_in_words(one)}\n")
        for name in page.others:
            counts["others"] = counts.get("others", 0) + 1
            sys.stdout.write(f"  {node.name}: {name} is no name of Atlas's: would be let alone\n")
        listed += len(page.clients) + len(page.others)
        if page.last is None:
            break
        after = page.last
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    sys.stdout.write(f"{node.name}: holds {listed} clients; {told or 'all as Postgres has it'}\n")
    return _DIFFER if counts.keys() & {"orphan", "absent", "other"} else _AGREE


def _of_page(session: Session, node: Node, after: str, page: Page) -> Iterator[Difference]:
    """Postgres may have more rows in the stretch than the node has clients: they are read page by page as well."""
    stretch, first = Stretch(node.id, after, page.last, page.clients), True
    while True:
        found, last = session.run(reconcile_nodes.differences, stretch, node.asked_at, 2 * PAGE, with_orphan=first)
        yield from found
        if last is None:
            return
        stretch, first = Stretch(node.id, last, page.last, page.clients), False


def _in_words(one: Difference) -> str:
    of = "no such subscription" if one.account_id is None else f"account {one.account_id}"
    versions = f"version {one.held_version or '-'} there, {one.wanted_version or '-'} here"
    if one.kind == "orphan":
        since = "not seen by the sweep yet" if one.seen_s is None else f"seen {one.seen_s:.0f} s ago"
        means = f"has no row, {since}: would be removed after {reconcile_nodes.GRACE_S:.0f} s"
    else:
        means = _MEANS[one.kind]
    return f"subscription {one.subscription_id} ({of}; {versions}) {means}"
