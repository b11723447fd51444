"""What is outside the checkout: Google (sandbox/google), Telegram (sandbox/telegram), and the deployed telegram_webhook at its address."""

from __future__ import annotations

import asyncio
import base64
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Self

import httpx
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from sandbox.stand_in.clock import Clock
from sandbox.stand_in.server import Server
from sandbox.telegram import Telegram
from tests import waiting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.requests import Request

    from sandbox.google.cloud import Cloud

TOKEN = "700001:AAAA-made-up-token-of-the-dry-run"
USERNAME = "atlas_bot"


class Deployed:
    """telegram_webhook as the last apply left it: its real code, with the settings and the secrets' versions that Terraform says.

    Args:
        checkout: whose code runs.
        cloud: what is deployed, and the secrets.
    """

    database: Callable[[], str] | None = None
    """Where the function finds its database, which the platform's socket leads to; None: there is none."""

    def __init__(self, checkout: Path, cloud: Cloud) -> None:
        self._checkout = checkout
        self._cloud = cloud
        self._process: subprocess.Popen[bytes] | None = None
        self._runs: dict[str, str] = {}
        self._port = 0
        self._lock = threading.Lock()

    async def answer(self, request: Request) -> Response:
        """What the function answers; 404 while none is deployed."""
        body, headers = await request.body(), dict(request.headers)
        return await asyncio.to_thread(self._answered, request.method, headers, body)

    def _answered(self, method: str, headers: dict[str, str], body: bytes) -> Response:
        with self._lock:
            row = self._cloud.terraform.named("google_cloud_run_v2_service", "telegram-webhook")
            if row is None:
                return Response("no such service", 404)
            settings = self._settings(row)
            if settings != self._runs or self._process is None:
                self.stop()
                self._start(settings)
        kept = {name: value for name, value in headers.items() if name not in {"host", "content-length"}}
        try:
            told = httpx.request(
                method, f"http://127.0.0.1:{self._port}/", headers=kept, content=body, timeout=60, trust_env=False
            )
        except httpx.HTTPError:  # it was stopped meanwhile
            return Response("no answer", 502)
        return Response(told.content, told.status_code)

    def _settings(self, row: dict[str, Any]) -> dict[str, str]:
        found = {}
        for one in row["template"][0]["containers"][0]["env"]:
            source = one.get("value_source") or ()
            if not source:
                found[one["name"]] = one["value"]
                continue
            reference = source[0]["secret_key_ref"][0]
            versions = self._cloud.store.table("secret_versions")[reference["secret"].rpartition("/")[2]]
            found[one["name"]] = base64.b64decode(versions[reference["version"]]["data"]).decode()
        if self.database is not None:
            found["DATABASE_URL"] = self.database()
        return found

    def _start(self, settings: dict[str, str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "functions_framework",
            "--target",
            "telegram_webhook",
            "--port",
            str(self._port),
            "--host",
            "127.0.0.1",
        ]
        self._process = subprocess.Popen(
            command,
            cwd=self._checkout,
            env=settings | {"PATH": "/usr/bin:/bin"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._runs = settings
        waiting.wait_until(self._listens, "telegram_webhook listens")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "telegram_webhook ended"
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class ServedTelegram:
    """Telegram and the function's address, served from a thread of their own."""

    def __init__(self, deployed: Deployed) -> None:
        self.deployed = deployed
        self.base = ""
        self.webhook = ""
        self._telegram: Telegram | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        up = threading.Event()

        async def serve() -> None:
            self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
            telegram = self._telegram = Telegram(TOKEN, USERNAME, Clock())
            bot_api = Server(telegram.app)
            function = Server(Starlette(routes=[Route("/{rest:path}", self.deployed.answer, methods=["GET", "POST"])]))
            await bot_api.start()
            await function.start()
            await telegram.start()
            self.base, self.webhook = bot_api.url, f"{function.url}/telegram"
            up.set()
            await self._end.wait()
            await telegram.stop()
            await function.stop()
            await bot_api.stop()
            telegram.close()

        self._thread = threading.Thread(target=lambda: asyncio.run(serve()), name="telegram", daemon=True)
        self._thread.start()
        assert up.wait(60)
        return self

    def __exit__(self, *_exc: object) -> None:
        assert self._loop is not None
        assert self._end is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
        self.deployed.stop()

    def call(self, method: str, **arguments: Any) -> Any:
        """A call of the Bot API, beside the deploy's own."""
        return httpx.post(f"{self.base}/bot{TOKEN}/{method}", json=arguments, trust_env=False).json()["result"]

    def methods(self) -> list[str]:
        """Every method that was called, in order."""
        assert self._telegram is not None
        return [call.method for call in self._telegram.calls]

    def send(self, text: str) -> None:
        """A person writes to the bot; what is not delivered waits."""
        telegram, loop = self._telegram, self._loop
        assert telegram is not None
        assert loop is not None

        async def sent() -> None:
            await telegram.user(777, "Anna", language_code="en").send(text)

        asyncio.run_coroutine_threadsafe(sent(), loop).result(60)
