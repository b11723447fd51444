"""The functions: who is answered, who is refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from infra.doctor.check import Check, NotCheckedError, WrongError, insist
from lib import json_reader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.doctor.deployment import Deployment, Json
    from lib.function_table import Function

_SUBJECT = "Functions"
_COLD_S = 40.0
"""A call that meets no instance waits for one."""
_HEALTHY = {"telegram_webhook": 405, "cryptobot_webhook": 405, "health": 200}
"""What a public function answers to a GET without anything: the webhooks take POST alone."""


async def _status(
    deployment: Deployment, function: Function, method: str, headers: Mapping[str, str] | None = None
) -> tuple[int, str]:
    url = await deployment.function_url(function)
    response = await deployment.http.request(method, f"{url}/", headers=dict(headers or {}), timeout=_COLD_S)
    return response.status_code, response.text[:200]


async def answer(deployment: Deployment) -> str:
    """Every public function answers, by its own code."""
    public = [row for row in deployment.table.functions.values() if row.trigger == "public"]
    found = await asyncio.gather(*(_status(deployment, row, "GET") for row in public))
    insist(
        [
            f"{row.name} answers {status}"
            for row, (status, _) in zip(public, found, strict=True)
            if status != _HEALTHY.get(row.name, 200)
        ]
    )
    return f"{len(public)} public ones"


async def refuse(deployment: Deployment) -> str:
    """A caller without secret, signature or key gets nothing from a public function."""
    functions = deployment.table.functions
    telegram = "X-Telegram-Bot-Api-Secret-Token"
    tries: list[tuple[str, str, dict[str, str], int]] = [
        ("telegram_webhook", "without a secret", {}, 403),
        ("telegram_webhook", "with a wrong secret", {telegram: "-"}, 403),
        ("cryptobot_webhook", "without a signature", {}, 401),
    ]
    if not await deployment.members("CRYPTOPAY_TOKEN"):
        tries.pop()
    found = await asyncio.gather(
        *(_status(deployment, functions[name], "POST", headers) for name, _, headers, _ in tries)
    )
    problems = [
        f"{name} answers {status} to a call {how}"
        for (name, how, _, wanted), (status, _) in zip(tries, found, strict=True)
        if status != wanted
    ]
    if await deployment.setting("HEALTH_KEY"):
        status, _ = await _status(deployment, functions["health"], "GET", {"X-Health-Key": "-"})
        if status != 403:  # noqa: PLR2004 -- the answer to a wrong key
            problems.append(f"health answers {status} to a wrong key")
    insist(problems)
    return ""


async def private(deployment: Deployment) -> str:
    """The platform lets no caller through to a task function or a sweep but the accounts of queues and schedules.

    GET: a function that is reached after all answers 405 and does nothing.
    """
    rows = [row for row in deployment.table.functions.values() if row.trigger != "public"]
    # 404: with ingress from inside alone, the platform denies that there is a service.
    refusals = {401, 403} if deployment.cloud is None else {401, 403, 404}
    ways: tuple[tuple[str, dict[str, str]], ...] = (
        ("without a token", {}),
        ("with a made-up token", {"Authorization": "Bearer a.b.c"}),
    )
    problems = []
    for how, headers in ways:
        found = await asyncio.gather(*(_status(deployment, row, "GET", headers) for row in rows))
        problems += [
            f"{row.name} answers {status} to a call {how}"
            for row, (status, _) in zip(rows, found, strict=True)
            if status not in refusals
        ]
    insist(problems)
    return f"{len(rows)} private ones"


async def health(deployment: Deployment) -> str:
    """`health` takes its key and reaches the database."""
    key = await deployment.setting("HEALTH_KEY")
    if not key:
        raise NotCheckedError("HEALTH_KEY is not set")
    url = await deployment.function_url(deployment.table.functions["health"])
    response = await deployment.http.get(f"{url}/", headers={"X-Health-Key": key}, timeout=_COLD_S)
    try:
        told = json_reader.read_object(response.content)
    except json_reader.UnreadableJson:
        told = {}
    if told.get("database") is not True:
        raise WrongError(f"health answers {response.status_code} to its key: {response.text[:200]}")
    # It reached the database; sweeps and deliveries that it is red for have checks of their own.
    return "; ".join(str(one) for one in told.get("red", ()))[:200]


def _unready(service: Json) -> list[str]:
    name = str(service.get("name", "")).rsplit("/", 1)[-1]
    problems = []
    condition = service.get("terminalCondition", {})
    if condition.get("state") != "CONDITION_SUCCEEDED":
        problems.append(f"{name} is not ready: {condition.get('message') or condition.get('state', 'no condition')}")
    ready, created = service.get("latestReadyRevision"), service.get("latestCreatedRevision")
    if ready != created:
        problems.append(f"{name}: its newest revision did not become ready, the one before serves")
    traffic: list[Json] = service.get("trafficStatuses") or service.get("traffic") or []
    newest = [
        int(one.get("percent", 0))
        for one in traffic
        if one.get("type") == "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
        or (ready and str(one.get("revision", "")) == str(ready).rsplit("/", 1)[-1])
    ]
    if sum(newest) != 100:  # noqa: PLR2004 -- per cent
        problems.append(f"{name}: the newest revision has {sum(newest)} % of the traffic")
    return problems


async def ready(deployment: Deployment) -> str:
    """Every service of the table is there, and its newest revision has all traffic."""
    services = await deployment.of_cloud(lambda cloud: cloud.services(), "services")
    there = {str(service.get("name", "")).rsplit("/", 1)[-1]: service for service in services}
    rows = deployment.table.functions.values()
    wanted = [row.service for row in rows if not deployment.together or row.trigger == "public"]
    wanted += [deployment.together] if deployment.together else []
    problems = [f"{name} is not there" for name in wanted if name not in there]
    images = set()
    for name in wanted:
        if name in there:
            problems += _unready(there[name])
            images |= {one.get("image") for one in there[name].get("template", {}).get("containers", [])}
    if len(images) > 1:
        problems.append(f"services run {len(images)} different images")
    insist(problems)
    return f"{len(wanted)} services"


_STALLED = "what that function does stands still: answers, payments, keys or ends of access."
CHECKS = (
    Check(
        name="services-ready",
        part="functions",
        subject=_SUBJECT,
        asks="every service runs its newest revision with all traffic",
        customers=_STALLED,
        mend="Read the revision's log; `make deploy` goes on where it stopped, `make rollback` puts the release before back.",
        page="runbooks/function-errors.md",
        look=ready,
        timeout_s=30,
    ),
    Check(
        name="functions-answer",
        part="functions",
        subject=_SUBJECT,
        asks="public functions answer",
        customers=_STALLED,
        mend="Read the function's log of the last minutes.",
        page="runbooks/function-errors.md",
        look=answer,
        timeout_s=45,
    ),
    Check(
        name="functions-refuse",
        part="functions",
        subject=_SUBJECT,
        asks="public functions refuse strangers",
        customers="a stranger could write as any of them, or say that they paid.",
        mend="Set the secret that is missing, or roll back to the release before, at once.",
        page="doctor.md#strangers-get-in",
        look=refuse,
        timeout_s=45,
    ),
    Check(
        name="functions-private",
        part="functions",
        subject=_SUBJECT,
        asks="private functions refuse every caller from outside",
        customers="a stranger could run sweeps and tasks at will.",
        mend="Find who has roles/run.invoker there (allUsers?), take it away, then `make deploy`.",
        page="doctor.md#strangers-get-in",
        look=private,
        timeout_s=45,
    ),
    Check(
        name="functions-health",
        part="functions",
        subject=_SUBJECT,
        asks="health takes its key and reaches the database",
        customers="if functions can't reach the database, no purchase and no key is possible.",
        mend="503: the database can't be had from the functions. 403: the function runs with another HEALTH_KEY, deploy.",
        page="runbooks/health-unreachable.md",
        look=health,
        timeout_s=45,
    ),
)
