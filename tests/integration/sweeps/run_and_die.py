"""A process of its own that runs a sweep once: `python -m tests.integration.sweeps.run_and_die SWEEP URL FILE`.

A failpoint of the code ends it (lib/failpoints.py). The two nodes' memory is the file, so it outlives the process.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from functions.sweeps import sweep_activation, sweep_expiry, sweep_reconcile, sweep_renewals
from lib import bootstrap
from lib.db import Database
from tests.integration.sweeps.nodes import Network
from tests.integration.sweeps.runs import Queue, sweep_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WORK = {
    "activation": sweep_activation._work,
    "expiry": sweep_expiry._work,
    "reconcile": sweep_reconcile._work,
    "renewals": sweep_renewals._work,
}


def keep(network: Network, file: Path) -> None:
    """Write down what each node holds."""
    file.write_text(json.dumps([node.held for node in network.nodes.values()]))


def recall(network: Network, file: Path) -> None:
    """Each node holds what was written down."""
    for node, held in zip(network.nodes.values(), json.loads(file.read_text()), strict=True):
        node.held = {client: (version, uuid) for client, (version, uuid) in held.items()}


async def dies(sweep: str, url: str, network: Network, folder: Path, failpoint: str) -> None:
    """Run the sweep against these nodes in a process that is killed at the failpoint, and take over what nodes hold then."""
    file = folder / "nodes.json"
    keep(network, file)
    (folder / failpoint).touch()
    dying = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.integration.sweeps.run_and_die", sweep, url, str(file)),
        env={**os.environ, "ENVIRONMENT": "local", "ATLAS_FAILPOINTS": str(folder)},
    )
    assert await dying.wait() == -signal.SIGKILL
    assert not (folder / failpoint).exists()
    recall(network, file)


class _KeptNetwork(Network):
    """What a node is told is in the file before it answers."""

    def __init__(self, file: Path) -> None:
        super().__init__(2)
        self._file = file
        recall(self, file)

    async def send(
        self, url: str, body: bytes | None, headers: Mapping[str, str], pins: Sequence[str]
    ) -> tuple[int, bytes]:
        answer = await super().send(url, body, headers, pins)
        keep(self, self._file)
        return answer


async def _run(sweep: str, url: str, file: str) -> None:
    database = Database(url, connections=2, application="dying", guards=False)
    network, queue = _KeptNetwork(Path(file)), Queue()
    bootstrap.node_transport = lambda: network  # type: ignore[assignment] # this process's own
    bootstrap.task_queue = lambda: queue  # type: ignore[assignment] # likewise
    await _WORK[sweep](sweep_run(database, sweep))
    await database.close()


if __name__ == "__main__":
    asyncio.run(_run(*sys.argv[1:]))
