"""The same methods over gRPC, which is what Google's client speaks unless told otherwise.

Without TLS, as every emulator: `CloudTasksGrpcTransport(channel=grpc.insecure_channel(address))`. `make run` serves REST alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from sandbox.cloud.cloudtasks.errors import ApiError

if TYPE_CHECKING:
    from sandbox.cloud.cloudtasks.operations import Method, Operations
    from sandbox.cloud.cloudtasks.stand_in import CloudTasks

_SERVICE = "google.cloud.tasks.v2.CloudTasks"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class RpcServer:
    """Serves a stand-in's methods on 127.0.0.1; a method that is not modelled answers UNIMPLEMENTED by itself."""

    def __init__(self, service: CloudTasks) -> None:
        self._operations: Operations = service.operations
        self._server: Any = None
        self.address = ""

    async def start(self) -> None:
        """Begin to answer at `address`."""
        self._server = grpc.aio.server()
        handlers = {name: _handler(method) for name, method in self._operations.methods.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()

    async def stop(self) -> None:
        """Stop, and cut what is under way."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None


def _handler(method: Method) -> Any:
    async def answer(request: Any, context: Any) -> Any:
        try:
            return method.answer(request)
        except ApiError as error:
            await context.abort(_CODES[error.rpc_code], error.message)

    return grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=method.request.FromString,
        response_serializer=lambda made: made.SerializeToString(),
    )
