"""The liveness probe of this machine: who answers stays, who does not is replaced, and with which settings."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from lib.function_table import Probe, Probes
from sandbox.cloud.probes import LivenessProbes, answers_200
from sandbox.processes.child import Process, bare_environment
from sandbox.state.ports import free_port
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

_SERVER = """
import http.server, sys
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path in ("/alive", "/robots.txt") else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answers).serve_forever()
"""
QUICK = Probe(period_s=0, timeout_s=2, failure_threshold=3)


def _process(folder: Path, name: str) -> Process:
    port = free_port()
    argv = [sys.executable, "-c", _SERVER, str(port)]
    return Process(argv, cwd=folder, env=bare_environment({}), log=folder / f"{name}.log", port=port)


@pytest.mark.proves("S2-4b")
async def test_a_process_that_is_stopped_is_replaced_and_its_neighbour_is_not(tmp_path: Path) -> None:
    well, stopped = _process(tmp_path, "well"), _process(tmp_path, "stopped")
    probes = LivenessProbes({"well": [well], "stopped": [stopped]}, Probes("/alive", QUICK, QUICK))
    try:
        for process in (well, stopped):
            await process.start()
        before = (well.pid, stopped.pid)
        probes.start()
        stopped.suspend()
        await until(lambda: stopped.starts == 2, "a replacement")
        await stopped.ready()
        assert await answers_200(stopped.port, "/alive", 5)
        assert not await answers_200(stopped.port, "/else", 5)
        assert (well.pid, probes.replaced[:1]) == (before[0], ["stopped"])
        assert stopped.pid != before[1]
    finally:
        await probes.stop()
        for process in (well, stopped):
            await process.kill()
