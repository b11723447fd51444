"""The methods that are answered, by their id in the discovery documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.google.answers import images, monitoring, project, queues, run, secret_manager, sql, storage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox.google.cloud import Call

ANSWERS: Mapping[str, Callable[[Call], dict[str, Any] | bytes]] = {
    **images.ANSWERS,
    **monitoring.ANSWERS,
    **project.ANSWERS,
    **queues.ANSWERS,
    **run.ANSWERS,
    **secret_manager.ANSWERS,
    **sql.ANSWERS,
    **storage.ANSWERS,
}
