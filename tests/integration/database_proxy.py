"""A proxy before Postgres that a test controls."""

from __future__ import annotations

import socket
import threading
import time
from urllib.parse import urlsplit


class DatabaseProxy:
    """A TCP proxy before Postgres that can cut the connection at a chosen message, as a failing network does."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{self._listener.getsockname()[1]}")
        self.cut_before: bytes | None = None
        """Cut as soon as the client sends this, without passing it on."""
        self.cut_after: bytes | None = None
        """Pass this on, wait for the server to have answered, swallow the answer, then cut."""
        self.silent = False
        """Pass nothing on: a frozen server, a network that swallows."""
        self.delay_s = 0.0
        """A round trip takes so long."""
        self.cuts = 0
        self.sent = 0
        """How often the client sent something: its round trips, as long as a message is small."""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            threading.Thread(target=self._up, args=(client, server), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        swallow = threading.Event()
        threading.Thread(target=self._down, args=(client, server, swallow), daemon=True).start()
        try:
            while data := client.recv(65536):
                self.sent += 1
                if self.silent:
                    continue
                time.sleep(self.delay_s)
                if self.cut_before and self.cut_before in data:
                    self.cut_before = None
                    break
                if self.cut_after and self.cut_after in data:
                    self.cut_after = None
                    swallow.set()
                server.sendall(data)
        except OSError:
            pass  # the other side was cut: that is what this is for
        if not swallow.is_set():
            self._cut(client, server)

    def _down(self, client: socket.socket, server: socket.socket, swallow: threading.Event) -> None:
        try:
            while data := server.recv(65536):
                if swallow.is_set():
                    break
                client.sendall(data)
        except OSError:
            pass  # as above
        self._cut(client, server)

    def _cut(self, *sockets: socket.socket) -> None:
        self.cuts += 1
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # already gone
            finally:
                one.close()

    def close(self) -> None:
        self._listener.close()
