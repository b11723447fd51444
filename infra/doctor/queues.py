"""Task queues: there, running, as the table says, and not behind."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from infra.doctor.check import Check, WrongError, insist

if TYPE_CHECKING:
    from infra.doctor.deployment import Deployment, Json
    from lib.function_table import Queue

_SUBJECT = "Queues"
MOST_TASKS = 1000
OLDEST_TASK_S = 600.0
OLDEST_WORK_S = 900.0
"""The outbox's sweep drives what has no task within a minute, and what ran out of attempts after the queue's own ten minutes."""

_OLDEST_WORK = """
select queue, count(*) as waiting,
       cast(max(extract(epoch from atlas.now() - greatest(created_at, not_before))) as double precision) as oldest_s
from outbox where done_at is null and not_before <= atlas.now() group by queue order by queue
"""


def short(resource: Json) -> str:
    """The last part of a resource's name."""
    return str(resource.get("name", "")).rsplit("/", 1)[-1]


async def _by_name(deployment: Deployment) -> dict[str, Json]:
    return {short(one): one for one in await deployment.asked(lambda platform: platform.queues(), "queues")}


async def running(deployment: Deployment) -> str:
    """Each queue of the table is there and dispatches."""
    found = await _by_name(deployment)
    problems = []
    for name in deployment.table.queues:
        if name not in found:
            problems.append(f"{name} is not there")
        elif (state := found[name].get("state")) != "RUNNING":
            problems.append(f"{name} is {str(state).lower()}")
    insist(problems)
    return f"{len(found)} queues"


def seconds(text: object) -> float:
    """A duration of the API's JSON, such as "1.5s"."""
    return float(str(text or "0s").removesuffix("s"))


def _differences(row: Queue, found: Json) -> list[str]:
    limits, retries = found.get("rateLimits", {}), found.get("retryConfig", {})
    pairs = {
        "dispatches per second": (row.rate_per_second, float(limits.get("maxDispatchesPerSecond", 0))),
        "dispatches at once": (row.max_concurrent, int(limits.get("maxConcurrentDispatches", 0))),
        "attempts": (row.max_attempts, int(retries.get("maxAttempts", 0))),
        "seconds of retries": (row.max_retry_s, seconds(retries.get("maxRetryDuration"))),
        "seconds of the first pause": (row.min_backoff_s, seconds(retries.get("minBackoff"))),
        "seconds of the longest pause": (row.max_backoff_s, seconds(retries.get("maxBackoff"))),
        "doublings": (row.max_doublings, int(retries.get("maxDoublings", 0))),
    }
    return [
        f"{row.name}: {is_now:g} {what}, not {wanted:g}" for what, (wanted, is_now) in pairs.items() if wanted != is_now
    ]


async def settings(deployment: Deployment) -> str:
    """Rates and retries are the table's."""
    found = await _by_name(deployment)
    problems = []
    for name, row in deployment.table.queues.items():
        if name in found:
            problems += _differences(row, found[name])
    insist(problems)
    return ""


def moment(text: object) -> datetime | None:
    """A time of the API's JSON; None when there is none."""
    return datetime.fromisoformat(str(text)).astimezone(UTC) if text else None


async def waiting(deployment: Deployment) -> str:
    """No queue is deep, and no task is long past its time."""
    now, problems, count = await deployment.now(), [], 0
    for name in await _by_name(deployment):
        tasks = await deployment.asked(lambda platform, queue=name: platform.tasks(queue), f"tasks of {name}")  # type: ignore[misc] # a default binds the name
        count += len(tasks)
        if len(tasks) >= MOST_TASKS:
            problems.append(f"{name} holds {len(tasks)} tasks or more")
        made = [found for task in tasks if (found := moment(task.get("createTime"))) is not None]
        due = [found for task in tasks if (found := moment(task.get("scheduleTime"))) is not None]
        oldest_s = min(((now - min(times)).total_seconds() for times in (made, due) if times), default=0.0)
        if oldest_s > OLDEST_TASK_S:
            problems.append(f"{name}: its oldest task has waited for {round(oldest_s / 60)} min")
    insist(problems)
    return f"{count} tasks"


async def work(deployment: Deployment) -> str:
    """What follows from what happened is done in time, whatever became of its task."""
    rows = await deployment.rows(_OLDEST_WORK)
    late = [row for row in rows if row["oldest_s"] > OLDEST_WORK_S]
    if late:
        raise WrongError(
            *(
                f"{row['queue']}: {row['waiting']} pieces of work wait, the oldest for {round(row['oldest_s'] / 60)} min"
                for row in late
            )
        )
    return f"{sum(row['waiting'] for row in rows)} pieces of work wait"


_LATE = "replies, keys and messages that hang on these tasks come late or not at all."
CHECKS = (
    Check(
        name="queues-running",
        part="queues",
        subject=_SUBJECT,
        asks="every queue is there and dispatches",
        customers=_LATE,
        mend="Resume it, once you know who paused it and why; a missing one comes back with `make deploy`.",
        page="runbooks/queue-age.md",
        look=running,
    ),
    Check(
        name="queues-settings",
        part="queues",
        subject=_SUBJECT,
        asks="rates and retries are those of functions/table.json",
        customers="work is given up early, or Telegram and nodes are asked too fast.",
        mend="`make deploy` puts back what the table says.",
        page="runbooks/queue-age.md",
        look=settings,
        after=("queues-running",),
    ),
    Check(
        name="queues-waiting",
        part="queues",
        subject=_SUBJECT,
        asks="queues are short and their tasks on time",
        customers=_LATE,
        mend="See what the tasks are answered.",
        page="runbooks/queue-age.md",
        look=waiting,
        after=("database", "queues-running"),
        timeout_s=20,
    ),
    Check(
        name="work-overdue",
        part="queues",
        subject=_SUBJECT,
        asks="follow-up work is done in time",
        customers=_LATE,
        mend="See what the tasks are answered; sweep_outbox makes tasks anew.",
        page="runbooks/queue-age.md",
        look=work,
        after=("schema",),
    ),
)
