"""What the services answer when they refuse: status, Google's name for it, the sentence, and either of two JSON shapes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}
_OLDER_REASONS = {
    400: "invalid",
    401: "authError",
    403: "forbidden",
    404: "notFound",
    409: "conflict",
    412: "conditionNotMet",
    429: "rateLimitExceeded",
    500: "backendError",
    503: "backendError",
}


@dataclass(eq=False)
class Refused(Exception):
    """A request that is answered with an error.

    Attributes:
        status: HTTP status.
        message: Google's sentence.
        name: of google.rpc.Code; that of the status unless said.
        details: google.rpc messages, each with its `@type`.
        older: `errors[0].reason` of the APIs that still have the older shape; that of the status unless said.
    """

    status: int
    message: str
    name: str = ""
    details: list[dict[str, Any]] = field(default_factory=list)
    older: str = ""

    def body(self, *, older_shape: bool) -> dict[str, Any]:
        """The JSON that is answered."""
        error: dict[str, Any] = {"code": self.status, "message": self.message}
        if older_shape:
            reason = self.older or _OLDER_REASONS.get(self.status, "unknown")
            error["errors"] = [{"message": self.message, "domain": "global", "reason": reason}]
        if not older_shape or self.details:
            error["status"] = self.name or _NAMES.get(self.status, "UNKNOWN")
        if self.details:
            error["details"] = self.details
        return {"error": error}


def invalid(message: str, *places: str) -> Refused:
    """400 INVALID_ARGUMENT; `places` are the fields that are wrong."""
    violations = [{"field": place, "description": message} for place in places]
    details = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}] if places else []
    return Refused(400, message, details=details)


def missing(message: str) -> Refused:
    """404 NOT_FOUND."""
    return Refused(404, message)


def unmet(message: str) -> Refused:
    """400 FAILED_PRECONDITION."""
    return Refused(400, message, name="FAILED_PRECONDITION")


def disabled(service: str, title: str, project: str, number: str) -> Refused:
    """403 SERVICE_DISABLED, word for word."""
    return Refused(
        403,
        f"{title} has not been used in project {project} before or it is disabled. Enable it by visiting "
        f"https://console.developers.google.com/apis/api/{service}/overview?project={project} then retry. If you enabled this API "
        "recently, wait a few minutes for the action to propagate to our systems and retry.",
        details=[
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "SERVICE_DISABLED",
                "domain": "googleapis.com",
                "metadata": {"service": service, "consumer": f"projects/{number}"},
            }
        ],
        older="accessNotConfigured",
    )
