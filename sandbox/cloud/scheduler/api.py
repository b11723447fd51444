"""The v1 REST API of Cloud Scheduler, of it what reads: which jobs there are, whether they run, how the last attempt ended.

Shapes are those of the discovery document. Changing a job is not modelled: here the table of functions makes them.
"""

from __future__ import annotations

import base64
from datetime import UTC
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from sandbox.stand_in.loopback import LoopbackOnly, OwnPageOnly

if TYPE_CHECKING:
    from datetime import datetime

    from starlette.requests import Request
    from starlette.responses import Response

    from sandbox.cloud.scheduler.jobs import Job
    from sandbox.cloud.scheduler.scheduler import Run, Scheduler

_CODES = {
    HTTPStatus.BAD_REQUEST: 3,
    HTTPStatus.GATEWAY_TIMEOUT: 4,
    HTTPStatus.NOT_FOUND: 5,
    HTTPStatus.FORBIDDEN: 7,
    HTTPStatus.TOO_MANY_REQUESTS: 8,
    HTTPStatus.SERVICE_UNAVAILABLE: 14,
    HTTPStatus.UNAUTHORIZED: 16,
}
"""google.rpc.Code by the HTTP status that a job's target answered."""
_DEADLINE_EXCEEDED, _INTERNAL, _UNKNOWN, _UNAVAILABLE = 4, 13, 2, 14
_SERVER_ERROR = 500


def make_app(scheduler: Scheduler) -> Starlette:
    """The application, to be served on loopback. Any project and location: there is one set of jobs."""

    def parent(request: Request) -> str:
        return f"projects/{request.path_params['project']}/locations/{request.path_params['location']}"

    async def jobs(request: Request) -> Response:
        found = [_job(scheduler, job, parent(request)) for job in scheduler.jobs.values()]
        return JSONResponse({"jobs": found} if found else {})

    async def job(request: Request) -> Response:
        name = request.path_params["job"]
        if (found := scheduler.jobs.get(name)) is None:
            error = {"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND"}
            return JSONResponse({"error": error}, HTTPStatus.NOT_FOUND)
        return JSONResponse(_job(scheduler, found, parent(request)))

    place = "/v1/projects/{project}/locations/{location}/jobs"
    return Starlette(
        routes=[Route(place, jobs, methods=["GET"]), Route(f"{place}/{{job}}", job, methods=["GET"])],
        middleware=[Middleware(LoopbackOnly), Middleware(OwnPageOnly)],
    )


def _job(scheduler: Scheduler, job: Job, parent: str) -> dict[str, Any]:
    target: dict[str, Any] = {"uri": job.url, "httpMethod": job.method, "headers": dict(job.headers)}
    if job.body:
        target["body"] = base64.b64encode(job.body).decode()
    if job.oidc is not None:
        target["oidcToken"] = {
            "serviceAccountEmail": job.oidc.service_account_email,
            "audience": job.oidc.audience or job.url,
        }
    made: dict[str, Any] = {
        "name": f"{parent}/jobs/{job.name}",
        "httpTarget": target,
        "schedule": job.schedule,
        "timeZone": job.time_zone,
        "state": "PAUSED" if scheduler.is_paused(job.name) else "ENABLED",
        "attemptDeadline": f"{job.attempt_deadline:g}s",
        "scheduleTime": _text(job.next_tick(scheduler.clock.now())),
    }
    ended = [run for run in scheduler.runs if run.job == job.name and run.duration is not None]
    if ended:
        made |= {"lastAttemptTime": _text(ended[-1].start), "status": _status(ended[-1])}
    return made


def _status(run: Run) -> dict[str, Any]:
    """As google.rpc.Status in JSON: a code of 0 is left out."""
    if run.ok:
        return {}
    if run.status is None:
        code = _DEADLINE_EXCEEDED if run.reason.startswith("DEADLINE") else _UNAVAILABLE
    else:
        code = _CODES.get(HTTPStatus(run.status)) or (_INTERNAL if run.status >= _SERVER_ERROR else _UNKNOWN)
    return {"code": code, "message": run.reason}


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
