"""Errors in the form of Google's APIs: one status, which has a number of HTTP and one of google.rpc."""

from __future__ import annotations

import grpc

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
NO_QUEUE = "Queue does not exist. If you just created the queue, wait at least a minute for the queue to initialize."
BAD_QUEUE_NAME = 'Queue name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>".'


def rpc_code(status: str) -> int:
    """Number of the google.rpc.Code of that name."""
    return int(grpc.StatusCode[status].value[0])


class ApiError(Exception):
    """What the API answers instead of a result.

    Args:
        code: HTTP's number.
        message: for the caller.
        status: name of the google.rpc.Code where HTTP's number alone does not tell (400 is FAILED_PRECONDITION, too).
    """

    def __init__(self, code: int, message: str, status: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or _STATUS.get(code, "UNKNOWN")

    @property
    def rpc_code(self) -> int:
        """The google.rpc.Code."""
        return rpc_code(self.status)

    def body(self) -> dict[str, object]:
        """`{"error": {"code", "message", "status"}}`."""
        return {"error": {"code": self.code, "message": self.message, "status": self.status}}


def not_modelled(what: str) -> ApiError:
    """The real service can do that and the stand-in can't: better no answer than one that means nothing."""
    return ApiError(501, f"the sandbox's Cloud Tasks has no {what}")
