"""After everything else: no log of any part holds a secret, a link or a full UUID; and the search would find one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import pytest

from lib import function_table
from sandbox.node.lab import ShareLink
from tests.e2e.webhooks.steps import has_key, new_customer, order

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sandbox.system.system import System

_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_LINK = re.compile(rb"vless://\S")


async def _secrets(system: System) -> dict[str, str]:
    """What must be in no log, by a name that may be told."""
    settings = system.settings()
    named = {name for row in function_table.load().functions.values() for name in row.secrets}
    found = {name: settings[name] for name in sorted(named)}
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
    assert links, "no link was ever issued: the search would prove nothing"
    return found


def _logs(system: System) -> list[Path]:
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


@pytest.mark.proves("S3-LR-1")
async def test_no_log_of_the_whole_run_holds_a_secret(system: System) -> None:
    customer = new_customer(system)
    invoice = await order(system, customer)
    await system.cryptopay.pay(invoice["invoice_id"])
    await has_key(customer)
    await customer.shown_key()
    await system.settled()
    logs = _logs(system)
    assert [path.name for path in logs if not path.exists()] == []
    for target in ("telegram_webhook", "cryptobot_webhook", "task_provision", "task_notify"):
        log = system.fleet.processes[target][0].log
        assert b'"event"' in log.read_bytes(), f"{target} logged nothing: the search would prove nothing"
    assert system.database.server.log_path.stat().st_size > 0
    assert search(logs, await _secrets(system)) == []


@pytest.mark.proves("S3-LR-1")
async def test_the_search_finds_each_kind_that_is_planted(system: System, tmp_path: Path) -> None:
    secrets = await _secrets(system)
    clean = (system.fleet.processes["telegram_webhook"][0].log.read_bytes())[-2000:]
    for number, (name, secret) in enumerate(secrets.items()):
        log = tmp_path / f"{number}.log"
        log.write_bytes(clean + f'\n{{"event": "oops", "text": "so {secret} it is"}}\n'.encode() + clean)
        assert f"{log.name}: {name}" in search([log], secrets), name
    foreign = tmp_path / "foreign.log"
    foreign.write_text("client 6f9619ff-8b86-4d01-b42d-00cf4fc964ff email: x")
    assert search([foreign], {}) == ["foreign.log: a full UUID at 7"]
    ShareLink.parse(next(secret for name, secret in secrets.items() if name.startswith("link")))
