"""How every task function answers (docs/interface.md, Responses): one wrapper for parsing, correlation, errors, logs.

200: done, poisoned and recorded, or put off with the item's own next time. 500: retry this one. 503: Postgres can't be
had. Never a traceback.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lib import bootstrap, json_reader, log
from lib import target as served
from lib.db import OutcomeUnknown, SchemaTooOld, Unavailable
from lib.domain import outbox
from lib.settings import check, plain
from lib.web import answers, requests

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

_BODY_LIMIT = 100 * 1024
_LONGEST_CORRELATION = 100


class Poisoned(Exception):
    """The task can never be done (its row is gone, its body is not ours): recorded, answered 200."""


async def serve(
    request: Request, needs: tuple[str, ...], work: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
) -> Response:
    """Run one task.

    Args:
        request: what Cloud Tasks sent.
        needs: ids the body must have.
        work: does it and says what it did; what it returns is the answer and the log line.
    """
    with suppress(plain.UnusableSetting):  # named below, with all the others
        log.configure()
    target = served.name()
    if request.method != "POST":
        return answers.refused(405, "POST only")
    if found := check.problems_once(target):
        log.error("configuration_invalid", problems=list(found))
        return answers.refused(500, "configuration: " + "; ".join(found))
    try:
        body = json_reader.read_object(await requests.body(request, _BODY_LIMIT))
        if not all(json_reader.is_id(body.get(name)) for name in needs):
            raise Poisoned(f"needs {', '.join(needs)}")
    except requests.ClientDisconnect:
        log.warning("task_client_disconnected", task=target)  # the queue sends it again
        return answers.refused(400, "body ended early")
    except (json_reader.UnreadableJson, requests.TooLarge, Poisoned) as error:
        log.error("task_poisoned", error=str(error) or type(error).__name__)
        return answers.ok({"ok": True, "poisoned": str(error) or type(error).__name__})
    with log.correlated(_correlation(body)):
        return await _run(target, body, work)


def _correlation(body: dict[str, Any]) -> str:
    told = body.get("correlation_id")
    return json_reader.storable(told)[:_LONGEST_CORRELATION] or "-" if isinstance(told, str) else "-"


async def _run(
    target: str, body: dict[str, Any], work: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
) -> Response:
    started = time.monotonic()
    ids = {name: value for name, value in body.items() if name.endswith("_id") and isinstance(value, int)}
    try:
        try:
            result = await work(body)
        except Poisoned as error:
            log.error("task_poisoned", error=str(error), **ids)
            await bootstrap.database().run(outbox.finish, body["outbox_id"])  # or it would be driven again for ever
            return answers.ok({"ok": True, "poisoned": str(error)})
    except SchemaTooOld as error:
        return answers.schema_too_old(error)
    except (Unavailable, OutcomeUnknown) as error:
        log.error("task_no_database", error=str(error), **ids)
        return answers.unavailable()
    except Exception as error:  # noqa: BLE001 -- the boundary: logged with its traceback, answered 500, retried by the queue
        log.exception("task_failed", **ids)
        return answers.refused(500, type(error).__name__)
    log.info("task_end", task=target, ms=round((time.monotonic() - started) * 1000), **ids, **result)
    return answers.ok({"ok": True, **result})
