"""The scheduler's jobs, and the sweeps that they start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.doctor import queues
from infra.doctor.check import Check, insist
from infra.doctor.queues import moment, short
from lib.domain import sweep_runs
from lib.function_table import PERIODS, sweep_name

if TYPE_CHECKING:
    from infra.doctor.deployment import Deployment, Json
    from lib.function_table import Function

_SUBJECT = "Schedules and sweeps"
_UTC = frozenset({"Etc/UTC", "UTC", "Etc/GMT", "GMT", ""})


def _scheduled(deployment: Deployment) -> list[Function]:
    return [row for row in deployment.table.functions.values() if row.trigger == "schedule"]


async def _expected_s(deployment: Deployment, job: Json) -> float:
    """For how long the first tick of a sweep has been expected: since its job was made, or, where that is not told, the database."""
    made = moment(job.get("userUpdateTime"))
    if made is not None:
        return (await deployment.now() - made).total_seconds()
    (first,) = await deployment.rows(
        "select cast(extract(epoch from pg_catalog.now() - min(applied_at)) as double precision) as age_s from schema_migrations"
    )
    return float(first["age_s"])


async def _jobs(deployment: Deployment) -> dict[str, Json]:
    return {short(one): one for one in await deployment.asked(lambda platform: platform.jobs(), "jobs")}


async def enabled(deployment: Deployment) -> str:
    """Each sweep has its job, which is on and calls it at the table's times."""
    found, problems = await _jobs(deployment), []
    for row in _scheduled(deployment):
        job = found.get(row.service)
        if job is None:
            problems.append(f"{row.service} is not there")
            continue
        if job.get("state") != "ENABLED":
            problems.append(f"{row.service} is {str(job.get('state')).lower()}")
        if job.get("schedule") != row.schedule or job.get("timeZone", "") not in _UTC:
            problems.append(
                f"{row.service} ticks at {job.get('schedule')} {job.get('timeZone', '')}, not at {row.schedule}"
            )
        if queues.seconds(job.get("attemptDeadline")) != float(row.deadline_s or 0):
            problems.append(f"{row.service} waits {job.get('attemptDeadline')} for an answer, not {row.deadline_s} s")
        target, url = str(job.get("httpTarget", {}).get("uri", "")).rstrip("/"), await deployment.function_url(row)
        if target != url:
            problems.append(f"{row.service} calls {target}, not {url}")
    insist(problems)
    return f"{len(found)} jobs"


async def succeeded(deployment: Deployment) -> str:
    """The last tick of each job was answered well, not long ago."""
    found, now, problems = await _jobs(deployment), await deployment.now(), []
    for row in _scheduled(deployment):
        job = found.get(row.service, {})
        code, tried = job.get("status", {}).get("code", 0), moment(job.get("lastAttemptTime"))
        allowed = float(PERIODS * (row.period_s or 0))
        if tried is None and await _expected_s(deployment, job) <= allowed:
            continue  # its first tick is to come
        if tried is None:
            problems.append(f"{row.service} was never tried")
        elif code:
            problems.append(
                f"{row.service}: the last attempt failed with code {code} {job['status'].get('message', '')}".rstrip()
            )
        elif (now - tried).total_seconds() > allowed + float(row.deadline_s or 0):
            problems.append(f"{row.service} was tried last {round((now - tried).total_seconds() / 60)} min ago")
    insist(problems)
    return ""


async def sweeps(deployment: Deployment) -> str:
    """The newest run of each sweep ended well, within three periods."""
    last = {run.sweep: run for run in await deployment.read(lambda session: sweep_runs.last(session.transaction))}
    jobs, problems = await _jobs(deployment), []
    for row in _scheduled(deployment):
        name = sweep_name(row.name)
        run, allowed = last.get(name), float(PERIODS * (row.period_s or 0))
        if run is None and await _expected_s(deployment, jobs.get(row.service, {})) <= allowed:
            continue  # its first tick is to come
        if run is None:
            problems.append(f"{name} never ran")
        elif run.outcome != "done":
            problems.append(f"{name}: its newest run {run.outcome.replace('_', ' ')}")
        elif run.age_s > allowed:
            problems.append(f"{name} ran last {round(run.age_s / 60)} min ago")
    insist(problems)
    return f"{len(last)} sweeps"


async def flags(deployment: Deployment) -> str:
    """No sweep is switched off."""
    wanted = {row.flag: row.name for row in _scheduled(deployment) if row.flag}
    rows = await deployment.rows("select name from flags where not enabled order by name")
    insist([f"{wanted[row['name']]} is switched off by flag {row['name']}" for row in rows if row["name"] in wanted])
    return ""


_NOTHING_FOLLOWS = "what waits is not driven again: unpaid invoices, keys, ends of access, lost follow-up work."
CHECKS = (
    Check(
        name="schedules",
        part="schedules",
        subject=_SUBJECT,
        asks="every sweep has its job, switched on",
        customers=_NOTHING_FOLLOWS,
        mend="Resume the job, once you know who paused it and why; `make deploy` puts the rest back.",
        page="runbooks/sweep-silent.md",
        look=enabled,
    ),
    Check(
        name="schedules-success",
        part="schedules",
        subject=_SUBJECT,
        asks="the last tick of each job was answered well",
        customers=_NOTHING_FOLLOWS,
        mend="Code 7 or 16: the scheduler's account may not call the function, deploy. 4, 13, 14: the sweep's own log tells.",
        page="runbooks/tasks-refused.md",
        look=succeeded,
        after=("schedules", "database"),
    ),
    Check(
        name="sweeps",
        part="schedules",
        subject=_SUBJECT,
        asks="every sweep ended well within three periods",
        customers=_NOTHING_FOLLOWS,
        mend="Read the sweep's log.",
        page="runbooks/sweep-silent.md",
        look=sweeps,
        after=("schema",),
    ),
    Check(
        name="sweeps-flags",
        part="schedules",
        subject=_SUBJECT,
        asks="no sweep is switched off",
        customers=_NOTHING_FOLLOWS,
        mend="Switch it on again: delete the flag's row, once you know who set it and why.",
        page="runbooks/sweep-silent.md",
        look=flags,
        after=("schema",),
    ),
)
