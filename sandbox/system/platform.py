"""What the stand-ins of Cloud Tasks and Cloud Scheduler are told from the table of functions, as Terraform tells the real ones."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sandbox.cloud.checkout import HERE
from sandbox.cloud.cloudtasks import Queue
from sandbox.cloud.scheduler import Job, Oidc

if TYPE_CHECKING:
    from lib.function_table import Function, Table
    from sandbox.cloud.checkout import Checkout

TASKS_INVOKER = "tasks-{queue}@atlas-local.iam.gserviceaccount.com"
SCHEDULER_INVOKER = "scheduler-invoker@atlas-local.iam.gserviceaccount.com"
SCHEDULED = "schedule"
# Where commits have the first of these. Those before 0d5d9ad have one account for all queues, and their settings take no other form.
_HAVE_IT = ("sandbox/system/platform.py", "sandbox/system.py")
_CONSTANT = re.compile(r'^TASKS_INVOKER = "([^"]+)"$', re.MULTILINE)
_FUNCTION_URL = re.compile(r"http://127\.0\.0\.1:[0-9]+/(?P<rest>(?P<service>[^/?]+).*)", re.DOTALL)


def function_url(gateway: str, function: Function) -> str:
    """Where the gateway has a function."""
    return f"{gateway}/{function.service}"


def tasks_invokers(checkout: Checkout = HERE) -> str:
    """TASKS_INVOKER in the form that a commit's own settings take; this one's where it brings no local system."""
    files = (checkout.root / name for name in _HAVE_IT)
    found = (_CONSTANT.search(file.read_text("utf-8")) for file in files if file.exists())
    return next((one[1] for one in found if one), TASKS_INVOKER)


def tasks_invoker(queue: str, checkout: Checkout = HERE) -> str:
    """The account that a queue's tasks call as."""
    return tasks_invokers(checkout).replace("{queue}", queue)


def queues(table: Table) -> list[Queue]:
    """Every queue of the table, with its limits."""
    return [
        Queue(
            row.name,
            max_concurrent=row.max_concurrent,
            rate=row.rate_per_second,
            max_attempts=row.max_attempts,
            min_backoff=row.min_backoff_s,
            max_backoff=row.max_backoff_s,
            max_doublings=row.max_doublings,
            max_retry_duration=row.max_retry_s,
        )
        for row in table.queues.values()
    ]


# As in infra/terraform (scheduler.tf): the next tick of what comes seldom is too far away.
_SELDOM_S, _RETRIES = 3_600, 3


def jobs(table: Table, gateway: str) -> list[Job]:
    """A scheduler's job for every function with a schedule."""
    return [
        Job(
            name=function.service,
            schedule=function.schedule or "* * * * *",
            url=function_url(gateway, function),
            attempt_deadline=float(function.deadline_s or function.timeout_s),
            retry_count=_RETRIES if (function.period_s or 60) >= _SELDOM_S else 0,
            oidc=Oidc(SCHEDULER_INVOKER),
            headers={"Content-Type": "application/json"},
            body=b"{}",
        )
        for function in table.functions.values()
        if function.trigger == SCHEDULED
    ]


class Readdress:
    """Where a function is now whose address an earlier run kept: the gateway may have had another port."""

    def __init__(self, table: Table, gateway: str) -> None:
        self._services = {function.service for function in table.functions.values()}
        self._gateway = gateway

    def __call__(self, url: str) -> str:
        """The address of today, or `url` itself where it is no function's."""
        found = _FUNCTION_URL.match(url)
        return f"{self._gateway}/{found['rest']}" if found and found["service"] in self._services else url
