"""In the running system no caller but tasks and the scheduler reaches a private function, as on the platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from lib import function_table
from sandbox.cloud.cloudtasks.oidc import Oidc
from sandbox.system.platform import SCHEDULER_INVOKER, tasks_invoker

if TYPE_CHECKING:
    from sandbox.system.system import System

PRIVATE = [row.name for row in function_table.load().functions.values() if row.trigger != "public"]


async def _post(system: System, target: str, account: str | None = None) -> httpx.Response:
    url = system.function_url(target)
    token = None if account is None else system.tasks.signer.token(Oidc(account), url)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        return await client.post(url, json={"outbox_id": 0}, headers=headers)


@pytest.mark.parametrize("target", PRIVATE)
async def test_a_private_function_never_hears_of_a_stranger(system: System, target: str) -> None:
    passed = len(system.gateway.passed)
    assert (await _post(system, target)).status_code == 403
    assert (await _post(system, target, "somebody@atlas-local.iam.gserviceaccount.com")).status_code == 403
    assert len(system.gateway.passed) == passed
    assert [refused.service for refused in system.iam.refused][-2:] == [target.replace("_", "-")] * 2


async def test_tasks_and_the_scheduler_get_through_each_where_they_belong(system: System) -> None:
    assert (await _post(system, "task_settle", tasks_invoker("payments"))).json()["poisoned"]
    assert (await _post(system, "task_settle", tasks_invoker("nodes"))).status_code == 403
    assert (await _post(system, "task_settle", SCHEDULER_INVOKER)).status_code == 403
    refused = len(system.iam.refused)
    await system.sweep("outbox")  # raises unless it was let through
    assert (await system.call("sweep_outbox")).status_code == 200  # past the gateway, on purpose
    assert len(system.iam.refused) == refused
