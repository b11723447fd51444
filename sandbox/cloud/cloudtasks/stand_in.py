"""The stand-in as it is served: the methods and the REST API over one service."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from sandbox.cloud.cloudtasks.api import make_app
from sandbox.cloud.cloudtasks.operations import Operations
from sandbox.cloud.cloudtasks.service import TaskService

if TYPE_CHECKING:
    from starlette.applications import Starlette


class CloudTasks(TaskService):
    """`app` is the REST API over `operations`."""

    @cached_property
    def operations(self) -> Operations:
        """The methods of the API."""
        return Operations(self)

    @cached_property
    def app(self) -> Starlette:
        """To be served on loopback."""
        return make_app(self, self.operations)
