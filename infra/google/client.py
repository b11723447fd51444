"""One login and one client an API; errors in words.

Requests are built by google-api-python-client from the discovery documents it carries, so nothing is fetched to know an API.
Who asks is who `gcloud auth application-default login` (or a workload's own identity) says; the project that is asked about pays for
the request as well, since some APIs refuse a person's login without one.

`ATLAS_GOOGLE_ENDPOINT=http://127.0.0.1:<port>` sends everything to a stand-in on this machine (sandbox/google), each API below its name.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import google.auth
import google.auth.exceptions
import google_auth_httplib2
import httplib2
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError, UnknownApiNameOrVersion

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDPOINT = "ATLAS_GOOGLE_ENDPOINT"
CREDENTIALS = "GOOGLE_APPLICATION_CREDENTIALS"
_SCOPES = ("https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/userinfo.email")
_TIMEOUT_S = 60
RETRIES = 4
"""How often a request that may be repeated is: the library waits a random part of 2, 4, 8, 16 s after 429, 5xx and broken connections."""

VERSIONS = {
    "artifactregistry": "v1",
    "billingbudgets": "v1",
    "cloudbilling": "v1",
    "cloudbuild": "v1",
    "cloudresourcemanager": "v3",
    "cloudscheduler": "v1",
    "cloudtasks": "v2",
    "monitoring": "v3",
    "oauth2": "v2",
    "orgpolicy": "v2",
    "run": "v2",
    "secretmanager": "v1",
    "serviceusage": "v1",
    "sqladmin": "v1",
    "storage": "v1",
}
"""The APIs that are called, and in which version."""
_SERVICE_PATHS = {"storage": "storage/v1/"}
"""What an API's address has between host and path, where it has something: an endpoint of one's own takes its place."""


class NotLoggedIn(Exception):
    """No usable login was found; the text says what to do."""


class GoogleError(Exception):
    """Google refused, or could not be asked. The text has no secret: the request's body is never part of it.

    Attributes:
        asked: what was asked, in words: `secretmanager.projects.secrets.versions.access of projects/p/secrets/x/versions/1`.
        status: HTTP status; None when there was no answer.
        reason: Google's name for it, such as `SERVICE_DISABLED`, `NOT_FOUND` or `PERMISSION_DENIED`.
        message: Google's sentence.
    """

    def __init__(self, asked: str, status: int | None, reason: str, message: str) -> None:
        said = f"{asked}: {status if status is not None else 'no answer'} {reason}".rstrip()
        super().__init__(f"{said}: {message}" if message else said)
        self.asked = asked
        self.status = status
        self.reason = reason
        self.message = message

    @property
    def missing(self) -> bool:
        """There is no such thing."""
        return self.status == http.client.NOT_FOUND

    @property
    def api_disabled(self) -> bool:
        """The API is not enabled in the project."""
        return self.reason == "SERVICE_DISABLED"


class BadEndpoint(ValueError):
    """`ATLAS_GOOGLE_ENDPOINT` is set to something that is not this machine."""


def endpoint() -> str | None:
    """The stand-in's base URL without a slash at the end; None: the real service.

    Raises:
        BadEndpoint: it is set, and is no http address of 127.0.0.1, ::1 or localhost: a token would go there.
    """
    given = os.environ.get(ENDPOINT, "").strip().rstrip("/")
    if not given:
        return None
    try:
        parts = urlsplit(given)
        good = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"} and parts.port is not None
        good = good and not (parts.path or parts.query or parts.fragment or parts.username is not None)
    except ValueError:
        good = False
    if not good:
        raise BadEndpoint(f"{ENDPOINT} must be http://127.0.0.1:<port>: it is for a stand-in on this machine")
    return given


@dataclass(frozen=True)
class Google:
    """Google Cloud, asked about one project.

    Args:
        project: its id.
    """

    project: str
    _clients: dict[tuple[int, str], Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Connections are kept for the next request, and end with this."""
        weakref.finalize(self, _close, self._clients)

    def api(self, name: str) -> Any:
        """The client of an API, one a thread: its connection is no thread's but its own.

        Raises:
            NotLoggedIn: there is no login.
            BadEndpoint: see `endpoint`.
        """
        place = (threading.get_ident(), name)
        if place not in self._clients:
            base = endpoint()
            options = {"api_endpoint": f"{base}/{name}/{_SERVICE_PATHS.get(name, '')}"} if base else {}
            transport = google_auth_httplib2.AuthorizedHttp(
                credentials(self.project), http=httplib2.Http(timeout=_TIMEOUT_S)
            )
            try:
                self._clients[place] = build(
                    name,
                    VERSIONS[name],
                    http=transport,
                    client_options=options,
                    static_discovery=True,
                    cache_discovery=False,
                )
            except UnknownApiNameOrVersion:
                raise AssertionError(f"google-api-python-client carries no document of {name}") from None
        return self._clients[place]

    def execute(self, request: Any, *, repeatable: bool = True) -> Any:
        """The answer to a request of `api`, as the discovery document shapes it.

        Args:
            request: made by a method of `api(...)`, not sent yet.
            repeatable: it may be sent again when it is unknown whether it arrived. Not so what makes something new each time.

        Raises:
            GoogleError: refused, or no answer.
            NotLoggedIn: the login has ended.
        """
        asked = _asked(request)
        base = endpoint()
        if base and request.resumable is None and "/upload/" in request.uri:
            # the library builds an upload's address from the document alone, whatever endpoint it was given
            request.uri = f"{base}/storage/upload/{request.uri.partition('/upload/')[2]}"
        if not repeatable:
            request.http.close()  # a kept connection may have been ended meanwhile, and then it is unknown what arrived
        try:
            return request.execute(num_retries=RETRIES if repeatable else 0)
        except HttpError as error:
            raise _refused(asked, error) from None
        except google.auth.exceptions.GoogleAuthError as error:
            raise _no_login(error) from None
        except (OSError, httplib2.HttpLib2Error, http.client.HTTPException) as error:
            may = "" if repeatable else "; it may have arrived all the same: look before you repeat it"
            raise GoogleError(asked, None, type(error).__name__, f"no answer{may}") from None

    def pages(self, collection: Any, request: Any, items: str, *, following: str = "list_next") -> Iterator[Any]:
        """Every item of a list, page by page.

        Args:
            collection: the resource whose method made `request`.
            request: the list's first page.
            items: the field that holds a page's items.
            following: the resource's method that makes the request of the next page.

        Raises:
            GoogleError, NotLoggedIn
        """
        while request is not None:
            answer = self.execute(request)
            yield from answer.get(items, ())
            request = getattr(collection, following)(request, answer)


