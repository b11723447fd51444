"""The search of a system's logs for what must be in none: secrets, links, full UUIDs (S3-LR-1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from lib import function_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sandbox.system.system import System

_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
# A system without a copy of its books off site has no key to it.
_OFF_SITE = frozenset({"LEDGER_EXPORT_KEY"})
_LINK = re.compile(rb"vless://\S")


async def secrets(system: System) -> dict[str, str]:
    """What must be in no log, by a name that may be told."""
    settings = system.settings()
    named = {name for row in function_table.load().functions.values() for name in row.secrets}
    found = {name: settings[name] for name in sorted(named - (_OFF_SITE - settings.keys()))}
    owner = unquote(system.database.owner_url.partition("@")[0].rpartition(":")[2])
    functions = unquote(system.database.functions_url.partition("@")[0].rpartition(":")[2])
    found |= {
        "the bot token's secret part": system.bot_token.partition(":")[2],
        "Crypto Pay's secret part": system.cryptopay_token.partition(":")[2],
        "password of the owner": owner,
        "password of the functions": functions,
        "password of the superuser": system.database.server.password,
        **{
            f"REALITY key of node {number}": str(
                node.core.config["inbounds"][0]["streamSettings"]["realitySettings"]["privateKey"]
            )
            for number, node in enumerate(system.nodes, 1)
        },
        **{f"API key of node {number}": node.key for number, node in enumerate(system.nodes, 1)},
    }
    issued = await system.sql("select distinct cast(uuid as text) as uuid from subscription_history")
    found |= {f"UUID {row['uuid'][:8]}": row["uuid"] for row in issued}
    bought = await system.sql("select cast(purchase_id as text) as uuid from orders")
    found |= {f"purchase {row['uuid'][:8]}": row["uuid"] for row in bought}
    links = {
        link
        for user in system.telegram.users
        for message in user.messages
        for link in re.findall(r"vless://[^\s<\"]+", str(message))
    }
    found |= {f"link {number}": link for number, link in enumerate(sorted(links))}
    return found


def logs(system: System) -> list[Path]:
    """Of functions, Postgres, Xray and the node service."""
    functions = sorted(system.home.logs.glob("*.log"))
    nodes = [path for node in system.nodes for path in (node.service_log, node.core.folder / "xray.log")]
    return [*functions, system.database.server.log_path, *nodes]


def search(paths: Iterable[Path], secrets: Mapping[str, str]) -> list[str]:
    """Where one of them stands, raw or as in a URL, and every full UUID and link of any owner."""
    hits = []
    for path in paths:
        content = path.read_bytes()
        for name, secret in secrets.items():
            if any(form.encode() in content for form in {secret, quote(secret, safe=""), secret.upper()}):
                hits.append(f"{path.name}: {name}")
        hits += [f"{path.name}: a full UUID at {match.start()}" for match in _UUID.finditer(content)]
        hits += [f"{path.name}: a link at {match.start()}" for match in _LINK.finditer(content)]
    return hits


async def assert_nothing_secret_is_logged(system: System) -> None:
    """At the end of a system's life, whatever its tests did to it: the last thing before it is stopped."""
    assert search([path for path in logs(system) if path.exists()], await secrets(system)) == []
