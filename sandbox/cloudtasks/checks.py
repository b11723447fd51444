"""What the real service refuses, with its words."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
from google.cloud.tasks_v2.types import HttpMethod

from sandbox.cloudtasks.errors import ApiError, not_modelled
from sandbox.cloudtasks.queues import as_datetime

if TYPE_CHECKING:
    from datetime import datetime

QUEUE_ID = re.compile(r"[A-Za-z0-9-]{1,100}")
_TASK_NAME = re.compile(
    r"projects/[A-Za-z0-9:.-]+/locations/[A-Za-z0-9-]+/queues/[A-Za-z0-9-]{1,100}/tasks/[A-Za-z0-9_-]{1,500}"
)
_TASK_SIZE_LIMIT = 100 * 1024
_URL_LIMIT = 2083
_PORTS = range(65_536)
_HEADERS_LIMIT = 80 * 1024
_FURTHEST = timedelta(days=30)
_DEADLINE_RANGE_S = (15.0, 1800.0)
_WITH_BODY = {HttpMethod.POST, HttpMethod.PUT, HttpMethod.PATCH}
_RATE_LIMIT = 500
_CONCURRENT_LIMIT = 5000
_UNLIMITED = -1


def check_task(parent: str, message: Any, now: datetime) -> None:
    """Refuse a task that the real service would not take.

    Raises:
        ApiError: 400; 501 for what the sandbox can't deliver.
    """
    _check_name(parent, message.name)
    target = message.WhichOneof("message_type")
    if target == "app_engine_http_request":
        raise not_modelled("App Engine targets")
    if target is None:
        raise ApiError(400, "Task.httpRequest must be set.")
    _check_request(message.http_request)
    if message.ByteSize() > _TASK_SIZE_LIMIT:
        raise ApiError(400, "Task size too large")
    if message.HasField("retry_config"):
        check_retry(message.retry_config)
    if message.HasField("dispatch_deadline"):
        low, high = _DEADLINE_RANGE_S
        if not low <= message.dispatch_deadline.ToTimedelta().total_seconds() <= high:
            raise ApiError(400, "Task.dispatchDeadline must be between [15s, 30m].")
    if message.HasField("schedule_time") and as_datetime(message.schedule_time) > now + _FURTHEST:
        raise ApiError(
            400, "The Task.scheduleTime is too far in the future. It must be no more than 720h in the future."
        )


def check_queue(message: Any) -> None:
    """Refuse a queue's configuration that the real service would not take.

    Raises:
        ApiError: 400; 501 for settings that would change nothing here.
    """
    for name in ("app_engine_routing_override", "http_target", "stackdriver_logging_config"):
        if message.HasField(name):
            raise not_modelled(f"Queue.{name}")
    limits = message.rate_limits
    if not 0 <= limits.max_dispatches_per_second <= _RATE_LIMIT:
        raise ApiError(400, f"Queue.rateLimits.maxDispatchesPerSecond must be between [0, {_RATE_LIMIT}].")
    if not 0 <= limits.max_concurrent_dispatches <= _CONCURRENT_LIMIT:
        raise ApiError(400, f"Queue.rateLimits.maxConcurrentDispatches must be between [0, {_CONCURRENT_LIMIT}].")
    check_retry(message.retry_config)


def check_retry(message: Any) -> None:
    """Refuse a RetryConfig that can't be kept.

    Raises:
        ApiError: 400.
    """
    if message.max_attempts < _UNLIMITED:
        raise ApiError(400, "RetryConfig.maxAttempts must be greater than or equal to -1.")
    if message.max_doublings < 0:
        raise ApiError(400, "RetryConfig.maxDoublings must not be negative.")
    for name in ("min_backoff", "max_backoff", "max_retry_duration"):
        if getattr(message, name).ToTimedelta() < timedelta(0):
            raise ApiError(400, f"RetryConfig.{name} must not be negative.")
    both = message.HasField("min_backoff") and message.HasField("max_backoff")
    if both and message.min_backoff.ToTimedelta() > message.max_backoff.ToTimedelta():
        raise ApiError(400, "RetryConfig.minBackoff must be less than or equal to RetryConfig.maxBackoff.")


def _check_name(parent: str, name: str) -> None:
    if not name:
        return
    if not _TASK_NAME.fullmatch(name):
        raise ApiError(
            400,
            "Task name must be formatted: "
            '"projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>/tasks/<TASK_ID>"',
        )
    if name.rpartition("/tasks/")[0] != parent:
        raise ApiError(
            400,
            f'The queue name from request ("{parent}") must be the same as the queue name in the named task ("{name}").',
        )


def _check_request(request: Any) -> None:
    if request.HasField("oauth_token"):
        raise not_modelled("OAuth tokens: they are for Google's own APIs")
    if request.HasField("oidc_token") and not request.oidc_token.service_account_email:
        raise ApiError(400, "HttpRequest.oidcToken.serviceAccountEmail must be set.")
    if not request.url.startswith(("http://", "https://")):
        raise ApiError(400, "HttpRequest.url must start with 'http://' or 'https://'.")
    try:
        url = httpx.URL(request.url)
        fits = bool(url.host) and (url.port is None or url.port in _PORTS)
    except (httpx.InvalidURL, ValueError):  # ValueError: a host that looks like Punycode and is none
        fits = False
    if not fits:
        raise ApiError(400, "HttpRequest.url is malformed.")
    if len(request.url) > _URL_LIMIT:
        raise ApiError(400, f"HttpRequest.url must be at most {_URL_LIMIT} characters.")
    if sum(len(name) + len(value) for name, value in request.headers.items()) >= _HEADERS_LIMIT:
        raise ApiError(400, "HttpRequest.headers must be less than 80KB.")
    if request.http_method not in set(HttpMethod):  # JSON and gRPC both take numbers that name nothing
        raise ApiError(400, f"Invalid value for HttpRequest.httpMethod: {request.http_method}.")
    if request.body and request.http_method and request.http_method not in _WITH_BODY:
        raise ApiError(400, "HTTP request body is allowed only for POST, PUT and PATCH.")