def _close(clients: dict[tuple[int, str], Any]) -> None:
    for client in list(clients.values()):
        client.close()
    clients.clear()


def credentials(project: str | None) -> Any:
    """The login of this machine, whose requests are counted for `project`.

    Raises:
        NotLoggedIn: there is none.
    """
    try:
        found, _ = google.auth.default(scopes=_SCOPES, quota_project_id=project)
    except google.auth.exceptions.GoogleAuthError as error:
        raise _no_login(error) from None
    return found


def _no_login(error: Exception) -> NotLoggedIn:
    said = f"No usable Google login ({type(error).__name__})"
    if os.environ.get(CREDENTIALS):  # it comes before every other login; what the file holds is not quoted
        return NotLoggedIn(
            f"{said}: {CREDENTIALS} is set, and the file that it names is not there or is no login that Google takes:"
            " mend it, or unset it and run `gcloud auth application-default login` as an account with access"
        )
    return NotLoggedIn(f"{said}: run `gcloud auth application-default login` as an account with access")


def _asked(request: Any) -> str:
    """The method, and the path without its version: names of things, never a query or a body."""
    path = urlsplit(request.uri).path.lstrip("/")
    return f"{request.methodId} ({request.method} /{path})"


def _refused(asked: str, error: HttpError) -> GoogleError:
    reason, message = "", ""
    try:
        told = json.loads(error.content)["error"]
        message = str(told.get("message", ""))
        reason = str(told.get("status", ""))
        for detail in told.get("details", ()):
            if str(detail.get("@type", "")).endswith("google.rpc.ErrorInfo"):
                reason = str(detail.get("reason", reason))
        for older in told.get("errors", ()):  # the older shape, which storage and sqladmin have
            reason = reason or str(older.get("reason", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        message = str(error.reason)[:300]
    return GoogleError(asked, int(error.resp.status), reason, message)
