"""The customer's side of the lab: sing-box as an independent client made from a share link, and something to pull through it."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
from starlette.applications import Starlette
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from sandbox.processes.child import Process, bare_environment, listens
from sandbox.stand_in.server import Server
from sandbox.state.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from starlette.requests import Request

_CHUNK = bytes(range(256)) * 256
_DROP = 1024
_SING_BOX = "import sys, singbox; singbox.startFromJSON(open(sys.argv[1], encoding='utf-8').read())"
_NEEDED = ("type", "security", "encryption", "pbk", "fp", "sni")


class TunnelRefusedError(ConnectionError):
    """The node took no byte for us: unknown UUID, missing flow, wrong key material, or no listener."""


@dataclass(frozen=True)
class ShareLink:
    """A `vless://` link, taken apart. `flow` is empty when the link has none."""

    uuid: str
    host: str
    port: int
    flow: str
    public_key: str
    short_id: str
    sni: str
    fingerprint: str
    name: str

    @classmethod
    def parse(cls, link: str) -> Self:
        """Read a REALITY link over TCP; ValueError when it is another kind, or lacks or repeats a field."""
        parts = urlsplit(link)
        fields = parse_qs(parts.query, keep_blank_values=True, strict_parsing=True, separator="&")
        if any(len(values) > 1 for values in fields.values()):
            raise ValueError("a field is there twice")
        given = {name: values[0] for name, values in fields.items()}
        if parts.scheme != "vless" or parts.username is None or parts.hostname is None or parts.port is None:
            raise ValueError("not a vless link with UUID, host and port")
        if missing := [name for name in _NEEDED if not given.get(name)]:
            raise ValueError(f"fields missing: {', '.join(missing)}")
        if (given["type"], given["security"], given["encryption"]) != ("tcp", "reality", "none"):
            raise ValueError("not VLESS over TCP with REALITY")
        return cls(
            uuid=unquote(parts.username),
            host=parts.hostname,
            port=parts.port,
            flow=given.get("flow", ""),
            public_key=given["pbk"],
            short_id=given.get("sid", ""),
            sni=given["sni"],
            fingerprint=given["fp"],
            name=unquote(parts.fragment),
        )


PATIENCE_SECONDS: Final = 30.0
"""For an answer through a tunnel. A core that has just started looks at its REALITY target first, and lets a client that comes
meanwhile sleep for five seconds at a time."""


class TunnelClient:
    """sing-box as a process of its own, configured from the link and nothing else.

    Args:
        link: the `vless://` share link.
        source: address to connect from; another than 127.0.0.1 makes Xray list it as online.
        timeout_seconds: for a whole `get`.
    """

    def __init__(self, link: str, *, source: str | None = None, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        self._link = ShareLink.parse(link)
        self._source = source
        self._timeout_seconds = timeout_seconds
        self._folder = tempfile.TemporaryDirectory(prefix="atlas-client-")
        self._process: Process | None = None
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        """Start the client and wait for its local proxy."""
        try:
            port = free_port()
            config = Path(self._folder.name) / "config.json"
            config.write_text(json.dumps(self._config(port)), encoding="utf-8")
            self._process = Process(
                [sys.executable, "-I", "-c", _SING_BOX, str(config)],
                cwd=config.parent,
                env=bare_environment({}),
                log=config.with_name("sing-box.log"),
                port=port,
                is_ready=listens,
            )
            await self._process.start()
            self._http = httpx.AsyncClient(
                proxy=f"http://127.0.0.1:{port}", timeout=self._timeout_seconds, trust_env=False
            )
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the client."""
        await self._close()

    async def get(self, url: str) -> tuple[int, bytes]:
        """Fetch a URL through the tunnel: status and body. `TunnelRefusedError` when the node does not let us through."""
        async with self.stream(url) as response:
            try:
                return response.status_code, await response.aread()
            except httpx.HTTPError as error:
                raise TunnelRefusedError(f"broken off: {type(error).__name__}") from error

    @asynccontextmanager
    async def stream(self, url: str) -> AsyncIterator[httpx.Response]:
        """Open a response and read it bit by bit (`response.aiter_bytes()`); `TunnelRefusedError` as in `get`."""
        if self._http is None:
            raise RuntimeError("not started: use it as an async context manager")
        request = self._http.build_request("GET", url)
        try:
            response = await self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise TunnelRefusedError(f"no answer through the tunnel: {type(error).__name__}") from error
        try:
            if response.status_code in {502, 503, 504} and "x-origin" not in response.headers:
                raise TunnelRefusedError(f"the client can't get through: {response.status_code}")
            yield response
        finally:
            await response.aclose()

    def _config(self, port: int) -> dict[str, Any]:
        link = self._link
        outbound: dict[str, Any] = {
            "type": "vless",
            "tag": "proxy",
            "server": link.host,
            "server_port": link.port,
            "uuid": link.uuid,
            "tls": {
                "enabled": True,
                "server_name": link.sni,
                "utls": {"enabled": True, "fingerprint": link.fingerprint},
                "reality": {"enabled": True, "public_key": link.public_key, "short_id": link.short_id},
            },
        }
        if link.flow:
            outbound["flow"] = link.flow
        if self._source:
            outbound["inet4_bind_address"] = self._source
        return {
            "log": {"level": "info", "timestamp": True},
            "inbounds": [{"type": "mixed", "listen": "127.0.0.1", "listen_port": port}],
            "outbounds": [outbound],
        }

    async def _close(self) -> None:
        if self._http is not None:
            await self._http.aclose()
        if self._process is not None:
            await self._process.stop()
        self._folder.cleanup()


class Origin:
    """A tiny website to pull through a tunnel: `/bytes/<n>` has n bytes, `/drip` never ends (a chunk every 20 ms).

    Attributes:
        dripped: bytes that the page without an end has sent so far, to all.
    """

    def __init__(self, port: int = 0) -> None:
        routes = [Route("/bytes/{size:int}", _bytes), Route("/drip", self._drip)]
        self._server = Server(Starlette(routes=routes), port)
        self.dripped = 0

    @property
    def url(self) -> str:
        """Base URL."""
        return self._server.url

    @property
    def drip_url(self) -> str:
        """The page that never ends."""
        return f"{self.url}/drip"

    def bytes_url(self, size: int) -> str:
        """A page of so many bytes."""
        return f"{self.url}/bytes/{size}"

    async def start(self) -> Self:
        """Begin to serve."""
        await self._server.start()
        return self

    async def stop(self) -> None:
        """Stop, and drop what is open."""
        await self._server.stop()

    async def _drip(self, _request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            while True:
                self.dripped += _DROP
                yield _CHUNK[:_DROP]
                await asyncio.sleep(0.02)

        return StreamingResponse(body(), headers={"x-origin": "lab"})


async def _bytes(request: Request) -> Response:
    size: int = request.path_params["size"]

    async def body() -> AsyncIterator[bytes]:
        left = size
        while left:
            chunk = _CHUNK[: min(left, len(_CHUNK))]
            left -= len(chunk)
            yield chunk

    return StreamingResponse(body(), headers={"content-length": str(size), "x-origin": "lab"})
