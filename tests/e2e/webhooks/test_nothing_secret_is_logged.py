"""No log of any part holds a secret, a link or a full UUID; and the search would find one.

Here over one purchase; at the end of each system that tests share, over all that they did (`tests/e2e/conftest.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.node.lab import ShareLink
from tests.e2e.log_search import logs, search, secrets
from tests.e2e.webhooks.steps import has_key, new_customer, order

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.system.system import System


async def _buy(system: System) -> None:
    customer = new_customer(system)
    invoice = await order(system, customer)
    await system.cryptopay.pay(invoice["invoice_id"])
    await has_key(customer)
    await customer.shown_key()
    await system.settled()


@pytest.mark.proves("S3-LR-1")
async def test_no_log_of_any_part_holds_a_secret(system: System) -> None:
    await _buy(system)
    written = logs(system)
    assert [path.name for path in written if not path.exists()] == []
    for target in ("telegram_webhook", "cryptobot_webhook", "task_provision", "task_notify"):
        log = system.fleet.processes[target][0].log
        assert b'"event"' in log.read_bytes(), f"{target} logged nothing: the search would prove nothing"
    assert system.database.server.log_path.stat().st_size > 0
    assert search(written, await secrets(system)) == []


@pytest.mark.proves("S3-LR-1")
async def test_the_search_finds_each_kind_that_is_planted(system: System, tmp_path: Path) -> None:
    await _buy(system)
    wanted = await secrets(system)
    assert any(name.startswith("link") for name in wanted)
    clean = (system.fleet.processes["telegram_webhook"][0].log.read_bytes())[-2000:]
    for number, (name, secret) in enumerate(wanted.items()):
        log = tmp_path / f"{number}.log"
        log.write_bytes(clean + f'\n{{"event": "oops", "text": "so {secret} it is"}}\n'.encode() + clean)
        assert f"{log.name}: {name}" in search([log], wanted), name
    foreign = tmp_path / "foreign.log"
    foreign.write_text("client 6f9619ff-8b86-4d01-b42d-00cf4fc964ff email: x")
    assert search([foreign], {}) == ["foreign.log: a full UUID at 7"]
    ShareLink.parse(next(secret for name, secret in wanted.items() if name.startswith("link")))
