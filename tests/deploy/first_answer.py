"""Run by the clean environment's Python: one request to one target, as the framework makes it; prints what was loaded for it.

Reads from stdin: {"method", "path", "headers": {name: value}, "body": text}. Prints {"status", "body", "packages", "modules"}:
`packages` are the top-level names that came from installed distributions, in the order they were loaded.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any


async def _ask(app: Any, request: dict[str, Any]) -> tuple[int, bytes]:
    """One ASGI request, without a client library that would be counted as well."""
    body = request["body"].encode()
    received = iter([{"type": "http.request", "body": body, "more_body": False}])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(received, {"type": "http.disconnect"})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request["method"],
        "scheme": "http",
        "path": request["path"],
        "raw_path": request["path"].encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in request["headers"].items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "state": {},
    }
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def main() -> None:
    """Load the target, ask it, tell."""
    request = json.load(sys.stdin)
    from functions_framework.aio import create_asgi_app

    app: Any = create_asgi_app(os.environ["FUNCTION_TARGET"])  # type: ignore[no-untyped-call] # the framework has no types
    status, body = asyncio.run(_ask(app, request))
    packages: list[str] = []
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        if "site-packages" in (getattr(module, "__file__", None) or "") and top not in packages:
            packages.append(top)
    told = {"status": status, "body": body.decode(), "packages": packages, "modules": sorted(sys.modules)}
    sys.stdout.write(f"\n{json.dumps(told)}\n")
    sys.stdout.flush()
    os._exit(0)  # as an instance ends: nothing is waited for


main()
