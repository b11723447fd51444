"""`python -m xray_api`: read the settings, refuse with every problem at once (exit code 2), or serve.

`python -m xray_api certificate FILE` makes the certificate to serve with and prints its pin; one that is there already is kept.
"""

from __future__ import annotations

import logging
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from xray_api import __version__, app
from xray_api.certificate import CertificateError, Exchangeable, make
from xray_api.clock import machine
from xray_api.inbound import InboundError, LinkMaker
from xray_api.logs import configure, log
from xray_api.service import Service
from xray_api.settings import ConfigurationError, Node, listen, load
from xray_api.store import StateInUseError, Store
from xray_api.xray import Xray, XrayRefusedError, XrayUnavailableError

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

_CONFIGURATION = 2
_NOT_STARTED = 3
_GRACEFUL_SECONDS = 5
_CERTIFICATE = "certificate"


def main(arguments: Sequence[str] = ()) -> int:
    """Run the service, or make its certificate; returns the exit code."""
    if arguments:
        return _make_certificate(arguments)
    try:
        node = load()
        xray = Xray(node.grpc, node.inbound.tag)
        _check_running(xray)
        listening = listen(node.settings.xray_api_bind)
        store = _open(node)
    except ConfigurationError as error:
        lines = ["The node service can't start:", *(f"- {problem}" for problem in error.problems)]
        sys.stderr.write("\n".join(lines) + "\n")
        return _CONFIGURATION
    return _serve(node, xray, store, listening)


def _make_certificate(arguments: Sequence[str]) -> int:
    if len(arguments) != 2 or arguments[0] != _CERTIFICATE:  # noqa: PLR2004 -- the word and the file
        sys.stderr.write("usage: python -m xray_api [certificate FILE]\n")
        return _CONFIGURATION
    try:
        sys.stdout.write(f"{make(Path(arguments[1]))}\n")
    except CertificateError as error:
        sys.stderr.write(f"The certificate can't be made: {error}\n")
        return _CONFIGURATION
    return 0


def _check_running(xray: Xray) -> None:
    """An Xray that runs already must run an inbound that links work with. One that doesn't run yet is waited for later."""
    try:
        problems = xray.inbound().problems()
    except XrayUnavailableError:
        return
    except InboundError as error:
        problems = error.problems
    except XrayRefusedError as error:
        problems = [f"its API refuses: {error}"]
    if problems:
        xray.close()
        raise ConfigurationError([f"XRAY_GRPC: the running Xray: {problem}" for problem in problems])


def _open(node: Node) -> Store:
    try:
        return Store(node.settings.xray_state_path, node.settings.xray_expiry_grace_seconds * 1000)
    except StateInUseError as error:
        raise ConfigurationError([f"XRAY_STATE_PATH: {error}"]) from None
    except OSError as error:
        raise ConfigurationError([f"XRAY_STATE_PATH: can't be opened: {error.strerror}"]) from None
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        raise ConfigurationError([f"XRAY_STATE_PATH: can't be opened and written: {error} ({name})"]) from None


def _serve(node: Node, xray: Xray, store: Store, listening: socket.socket) -> int:
    settings = node.settings
    configure(settings.log_level)
    links = LinkMaker(settings.xray_public_host, settings.xray_link_name, settings.xray_fingerprint)
    service = Service(store, xray, links, node.warnings, machine(settings.xray_api_clock_path))
    cert, key = settings.xray_api_tls_cert, settings.xray_api_tls_key
    shown = Exchangeable(cert, key) if cert is not None and key is not None else None
    log(
        logging.INFO,
        "starting",
        version=__version__,
        bind=settings.xray_api_bind,
        pin=shown.pin if shown else None,
    )
    if store.damaged is not None:
        log(logging.ERROR, "state_set_aside", now=store.damaged.name, state_id=store.state_id)
    for warning in node.warnings:
        log(logging.WARNING, "configuration", problem=warning)
    config = uvicorn.Config(
        app.build(service, settings.xray_api_keys, shown),
        ssl_context_factory=(lambda _config, _default: shown.context) if shown else None,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
    )
    server = uvicorn.Server(config)
    server.run(sockets=[listening])
    return 0 if server.started else _NOT_STARTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
