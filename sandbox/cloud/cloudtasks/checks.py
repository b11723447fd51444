"""What the real service refuses, with its words, where they have been recorded (aertje/cloud-tasks-emulator, July and August 2026)."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import httpx
from google.cloud.tasks_v2.types import HttpMethod

from sandbox.cloud.cloudtasks.errors import ApiError, not_modelled
from sandbox.cloud.cloudtasks.queues import as_datetime

if TYPE_CHECKING:
    from datetime import datetime

QUEUE_ID = re.compile(r"[A-Za-z0-9-]{1,100}")
_TASK_NAME = re.compile(
    r"(?P<queue>projects/[A-Za-z0-9:.-]+/locations/[A-Za-z0-9-]+/queues/[A-Za-z0-9-]{1,100})/tasks/(?P<id>.+)",
    re.DOTALL,
)
_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,500}")
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
_ITS_CLOCKS = ZoneInfo("America/Los_Angeles")  # that its messages are written by


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
    if message.HasField("schedule_time") and (wanted := as_datetime(message.schedule_time)) > now + _FURTHEST:
        raise ApiError(
            400,
            f"The Task.scheduleTime, {wanted.astimezone(_ITS_CLOCKS).isoformat()}, is too far in the future."
            " Schedule time must be no more than 720h in the future.",
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
    for name, value, most in (
        ("maxDispatchesPerSecond", limits.max_dispatches_per_second, _RATE_LIMIT),
        ("maxConcurrentDispatches", limits.max_concurrent_dispatches, _CONCURRENT_LIMIT),
    ):
        if not value >= 0:  # so that NaN is refused, too
            raise ApiError(400, f"RateLimits.{name} cannot be negative.")
        if value > most:
            raise ApiError(400, f"RateLimits.{name} must be less than or equal to {most}.")
    check_retry(message.retry_config)


def check_retry(message: Any) -> None:
    """Refuse a RetryConfig that can't be kept.

    Raises:
        ApiError: 400.
    """
    if message.max_attempts < _UNLIMITED:
        raise ApiError(400, "RetryConfig.maxAttempts must be greater or equal to -1.")
    if message.max_doublings < 0:
        raise ApiError(400, "RetryConfig.maxDoublings cannot be negative.")
    for field, name in (
        ("min_backoff", "minBackoff"),
        ("max_backoff", "maxBackoff"),
        ("max_retry_duration", "maxRetryDuration"),
    ):
        if getattr(message, field).ToTimedelta() < timedelta(0):
            raise ApiError(400, f"RetryConfig.{name} cannot be negative.")
    both = message.HasField("min_backoff") and message.HasField("max_backoff")
    if both and message.min_backoff.ToTimedelta() > message.max_backoff.ToTimedelta():
        raise ApiError(400, "RetryConfig.minBackoff must be less than or equal to RetryConfig.maxBackoff.")


def _check_name(parent: str, name: str) -> None:
    if not name:
        return
    match = _TASK_NAME.fullmatch(name)
    if match is None:
        raise ApiError(
            400,
            "Task name must be formatted: "
            '"projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>/tasks/<TASK_ID>"',
        )
    if not _TASK_ID.fullmatch(match["id"]):
        raise ApiError(
            400,
            f'Task ID "{match["id"]}" can contain only letters ([A-Za-z]), numbers ([0-9]), hyphens (-), or underscores (_).'
            " Task ID must between 1 and 500 characters.",
        )
    if match["queue"] != parent:
        raise ApiError(
            400,
            f"The queue name from request ('{parent}') must be the same as the queue name in the named task ('{match['queue']}').",
        )


def _check_request(request: Any) -> None:
    if request.HasField("oauth_token"):
        raise not_modelled("OAuth tokens: they are for Google's own APIs")
    if request.HasField("oidc_token") and not request.oidc_token.service_account_email:
        raise ApiError(400, "HttpRequest.oidcToken.serviceAccountEmail must be set.")
    _check_url(request.url)
    if sum(len(name) + len(value) for name, value in request.headers.items()) >= _HEADERS_LIMIT:
        raise ApiError(400, "HttpRequest.headers must be less than 80KB.")
    if request.http_method not in set(HttpMethod):  # JSON takes numbers that name nothing
        raise ApiError(400, f"Invalid value for HttpRequest.httpMethod: {request.http_method}.")
    if request.body and request.http_method and request.http_method not in _WITH_BODY:
        raise ApiError(400, "HTTP request body is allowed only for POST, PUT and PATCH.")


def _check_url(url: str) -> None:
    if not url:
        raise ApiError(400, "HttpRequest.url is required.")
    if not url.startswith(("http://", "https://")):
        raise ApiError(400, "HttpTarget.url must start with 'http://' or 'https://'.")
    try:
        parts = httpx.URL(url)
        fits = bool(parts.host) and (parts.port is None or parts.port in _PORTS)
    except (httpx.InvalidURL, ValueError):  # ValueError: a host that looks like Punycode and is none
        fits = False
    if not fits:
        raise ApiError(400, "HttpRequest.url is malformed.")
    if len(url) > _URL_LIMIT:
        raise ApiError(400, f"HttpRequest.url must be at most {_URL_LIMIT} characters.")
