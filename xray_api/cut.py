"""Cut a removed user's live connections, where this process may.

Xray refuses a removed user's new connections at once and leaves the open ones flowing. The kernel can end them (`ss -K`, which needs
CAP_NET_ADMIN and a kernel with INET_DIAG_DESTROY). Xray tells the addresses a user is connected from, not the ports, so an
address that another user shares (an office, a mobile carrier) is left alone: no client pays for another's removal.
"""

from __future__ import annotations

import logging
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from xray_api.logs import failure, log
from xray_api.xray import XrayRefusedError, XrayUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xray_api.xray import Xray

_COMMAND_SECONDS: Final = 5.0
_ADDRESSES: Final = 50  # in one command


class Cutter:
    """Cuts on a thread of its own: `cut` returns at once, and a failure is a log line, never an error of the removal."""

    def __init__(self, xray: Xray) -> None:
        self._xray = xray
        self._ss = shutil.which("ss")
        self.able = self._ss is not None and _kernel_cuts(self._ss)
        self._thread = ThreadPoolExecutor(1, "cut") if self.able else None

    def close(self) -> None:
        """Finish what is under way."""
        if self._thread is not None:
            self._thread.shutdown()

    def cut(self, names: Iterable[str], port: int) -> None:
        """End the connections to `port` of users whose names were just removed from Xray."""
        if self._thread is not None and (gone := frozenset(names)):
            self._thread.submit(self._cut, gone, port)

    def _cut(self, names: frozenset[str], port: int) -> None:
        try:
            online = self._xray.online_addresses()
            theirs = {address for name in names for address in online.get(name, ())}
            others = {address for name, seen in online.items() if name not in names for address in seen}
            alone = sorted(theirs - others)
            for start in range(0, len(alone), _ADDRESSES):
                self._kill(alone[start : start + _ADDRESSES], port)
            if theirs:
                log(logging.INFO, "cut", users=len(names), addresses=len(alone), shared=len(theirs & others))
        except (XrayUnavailableError, XrayRefusedError, OSError, subprocess.SubprocessError, ValueError):
            failure("cut_failed", users=len(names))

    def _kill(self, addresses: list[str], port: int) -> None:
        peers = " or ".join(
            f"dst = [{ip_address(text)}]" if ":" in text else f"dst = {ip_address(text)}" for text in addresses
        )
        if self._ss is not None:
            _run(self._ss, f"sport = :{port} and ( {peers} )")


def _run(ss: str, what: str) -> None:
    subprocess.run(  # noqa: S603 - the filter is made of numbers and parsed addresses
        [ss, "-K", "-t", "-n", what],
        check=True,
        timeout=_COMMAND_SECONDS,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _kernel_cuts(ss: str) -> bool:
    """Try it on a connection of our own: the capability, the kernel option and the tool in one answer."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            accepted.settimeout(1.0)
            try:
                _run(ss, f"sport = :{server.getsockname()[1]} and dport = :{client.getsockname()[1]}")
                return accepted.recv(1) == b""
            except ConnectionError:
                return True
            except (OSError, subprocess.SubprocessError):  # a quiet second (TimeoutError), or no such right
                return False
