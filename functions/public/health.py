"""Liveness for the uptime check; with the key, what an engineer wants to see first (docs/interface.md, Health)."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import functions_framework.aio

from lib import bootstrap, function_table, log
from lib.db import DatabaseError, SchemaTooOld
from lib.domain import health_snapshot
from lib.settings import plain
from lib.web import answers, requests

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


@functions_framework.aio.http
async def health(request: Request) -> Response:
    """200 while the process answers; with header `X-Health-Key`: ages, queues, sweeps; 503 when any of it is red."""
    try:
        log.configure()
        given = requests.header_bytes(request, "x-health-key")
        key = plain.health_key() if given is not None else None
        if given is None or not key:
            return answers.ok()
        if not hmac.compare_digest(given, key.encode()):
            return answers.refused(403, "wrong key")
        found = await bootstrap.database().run(health_snapshot.take)
    except plain.UnusableSetting as error:
        log.error("configuration_invalid", problems=[str(error)])
        return answers.unavailable("not configured")
    except SchemaTooOld as error:
        return answers.schema_too_old(error)
    except DatabaseError as error:
        log.error("health_no_database", error=type(error).__name__)
        return answers.unavailable("the database can't be had")
    red = found.red(function_table.load().silent_after_s())
    return answers.ok({"ok": True, **found.as_json()}) if not red else answers.red({"red": red, **found.as_json()})
