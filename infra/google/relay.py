"""A Unix socket on this machine behind which a Cloud SQL instance answers, for programs that bring their own driver (psql).

The socket is in a folder that its owner alone may enter: with a login by IAM no password is asked for, so a port of the loopback
address would let in every account of this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

from infra.google import database
from infra.google.client import GoogleError, NotLoggedIn

if TYPE_CHECKING:
    from infra.google.database import Instance

PORT = 5432
"""By which the socket's file is named, as libpq wants it."""

_BYTES = 65_536


class Relay:
    """Serves as long as its block; each connection has a certificate and a TLS connection of its own.

    Attributes:
        folder: of the socket: what `host` is to a driver.
        failures: why connections could not be passed on, in words.
    """

    def __init__(self, instance: Instance, *, iam: bool) -> None:
        self._instance = instance
        self._iam = iam
        self._place = tempfile.TemporaryDirectory(prefix="atlas-psql-")  # mode 0700
        self.folder = Path(self._place.name)
        self.failures: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._up = threading.Event()

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        self._up.wait()
        return self

    def __exit__(self, *_exc: object) -> None:
        """End, and every connection with it."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._place.cleanup()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with await asyncio.start_unix_server(self._pass_on, self.folder / f".s.PGSQL.{PORT}"):
            self._up.set()
            await self._over.wait()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await self._connected()
        except (GoogleError, NotLoggedIn) as error:
            self.failures.append(str(error))
            writer.close()
            return
        await asyncio.gather(_pour(reader, there_writer), _pour(there_reader, writer))

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        way = await database.find_way(self._instance, iam=self._iam)
        opening = asyncio.open_connection(
            way.address, database.SERVER_PORT, ssl=way.context, server_hostname=way.address
        )
        try:
            return await asyncio.wait_for(opening, database.CONNECT_S)
        except OSError as error:
            raise database.not_let_in(self._instance, way, error) from None


async def _pour(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Bytes one way until that way ends; then the other side is told."""
    with contextlib.suppress(OSError):
        while chunk := await source.read(_BYTES):
            target.write(chunk)
            await target.drain()
    with contextlib.suppress(OSError):
        target.close()
