"""Nodes against Postgres, both ways (every 10 minutes): orphans go, what a node lost is applied again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import functions_framework.aio

from lib import bootstrap
from lib.nodes.reconciling import Reconciling
from lib.sweeps import runner

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from lib.sweeps.runner import Run


@functions_framework.aio.http
async def sweep_reconcile(request: Request) -> Response:
    """See docs/interface.md, Responses."""
    return await runner.serve(request, _work)


async def _work(run: Run) -> None:
    await Reconciling(run.db, bootstrap.node_transport(), run).every_node()
